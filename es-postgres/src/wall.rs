//! A second wall between tenants: row level security, which the server keeps
//! whatever a statement asks for.

use es_core::{StoreError, StoreErrorKind, Tenant};
use sqlx::{Connection, Executor, PgConnection, Row, query, raw_sql};

use crate::{
    PostgresOptions,
    connections::{Purpose, connect, in_time},
    error::store_error,
    import::HAS_INLINE,
    migrate,
    schema::Schema,
    store::Shared,
};

/// The tables whose rows belong to a tenant; those whose rows do not, and a session of a
/// single tenant has no business with; and those that it looks at, as it would not find
/// its rows else, and never writes.
const WITH_TENANT: [&str; 10] = [
    "streams",
    "events",
    "event_tags",
    "event_correlations",
    "appends",
    "claims",
    "snapshots",
    "timers",
    "view_rows",
    "inbox",
];
const WITHOUT: [&str; 7] = [
    "checkpoints",
    "parts",
    "epochs",
    "unfinished",
    "cache_tags",
    "cached_answers",
    "invalidations",
];
const LOOKED_AT: [&str; 2] = ["builds", "inline_models"];

const ONE_TENANT: &str = include_str!("schema/wall/one_tenant.sql");
const LOOK_AT: &str = include_str!("schema/wall/looked_at.sql");
const BREACHES: &str = include_str!("schema/wall/breaches.sql");
const OBJECTS: [&str; 2] = [
    include_str!("schema/wall/events_of_default.sql"),
    include_str!("schema/wall/tenant_horizon.sql"),
];

/// Raises the wall, and lets these roles through: all in one transaction, and one
/// at a time.
pub(crate) async fn raise(options: &PostgresOptions, roles: &[String]) -> Result<(), StoreError> {
    let mut connection = in_time(options, connect(options, Purpose::Projecting)).await?;
    let schema = Schema::new(&options.schema)?;
    let outcome = match migrate::bring_up(&mut connection, &schema, true).await {
        Ok(()) => build(&mut connection, &schema, roles).await,
        Err(error) => Err(error),
    };
    let _ = connection.close().await;
    outcome
}

async fn build(
    connection: &mut PgConnection,
    schema: &Schema,
    roles: &[String],
) -> Result<(), StoreError> {
    let mut tx = connection.begin().await.map_err(store_error)?;
    // Nobody hands a model over meanwhile.
    for statement in ["SELECT pg_advisory_xact_lock({store})", "LOCK TABLE {schema}.streams"] {
        tx.execute(raw_sql(&schema.sql(statement))).await.map_err(store_error)?;
    }
    let found = query(&schema.sql(HAS_INLINE)).fetch_one(&mut *tx).await;
    if found.and_then(|row| row.try_get::<bool, _>(0)).map_err(store_error)? {
        return Err(invalid(
            "a read model changes with each append, of which a session of one tenant could not \
             tell: let workers keep it first",
        ));
    }
    let objects = OBJECTS.map(|object| schema.sql(object)).into_iter();
    for statement in objects.chain(around(tables(), schema, roles)) {
        tx.execute(raw_sql(&statement)).await.map_err(store_error)?;
    }
    tx.commit().await.map_err(store_error)
}

/// A wall that stands goes around what a migration has brought as well, and lets the same
/// roles through: else no store of one tenant could be opened after it.
pub(crate) async fn extend(tx: &mut PgConnection, schema: &Schema) -> Result<(), StoreError> {
    const OUTSIDE: &str = "SELECT t.relname::text, ARRAY(SELECT r.rolname::text \
             FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_roles AS r ON r.oid = ANY (p.polroles) \
             WHERE p.polrelid = c.oid AND p.polname = 'every_tenant') \
         FROM pg_catalog.pg_class AS c \
         JOIN pg_catalog.pg_class AS t ON t.relnamespace = c.relnamespace \
         WHERE c.oid = '{schema}.checkpoints'::regclass AND c.relrowsecurity \
         AND t.relname = ANY ($1) AND NOT t.relrowsecurity";
    let tables: Vec<_> = tables().map(str::to_owned).collect();
    let outside = query(&schema.sql(OUTSIDE)).bind(tables).fetch_all(&mut *tx).await;
    for row in outside.map_err(store_error)? {
        let table: String = row.try_get(0).map_err(store_error)?;
        let roles: Vec<String> = row.try_get(1).map_err(store_error)?;
        for statement in around([&*table], schema, &roles) {
            tx.execute(raw_sql(&statement)).await.map_err(store_error)?;
        }
    }
    Ok(())
}

fn tables() -> impl Iterator<Item = &'static str> {
    WITH_TENANT.into_iter().chain(WITHOUT).chain(LOOKED_AT)
}

fn around<'t>(
    tables: impl IntoIterator<Item = &'t str>,
    schema: &Schema,
    roles: &[String],
) -> Vec<String> {
    let mut all = Vec::new();
    let quoted = roles.iter().map(|role| format!("\"{}\"", role.replace('"', "\"\"")));
    let quoted = quoted.collect::<Vec<_>>().join(", ");
    for table in tables {
        let sql = |statement: &str| schema.sql(&statement.replace("{table}", table));
        all.push(sql("ALTER TABLE {schema}.{table} ENABLE ROW LEVEL SECURITY"));
        all.push(sql("ALTER TABLE {schema}.{table} FORCE ROW LEVEL SECURITY"));
        for policy in ["one_tenant", "looked_at", "every_tenant"] {
            let drop = format!("DROP POLICY IF EXISTS {policy} ON {{schema}}.{{table}}");
            all.push(sql(&drop));
        }
        if WITH_TENANT.contains(&table) {
            all.push(sql(ONE_TENANT));
        }
        if LOOKED_AT.contains(&table) {
            all.push(sql(LOOK_AT));
        }
        if !roles.is_empty() {
            let create = sql("CREATE POLICY every_tenant ON {schema}.{table}");
            all.push(format!("{create} TO {quoted} USING (true) WITH CHECK (true)"));
        }
    }
    all
}

/// Refuses to go on if this session could reach over the wall.
pub(crate) async fn check(
    connection: &mut PgConnection,
    schema: &Schema,
    tenant: &Tenant,
) -> Result<(), StoreError> {
    let asked = query(BREACHES)
        .bind(schema.name())
        .bind(WITH_TENANT.map(str::to_owned).to_vec())
        .bind(WITHOUT.map(str::to_owned).to_vec())
        .bind(tenant.as_str())
        .bind(LOOKED_AT.map(str::to_owned).to_vec());
    let rows = asked.fetch_all(connection).await.map_err(store_error)?;
    let breaches = rows.iter().map(|row| row.try_get::<String, _>(0).map_err(store_error));
    let breaches = breaches.collect::<Result<Vec<_>, _>>()?;
    if breaches.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the wall around the tenant {tenant} has gaps, see PostgresOptions::only_tenant: {}",
        breaches.join("; ")
    );
    Err(StoreError::new(StoreErrorKind::Schema, message))
}

/// A setting of a session would not last behind a pooler, or reach the next one.
pub(crate) fn check_options(options: &PostgresOptions) -> Result<(), StoreError> {
    match &options.tenant {
        Some(_) if options.is_behind_pooler => Err(invalid(
            "a store of one tenant cannot stand behind a pooler, whose sessions keep no \
             setting of their own: connect to the server itself",
        )),
        Some(_) if options.inline.is_some() => Err(invalid(
            "a store of one tenant cannot change the rows of read models, which serve every one: \
             open it without inline models",
        )),
        _ => Ok(()),
    }
}

/// The setting as an option of the start of a session, where blanks part options.
pub(crate) fn setting(tenant: &Tenant) -> [(&'static str, String); 1] {
    let escape = |one: char| match one {
        ' ' | '\\' => format!("\\{one}"),
        _ => one.to_string(),
    };
    [("gesta.tenant", tenant.as_str().chars().map(escape).collect())]
}

impl Shared {
    /// Refuses what another tenant would be asked for, or every one.
    pub(crate) fn allows(&self, tenant: Option<&Tenant>) -> Result<(), StoreError> {
        match &self.options.tenant {
            Some(own) if tenant != Some(own) => Err(invalid(&format!(
                "the store was opened for the tenant {own} only, not for {}",
                tenant.map_or("every tenant", Tenant::as_str)
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses what belongs to no tenant.
    pub(crate) fn allows_checkpoints(&self) -> Result<(), StoreError> {
        match &self.options.tenant {
            Some(own) => Err(invalid(&format!(
                "the store was opened for the tenant {own} only, and checkpoints serve every one"
            ))),
            None => Ok(()),
        }
    }
}

fn invalid(message: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, message)
}
