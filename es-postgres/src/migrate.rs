//! Makes the tables, one file for each object.

use es_core::{StoreError, StoreErrorKind};
use sqlx::{Connection, Executor, PgConnection, Row, query};

use crate::{
    PostgresOptions,
    connections::{Purpose, connect, in_time},
    error::{damaged, store_error},
    schema::Schema,
    wall,
};

macro_rules! objects {
    ($($name:literal)+) => {
        &[$(include_str!(concat!("schema/", $name, ".sql"))),+]
    };
}

/// What each version added. A version that was published is never changed.
const VERSIONS: &[&[&str]] = &[OF_THE_LOG, OF_THE_CACHE, OF_TIMERS, OF_THE_INBOX];

const OF_THE_LOG: &[&str] = objects![
    "positions"
    "streams"
    "events"
    "events_of_tenant"
    "event_tags"
    "event_correlations"
    "appends"
    "claims"
    "claims_of_holder"
    "horizon"
    "refuse"
    "inline_models"
    "is_inline"
    "unfinished"
    "append_one"
    "checkpoints"
    "snapshots"
    "correlation_hash"
    "unlist_events"
    "truncate_stream"
    "end_stream"
    "timers"
    "timers_due"
    "view_rows"
    "builds"
    "builds_that_serve"
    "parts"
    "epochs"
    "retire_parts"
    "change_build"
];

const OF_THE_CACHE: &[&str] = objects![
    "cache_tags"
    "cache_tags_until"
    "cached_answers"
    "cached_answers_until"
    "invalidations"
    "hashes_of_tags"
    "stamp_of_tags"
    "look_up"
    "keep_answer"
    "invalidate"
];

const OF_TIMERS: &[&str] = objects!["timers_of_owners"];

const OF_THE_INBOX: &[&str] = objects![
    "inbox"
    "inbox_by_age"
];

pub(crate) async fn run(options: &PostgresOptions) -> Result<(), StoreError> {
    let mut connection = in_time(options, connect(options, Purpose::Projecting)).await?;
    let schema = Schema::new(&options.schema)?;
    let outcome = match bring_up(&mut connection, &schema, true).await {
        Ok(()) => check_positions(&mut connection, &schema).await,
        Err(error) => Err(error),
    };
    let _ = connection.close().await;
    outcome
}

/// Makes what is missing, if that is asked for.
pub(crate) async fn bring_up(
    connection: &mut PgConnection,
    schema: &Schema,
    migrates: bool,
) -> Result<(), StoreError> {
    let refuse = |message| Err(StoreError::new(StoreErrorKind::Schema, message));
    match version(connection, schema).await? {
        found if found == VERSIONS.len() => Ok(()),
        found if found > VERSIONS.len() => refuse(format!(
            "the tables have version {found}, this program knows up to {}, use a newer program",
            VERSIONS.len()
        )),
        _ if migrates => migrate(connection, schema).await,
        found => refuse(format!(
            "the tables have version {found} and have to be migrated to {}, see \
             PostgresOptions::migrate",
            VERSIONS.len()
        )),
    }
}

/// All in one transaction, and one migration at a time: whoever is killed leaves
/// nothing, whoever comes second finds all done.
async fn migrate(connection: &mut PgConnection, schema: &Schema) -> Result<(), StoreError> {
    let mut tx = connection.begin().await.map_err(store_error)?;
    let lock = "SELECT pg_advisory_xact_lock({store})";
    tx.execute(sqlx::raw_sql(&schema.sql(lock))).await.map_err(store_error)?;
    let found = version(&mut tx, schema).await?;
    if found == 0 {
        check_number(&mut tx, schema).await?;
        if !exists(&mut tx, HAS_SCHEMA, schema).await? {
            let create = schema.sql("CREATE SCHEMA {schema}");
            tx.execute(sqlx::raw_sql(&create)).await.map_err(store_error)?;
        }
        let first = "CREATE TABLE {schema}.migrations \
             (version bigint PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())";
        tx.execute(sqlx::raw_sql(&schema.sql(first))).await.map_err(store_error)?;
    }
    for objects in VERSIONS.iter().skip(found) {
        for object in *objects {
            tx.execute(sqlx::raw_sql(&schema.sql(object))).await.map_err(store_error)?;
        }
    }
    wall::extend(&mut tx, schema).await?;
    let versions = found + 1..=VERSIONS.len();
    let versions: Vec<_> = versions.map(|one| i64::try_from(one).unwrap_or(i64::MAX)).collect();
    let note = "INSERT INTO {schema}.migrations (version) SELECT unnest($1::bigint[])";
    query(&schema.sql(note)).bind(versions).execute(&mut *tx).await.map_err(store_error)?;
    tx.commit().await.map_err(store_error)
}

const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
const HAS_VERSION: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables \
     WHERE schemaname = $1 AND tablename = 'migrations')";

async fn exists(
    connection: &mut PgConnection,
    sql: &'static str,
    schema: &Schema,
) -> Result<bool, StoreError> {
    let found = query(sql).bind(schema.name()).fetch_one(connection).await;
    found.and_then(|row| row.try_get(0)).map_err(store_error)
}

async fn version(connection: &mut PgConnection, schema: &Schema) -> Result<usize, StoreError> {
    const VERSION: &str = "SELECT coalesce(max(version), 0) FROM {schema}.migrations";
    if !exists(connection, HAS_VERSION, schema).await? {
        return Ok(0);
    }
    let found = query(&schema.sql(VERSION)).fetch_one(connection).await;
    let version: i64 = found.and_then(|row| row.try_get(0)).map_err(store_error)?;
    usize::try_from(version).map_err(damaged)
}

/// Refuses the name if another store of the database has its number.
async fn check_number(connection: &mut PgConnection, schema: &Schema) -> Result<(), StoreError> {
    const STORES: &str = "SELECT n.nspname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND c.relname = 'positions'";
    let stores = query(STORES).fetch_all(connection).await.map_err(store_error)?;
    for row in stores {
        let name: String = row.try_get(0).map_err(store_error)?;
        let other = Schema::new(&name)?;
        if name != schema.name() && other.number() == schema.number() {
            let message = format!(
                "the schemas {:?} and {name:?} happen to use the same locks, choose another name",
                schema.name()
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
    }
    Ok(())
}

/// After a restore that left the sequence behind, positions would come twice.
pub(crate) async fn check_positions(
    connection: &mut PgConnection,
    schema: &Schema,
) -> Result<(), StoreError> {
    const BEHIND: &str = "SELECT coalesce((SELECT max(position) FROM {schema}.events), 0) \
         > last_value FROM {schema}.positions";
    let found = query(&schema.sql(BEHIND)).fetch_one(connection).await;
    if !found.and_then(|row| row.try_get::<bool, _>(0)).map_err(store_error)? {
        return Ok(());
    }
    const ADVICE: &str = "the sequence {schema}.positions is behind the events, so positions would \
         come twice: SELECT setval('{schema}.positions', max(position)) FROM {schema}.events";
    Err(StoreError::new(StoreErrorKind::Corrupt, schema.sql(ADVICE)))
}
