//! How far a follower may read, while an append is under way.

use es_core::{EventStore, EventStoreExt};
use sqlx::Executor;

use crate::scene::{on_a_log, to};

#[tokio::test]
async fn the_horizon_stays_before_an_append_that_is_under_way() {
    on_a_log("horizon", async |scene| {
        let first = scene.store.append(to("a-1")).await.expect("an append").position;
        let (mut held, _) = scene.hold("held-1").await;
        let last = scene.store.append(to("a-1")).await.expect("an append").position;
        assert_eq!(scene.store.head().await.expect("a head"), last);
        assert_eq!(scene.store.horizon().await.expect("a horizon"), first);
        held.execute("COMMIT").await.expect("a commit");
        assert_eq!(scene.store.horizon().await.expect("a horizon"), last);
    })
    .await;
}
