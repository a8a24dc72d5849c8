//! Programs that keep the same models by other code, and rebuilds beside a follower.

use std::{sync::Arc, time::Duration};

use cqrs::{
    Commands, Evolve, Fate, Keys, ModelSettings, Projection, ProjectionError, Projector, Rebuild,
    View,
};
use es_core::{
    Builds, EventStoreExt, Name, Position, Recorded, Views,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit},
    hooked::{Count, Hooked, Op, until},
};

const LEASE: Duration = Duration::from_millis(900);
const LONG: Duration = Duration::from_secs(20);

async fn deposits(store: &MemoryStore, count: usize) -> Position {
    let commands = Commands::new(store.clone());
    for number in 0..count {
        commands.send(deposit(&format!("{}", number % 7), 1)).await.unwrap();
    }
    store.head().await.unwrap()
}

/// Which code has folded each event.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct By<const REVISION: u64>(Vec<u64>);

impl<const REVISION: u64> Evolve for By<REVISION> {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.0.push(REVISION);
    }
}

impl<const REVISION: u64> View for By<REVISION> {
    const NAME: &'static str = "by";
    const REVISION: u64 = REVISION;
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

/// A model that the old code alone knows.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Old(u64);

impl Evolve for Old {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {}
}

impl View for Old {
    const NAME: &'static str = "old";
    type Key = String;

    fn keys(_: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One("all".to_owned())
    }

    fn apply(&mut self, _: &String, _: Recorded<'_, AccountEvent>) -> Fate {
        self.0 += 1;
        Fate::Keep
    }
}

fn by<const REVISION: u64, V: Views>(store: &MemoryStore, views: &V) -> Projector<V> {
    let settings = ModelSettings::new().parts(3);
    let projector = Projector::new(store.clone(), views.clone()).lease(LEASE);
    projector.view_with::<By<REVISION>>(settings)
}

/// All that the newer code has folded, and nothing by any other.
async fn assert_newer(views: &MemoryViews, store: &MemoryStore, events: u64) {
    let rows = by::<2, _>(store, views).all::<By<2>>().await.unwrap();
    let folded: Vec<_> = rows.into_iter().flat_map(|(_, row)| row.0).collect();
    assert_eq!(folded, vec![2; usize::try_from(events).unwrap()]);
    let builds = views.builds(&[Name::from_static("by")]).await.unwrap();
    let seen: Vec<_> = builds.iter().map(|one| (one.number, one.revision, one.serves)).collect();
    assert_eq!(seen, [(1, 2, true)]);
}

#[tokio::test]
async fn old_code_among_newer_workers_leaves_newer_rows_alone_and_keeps_its_other_models() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let newer = [by::<2, _>(&store, &views), by::<2, _>(&store, &views)];
    let mut working = newer.each_ref().map(|one| Some(one.start_worker()));
    let head = deposits(&store, 20).await;
    newer[0].wait_for(head, &["by"], LONG).await.unwrap();

    let hooked = Hooked::new(&views);
    let looks = hooked.count(|op| matches!(op, Op::Builds(models) if models.len() == 2));
    let older = by::<1, _>(&store, &hooked).view::<Old>();
    let projecting = older.start_worker();
    let head = deposits(&store, 20).await;
    older.wait_for(head, &["by", "old"], LONG).await.unwrap();
    assert_newer(&views, &store, 40).await;

    // Nobody keeps the newer rows now; the old code sees that, and more than once.
    for one in &mut working {
        one.take().unwrap().stop().await.unwrap();
    }
    let later = deposits(&store, 20).await;
    older.wait_for(later, &["old"], LONG).await.unwrap();
    looks.more(4).await;
    assert_newer(&views, &store, 40).await;
    let builds = views.builds(&[Name::from_static("by")]).await.unwrap();
    assert!(builds[0].parts.iter().all(es_core::PartState::is_free), "{builds:?}");

    let again = newer[0].start_worker();
    newer[0].wait_for(later, &["by"], LONG).await.unwrap();
    assert_newer(&views, &store, 60).await;
    assert!(projecting.failure().is_none(), "{:?}", projecting.failure());
    let old = older.get::<Old>(&"all".to_owned()).await.unwrap();
    assert_eq!(old, Some(Old(60)));
    again.stop().await.unwrap();
    projecting.stop().await.unwrap();
}

/// The look at one model takes longer than a lease; the other was not looked at by then.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_models_the_second_does_not_answer_before_it_is_reviewed() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let both = |views: &Hooked| by::<2, _>(&store, views).view::<Old>();
    let worker = both(&Hooked::new(&views));
    let projecting = worker.start_worker();
    let head = deposits(&store, 20).await;
    worker.wait_for(head, &["by", "old"], LONG).await.unwrap();

    let hooked = Hooked::new(&views);
    let renewals = hooked.count(
        |op| matches!(op, Op::Renew(held) if held.iter().any(|part| part.model.as_str() == "old")),
    );
    let (reviews, looked_at) = (Count::default(), views.clone());
    let count = reviews.clone();
    let rebuild = Rebuild::new().review(move |_| {
        count.one_more();
        if count.get() == 1 {
            let (renewals, views) = (renewals.clone(), looked_at.clone());
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(async {
                    // Three of them are a lease.
                    tokio::time::timeout(LONG, renewals.more(5)).await.expect("not renewed");
                    assert_eq!(serving(&views, "old").await, 1);
                });
            });
        }
        count.get() == 1
    });
    let refused = both(&hooked).rebuild_with(rebuild).await;
    assert!(matches!(refused, Err(ProjectionError::Unwanted { .. })), "{refused:?}");
    assert_eq!(
        (reviews.get(), serving(&views, "by").await, serving(&views, "old").await),
        (2, 2, 1)
    );
    projecting.stop().await.unwrap();
}

async fn serving(views: &MemoryViews, model: &'static str) -> u64 {
    let builds = views.builds(&[Name::from_static(model)]).await.unwrap();
    builds.iter().find(|build| build.serves).unwrap().number
}

/// Remembers the position of each event; emptied, none of them.
#[derive(Clone, Default)]
struct Positions<const REVISION: u64 = 0> {
    all: Arc<Mutex<Vec<u64>>>,
    resets: Count,
    /// Renewals that it waits for while it is emptied, and how many.
    renewals: Count,
    slow: usize,
}

impl<const REVISION: u64> Projection<MemoryTx> for Positions<REVISION> {
    const NAME: &'static str = "positions";
    const REVISION: u64 = REVISION;
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        let (all, position) = (Arc::clone(&self.all), event.position.get());
        tx.run(move || all.lock().push(position));
        Ok(())
    }

    async fn reset(&self, tx: &mut MemoryTx) -> Result<(), ProjectionError> {
        self.resets.one_more();
        self.renewals.more(self.slow).await;
        let all = Arc::clone(&self.all);
        tx.run(move || all.lock().clear());
        Ok(())
    }
}

#[tokio::test]
async fn a_free_form_projection_is_rebuilt_beside_a_follower_which_goes_on() {
    for is_alone in [true, false] {
        let (store, views, all) =
            (MemoryStore::new(), MemoryViews::new(), Positions::<0>::default());
        let keeping = || {
            let projector = Projector::new(store.clone(), views.clone()).lease(LEASE);
            projector.projection(all.clone()).batches(8, Duration::ZERO)
        };
        let follower = keeping();
        let projecting = if is_alone { follower.start() } else { follower.start_worker() };
        follower.wait_for(deposits(&store, 50).await, &["positions"], LONG).await.unwrap();
        for _ in 0..5 {
            let operator = keeping();
            let (rebuilt, head) = tokio::join!(operator.rebuild(), deposits(&store, 20));
            rebuilt.unwrap();
            follower.wait_for(head, &["positions"], LONG).await.unwrap();
            let head = deposits(&store, 5).await;
            follower.wait_for(head, &["positions"], LONG).await.unwrap();
            assert_eq!(*all.all.lock(), (1..=head.get()).collect::<Vec<_>>(), "alone: {is_alone}");
        }
        assert!(projecting.failure().is_none(), "{:?}", projecting.failure());
        until(async || views.builds(&[Name::from_static("positions")]).await.unwrap().len() == 1)
            .await;
        projecting.stop().await.unwrap();
    }
}

/// To empty it takes longer than a lease.
#[tokio::test]
async fn of_two_workers_of_newer_code_one_empties_a_projection_and_the_other_waits() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let head = deposits(&store, 20).await;
    let old = Positions::<0>::default();
    Projector::new(store.clone(), views.clone()).projection(old.clone()).catch_up().await.unwrap();
    let hooked = Hooked::new(&views);
    let renewals = hooked.count(|op| {
        matches!(op, Op::Renew(held) if held.iter().any(|part| part.model.as_str() == "positions"))
    });
    let new = Positions::<1> { all: old.all, renewals, slow: 8, ..Positions::default() };
    let worker = || {
        let projector = Projector::new(store.clone(), hooked.clone()).lease(LEASE);
        projector.projection(new.clone())
    };
    let (one, two) = (worker(), worker());
    let first = one.start_worker();
    new.resets.reach(1).await;
    let second = two.start_worker();
    let is_built = async || {
        let builds = views.builds(&[Name::from_static("positions")]).await.unwrap();
        builds.iter().any(|build| build.serves && build.revision == 1)
    };
    until(is_built).await;
    one.wait_for(head, &["positions"], LONG).await.unwrap();
    assert_eq!(*new.all.lock(), (1..=head.get()).collect::<Vec<_>>());
    assert_eq!(new.resets.get(), 1);
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
