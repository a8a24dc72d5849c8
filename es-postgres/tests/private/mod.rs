//! Servers of the tests' own, which may be broken.

use std::time::Duration;

use es_testkit::{
    not_run,
    servers::{PrivatePostgres, ServerError},
};
use sqlx::{Connection, PgConnection, Row};

/// How long anything may take that is to come about.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A server with these settings; where there can be none, that is said.
pub(crate) fn server(settings: &[(&str, &str)]) -> Option<PrivatePostgres> {
    given(PrivatePostgres::start_with(settings))
}

pub(crate) fn given(started: Result<PrivatePostgres, ServerError>) -> Option<PrivatePostgres> {
    match started {
        Err(error @ (ServerError::Missing | ServerError::Unsupported(_))) => {
            not_run(&format!("es-postgres on a private server: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

/// A session that looks at the others.
pub(crate) struct Watch {
    session: PgConnection,
}

impl Watch {
    pub(crate) async fn over(server: &PrivatePostgres) -> Self {
        let session = PgConnection::connect(&server.url()).await;
        Self { session: session.expect("a server that lets in") }
    }

    /// The one number that this says.
    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let row = sqlx::query(sql).fetch_one(&mut self.session).await;
        row.and_then(|row| row.try_get(0)).expect("a query for a number")
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        sqlx::raw_sql(sql).execute(&mut self.session).await.expect("SQL that runs");
    }

    /// Returns once no other session has a transaction or an advisory lock, and
    /// at most so many are left: a server takes a moment to see that a client is
    /// gone.
    pub(crate) async fn settled(&mut self, most_sessions: i64) {
        const UNSETTLED: &str = "SELECT count(*) FILTER (WHERE xact_start IS NOT NULL) \
             + greatest(count(*) - $1, 0) \
             + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') \
             FROM pg_stat_activity WHERE datname = current_database() \
             AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let waiting = async {
            loop {
                let asking = sqlx::query(UNSETTLED).bind(most_sessions);
                let row = asking.fetch_one(&mut self.session).await.expect("an answer");
                if row.get::<i64, _>(0) == 0 {
                    return;
                }
            }
        };
        let settled = tokio::time::timeout(SOON, waiting).await;
        settled.expect("an open transaction, a lock or a connection was left behind");
    }
}
