//! Who does not know whether an append was done does it again.

use es_core::{AppendError, Batch, EventStore, Expected, Version};
use es_testkit::fake;
use futures_util::future::join_all;

use crate::{
    log::{Log, on_a_log, run, to},
    ours::Follower,
};

const OTHERS: usize = 1_000;

/// Again: by itself, in another process, and in a transaction.
async fn assert_repeats(log: &Log, batch: &Batch, first: &es_core::Appended) {
    let elsewhere = log.another_store().await;
    let mut session = log.session().await;
    run(&mut session, "BEGIN").await;
    let again = [
        log.store.append(batch.clone()).await,
        elsewhere.append(batch.clone()).await,
        log.store.append_in(&mut session, batch.clone()).await,
    ];
    run(&mut session, "COMMIT").await;
    for again in again {
        let again = again.expect("the first success again");
        assert!(again.repeated);
        assert_eq!((again.position, &again.writes), (first.position, &first.writes));
    }
    elsewhere.close().await;
}

#[tokio::test]
async fn an_append_at_a_version_is_not_refused_for_its_own_success() {
    on_a_log("a13", async |log| {
        let follower = Follower::of_all(&log.store);
        log.append("a-1").await;
        let exact = || to("a-1").expect(Expected::Exact(Version::new(1)));
        let batch = exact().append_id(fake::append_id());
        let first = log.store.append(batch.clone()).await.expect("the first append");

        let nameless = log.store.append(exact()).await;
        assert!(matches!(nameless, Err(AppendError::Conflict(_))), "{nameless:?}");
        assert_repeats(log, &batch, &first).await;
        follower.assert_whole(log).await;
        assert_eq!(log.positions().await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_append_at_any_version_is_not_done_twice_however_late_it_comes_again() {
    on_a_log("a12", async |log| {
        let follower = Follower::of_all(&log.store);
        let batch = to("a-1").append_id(fake::append_id());
        let first = log.store.append(batch.clone()).await.expect("the first append");
        let others = (0..OTHERS).map(|n| {
            let id = fake::append_id();
            log.store.append(to(&format!("b-{}", n % 50)).append_id(id))
        });
        for other in join_all(others).await {
            assert!(!other.expect("another append").repeated);
        }

        assert_repeats(log, &batch, &first).await;
        follower.assert_whole(log).await;
        assert_eq!(log.positions().await.len(), OTHERS + 1);

        let mut nameless = batch;
        nameless.writes[0].append_id = None;
        let copy = log.store.append(nameless).await.expect("a copy");
        assert_eq!(copy.version(), Version::new(2), "without an id it is done twice");
    })
    .await;
}
