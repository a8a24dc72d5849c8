//! The sweep over a pool that does take back what was dropped half-way: if it
//! finds nothing there, it would not find it in the store either.

use es_testkit::sweep;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgPoolOptions};
use tokio::sync::Mutex;

use crate::{private::Watch, scene::distant};

/// A transaction that is open shows an earlier time than its statement.
const IS_OPEN: &str = "SELECT now() <> statement_timestamp()";

/// What the store is held to, so that this is seen to count.
const OPEN: &str = "SELECT count(*) FROM pg_stat_activity \
     WHERE datname = current_database() AND state LIKE 'idle in transaction%'";

async fn is_open(connection: &mut PgConnection) -> bool {
    let row = connection.fetch_one(IS_OPEN).await.expect("an answer");
    row.get(0)
}

#[tokio::test]
async fn the_sweep_finds_what_a_pool_takes_back_too_early() {
    let Some((server, _proxy, url)) = distant() else { return };
    let mut watch = Watch::over(&server).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await;
    let pool = pool.expect("a pool");
    let mut poisoned = 0;
    let swept = sweep(
        |_| async {
            let tx = pool.begin().await?;
            tx.rollback().await
        },
        async |_| {
            let mut connection = pool.acquire().await.expect("a connection");
            if is_open(&mut connection).await {
                assert_eq!(watch.number(OPEN).await, 1);
                poisoned += 1;
                connection.execute("ROLLBACK").await.expect("a rollback");
            }
        },
    );
    let swept = swept.await;
    println!("Pool::begin: {} drops, {poisoned} poisoned connections", swept.drops);
    swept.output.expect("a transaction");
    pool.close().await;
    assert_found_in_a_naive_pool(&url, &mut watch).await;
}

/// A pool of one, which takes it back whatever has become of it.
async fn assert_found_in_a_naive_pool(url: &str, watch: &mut Watch) {
    let connection = PgConnection::connect(url).await.expect("a session");
    let pool = Mutex::new(connection);
    let mut poisoned = 0;
    let transaction = |_| async {
        let mut lent = pool.lock().await;
        lent.execute("BEGIN").await?;
        lent.execute("SELECT 1").await?;
        lent.execute("COMMIT").await
    };
    let swept = sweep(transaction, async |_| {
        let mut connection = pool.lock().await;
        if is_open(&mut connection).await {
            assert_eq!(watch.number(OPEN).await, 1);
            poisoned += 1;
            connection.execute("ROLLBACK").await.expect("a rollback");
        }
    });
    let swept = swept.await;
    println!("a naive pool: {} drops, {poisoned} poisoned connections", swept.drops);
    swept.output.expect("a transaction");
    assert!(poisoned > 0, "the sweep finds nothing");
}
