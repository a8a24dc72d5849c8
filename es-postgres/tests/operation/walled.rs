//! A log with a wall between its tenants, and roles of the test's own.

use std::panic::AssertUnwindSafe;

use es_core::{StoreError, StreamId, Tenant};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{fake, servers::postgres_url};
use futures_util::FutureExt;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgRow};

pub(crate) const GRANTS: &str = "
    GRANT USAGE ON SCHEMA {schema} TO {role};
    GRANT SELECT ON {schema}.migrations TO {role};
    GRANT SELECT, USAGE ON SEQUENCE {schema}.positions TO {role};
    GRANT SELECT, INSERT ON {schema}.events, {schema}.event_tags,
        {schema}.event_correlations, {schema}.appends TO {role};
    GRANT SELECT, INSERT, UPDATE ON {schema}.streams, {schema}.checkpoints,
        {schema}.snapshots, {schema}.epochs, {schema}.inline_models TO {role};
    GRANT SELECT, INSERT, DELETE ON {schema}.claims, {schema}.unfinished,
        {schema}.invalidations TO {role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.timers, {schema}.view_rows,
        {schema}.builds, {schema}.parts, {schema}.cache_tags, {schema}.cached_answers,
        {schema}.inbox TO {role};";

pub(crate) struct Walled {
    schema: String,
    /// Of one tenant, and of all.
    pub(crate) app: String,
    pub(crate) worker: String,
}

/// Runs a test on an empty log whose wall stands; both are gone afterwards.
pub(crate) async fn behind_a_wall(name: &str, test: impl AsyncFnOnce(&Walled)) {
    let schema = format!("gesta_walls_{name}_{}", std::process::id());
    let (app, worker) = (format!("{schema}_app"), format!("{schema}_worker"));
    let walled = Walled { schema, app, worker };
    walled.owner().migrate().await.expect("tables");
    for role in [&walled.app, &walled.worker] {
        walled.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'wall'")).await;
        walled.run(&GRANTS.replace("{role}", role)).await;
    }
    walled.owner().separate_tenants([&walled.worker]).await.expect("a wall");
    let outcome = AssertUnwindSafe(test(&walled)).catch_unwind().await;
    walled.run("DROP SCHEMA {schema} CASCADE").await;
    for role in [&walled.app, &walled.worker] {
        walled.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    }
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Walled {
    pub(crate) fn owner(&self) -> PostgresOptions {
        PostgresOptions::new(postgres_url()).schema(&self.schema)
    }

    /// As this role, which the wall has to keep in.
    pub(crate) fn by(&self, role: &str) -> PostgresOptions {
        PostgresOptions::new(as_role(role)).schema(&self.schema)
    }

    /// As the role of one tenant, which a session tells by itself: a store that
    /// checks nothing.
    pub(crate) async fn unchecked(&self, tenant: &str) -> PostgresStore {
        let url = as_role(&self.app);
        let join = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{join}options=-c%20gesta.tenant%3D{tenant}");
        PostgresOptions::new(url).schema(&self.schema).open().await.expect("a store")
    }

    pub(crate) fn url(&self, role: &str) -> String {
        as_role(role)
    }

    pub(crate) async fn of(&self, name: &str) -> PostgresStore {
        self.open(name).await.expect("a store of one tenant")
    }

    pub(crate) async fn open(&self, name: &str) -> Result<PostgresStore, StoreError> {
        self.by(&self.app).only_tenant(tenant(name)).open().await
    }

    pub(crate) async fn of_all(&self) -> PostgresStore {
        self.by(&self.worker).open().await.expect("a store of every tenant")
    }

    pub(crate) async fn run(&self, sql: &str) {
        let mut session = PgConnection::connect(&postgres_url()).await.expect("a server");
        let sql = sql.replace("{schema}", &self.schema);
        session.execute(sqlx::raw_sql(&sql)).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// What a session of this role, which has named this tenant, is answered.
    pub(crate) async fn ask(
        &self,
        role: &str,
        tenant: &str,
        sql: &str,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let mut session = PgConnection::connect(&as_role(role)).await.expect("a server");
        let set = sqlx::query("SELECT set_config('gesta.tenant', $1, false)").bind(tenant);
        set.execute(&mut session).await.expect("a setting");
        session.fetch_all(sql.replace("{schema}", &self.schema).as_str()).await
    }

    pub(crate) async fn count(&self, role: &str, tenant: &str, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {{schema}}.{table}");
        let rows = self.ask(role, tenant, &sql).await.expect("a count");
        rows[0].try_get(0).expect("a number")
    }
}

fn as_role(role: &str) -> String {
    let url = postgres_url();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let place = rest.split_once('@').map_or(rest, |(_, place)| place);
    format!("{scheme}://{role}:wall@{place}")
}

pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant::new(name).expect("a name")
}

pub(crate) fn stream(name: &str, of: &str) -> StreamId {
    fake::stream(name).of(tenant(of))
}
