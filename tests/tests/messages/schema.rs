use std::panic::AssertUnwindSafe;

use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::servers::postgres_url;
use futures_util::FutureExt;
use sqlx::{Connection, Executor, PgConnection, Row};

/// A schema of the test's own, with a table of the user's.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) store: PostgresStore,
}

/// Runs a test in an empty schema, which is gone afterwards.
pub(crate) async fn in_a_schema(name: &str, test: impl AsyncFnOnce(&Schema)) {
    let name = format!("gesta_messages_{name}_{}", std::process::id());
    let store = PostgresOptions::new(postgres_url()).schema(&name).open().await.unwrap();
    let schema = Schema { name, store };
    schema.run("CREATE TABLE {schema}.orders (id text NOT NULL)").await;
    let outcome = AssertUnwindSafe(test(&schema)).catch_unwind().await;
    schema.store.close().await;
    schema.run("DROP SCHEMA {schema} CASCADE").await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Schema {
    pub(crate) fn sql(&self, sql: &str) -> String {
        sql.replace("{schema}", &self.name)
    }

    pub(crate) async fn session(&self) -> PgConnection {
        PgConnection::connect(&postgres_url()).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        self.session().await.execute(sqlx::raw_sql(&self.sql(sql))).await.unwrap();
    }

    /// What the user's table holds, in order.
    pub(crate) async fn orders(&self) -> Vec<String> {
        let select = self.sql("SELECT id FROM {schema}.orders ORDER BY id");
        let rows = self.session().await.fetch_all(select.as_str()).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}
