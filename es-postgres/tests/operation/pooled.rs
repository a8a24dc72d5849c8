//! What stands before the server and does not know what a session has prepared.

use es_core::{AppendError, StoreErrorKind};
use sqlx::Executor;

use crate::scene::{on_a_log, to};

/// The session of the next statement is another one, as behind an old pooler in transaction
/// mode.
#[tokio::test]
async fn a_pooler_that_does_not_know_prepared_statements_is_named() {
    on_a_log("pooled", async |log| {
        let mut session = log.session().await;
        session.execute("BEGIN").await.expect("a transaction");
        log.store.append_in(&mut session, to("account-a")).await.expect("an append");
        session.execute("DEALLOCATE ALL").await.expect("a session that forgets");
        match log.store.append_in(&mut session, to("account-b")).await {
            Err(AppendError::Store(error)) => {
                assert_eq!(error.kind(), StoreErrorKind::Invalid);
                assert!(error.to_string().contains("pgbouncer"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}
