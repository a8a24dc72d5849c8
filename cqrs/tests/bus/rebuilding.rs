//! Models that are built anew while the old ones answer.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cqrs::{
    Commands, Evolve, Keys, ModelSettings, OnChange, ProjectionError, Projector, Rebuild, View,
};
use es_core::{
    Builds, EventStore, EventStoreExt, Kind, Name, Position, Recorded, Rows, Views,
    memory::{MemoryStore, MemoryViews},
};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit},
    hooked::{Count, Hooked, Op},
};

/// The same model by three revisions of its code.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Sum<const REVISION: u64> {
    total: i64,
}

impl<const REVISION: u64> Evolve for Sum<REVISION> {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            self.total += amount * REVISION.cast_signed();
        }
    }
}

impl<const REVISION: u64> View for Sum<REVISION> {
    const NAME: &'static str = "sums";
    const REVISION: u64 = REVISION;
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

fn projector<const REVISION: u64, V: Views>(
    store: &(impl EventStore + Clone),
    views: &V,
) -> Projector<V> {
    let settings = ModelSettings::new().parts(2);
    Projector::new(store.clone(), views.clone()).view_with::<Sum<REVISION>>(settings)
}

async fn deposits(store: &MemoryStore, rounds: i64) {
    let commands = Commands::new(store.clone());
    for round in 0..rounds {
        commands.send(deposit(&format!("{}", round % 10), 1)).await.unwrap();
    }
}

async fn total<const REVISION: u64, V: Views>(projector: &Projector<V>) -> i64 {
    let rows = projector.all::<Sum<REVISION>>().await.unwrap();
    rows.into_iter().map(|(_, row)| row.total).sum()
}

/// The number of each build, with the revision of its code, whether it answers, and
/// how many parts it has.
async fn builds(views: &impl Builds) -> Vec<(u64, u64, bool, usize)> {
    let builds = views.builds(&[Name::from_static("sums")]).await.unwrap();
    let of = |one: es_core::Build| (one.number, one.revision, one.serves, one.parts.len());
    builds.into_iter().map(of).collect()
}

#[tokio::test]
async fn code_that_has_changed_is_noticed_and_builds_its_model_anew() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    projector::<1, _>(&store, &views).catch_up().await.unwrap();
    assert_eq!(builds(&views).await, [(1, 1, true, 2)]);
    let changed = projector::<2, _>(&store, &views);
    assert_eq!(total::<2, _>(&changed).await, 30, "the old rows answer until then");
    changed.catch_up().await.unwrap();
    assert_eq!(total::<2, _>(&changed).await, 60);
    assert_eq!(builds(&views).await, [(2, 2, true, 2)]);
}

#[tokio::test]
async fn a_follower_whose_code_has_changed_rebuilds_and_then_follows() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    projector::<1, _>(&store, &views).catch_up().await.unwrap();
    let changed = projector::<3, _>(&store, &views);
    let projecting = changed.start();
    deposits(&store, 5).await;
    let head = store.head().await.unwrap();
    projecting.wait_for(head).await.unwrap();
    assert_eq!(total::<3, _>(&changed).await, 3 * 35);
    while builds(&views).await != [(2, 3, true, 2)] {
        tokio::task::yield_now().await;
    }
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn code_that_is_not_to_rebuild_refuses_to_start_and_mixes_nothing() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 3).await;
    projector::<1, _>(&store, &views).catch_up().await.unwrap();
    deposits(&store, 3).await;
    let settings = ModelSettings::new().on_change(OnChange::Refuse);
    let changed = Projector::new(store.clone(), views.clone()).view_with::<Sum<2>>(settings);
    let refused = changed.catch_up().await;
    assert!(
        matches!(refused, Err(ProjectionError::Changed { built: 1, code: 2, .. })),
        "{refused:?}"
    );
    assert_eq!(total::<2, _>(&changed).await, 3);
    changed.rebuild().await.unwrap();
    assert_eq!(total::<2, _>(&changed).await, 12);
}

#[tokio::test]
async fn older_code_does_not_take_the_model_back() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 3).await;
    projector::<2, _>(&store, &views).catch_up().await.unwrap();
    let older = projector::<1, _>(&store, &views);
    let refused = older.catch_up().await;
    assert!(matches!(refused, Err(ProjectionError::Changed { built: 2, code: 1, .. })));
    assert_eq!(builds(&views).await, [(1, 2, true, 2)]);
}

#[tokio::test]
async fn the_old_rows_answer_and_go_on_to_follow_until_the_new_ones_are_whole() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 500).await;
    let one = projector::<1, _>(&store, &views);
    let projecting = one.start();
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let rebuild = Rebuild::new().on_progress(move |progress| told.lock().push(progress.position));
    let asked = one.clone();
    let asking = async {
        let mut least = 500;
        for _ in 0..200 {
            let total = total::<1, _>(&asked).await;
            assert!(total >= least, "{total} after {least}: an answer from a half-built model");
            least = total;
            deposits(&store, 1).await;
            tokio::task::yield_now().await;
        }
    };
    let (rebuilt, ()) = tokio::join!(one.rebuild_with(rebuild), asking);
    rebuilt.unwrap();
    let head = store.head().await.unwrap();
    projecting.wait_for(head).await.unwrap();
    assert_eq!(total::<1, _>(&one).await, 700);
    while builds(&views).await != [(2, 1, true, 2)] {
        tokio::task::yield_now().await;
    }
    assert!(seen.lock().is_sorted() && seen.lock().last() > Some(&Position::new(499)));
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_rebuild_that_is_dropped_goes_on_where_it_was() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 6_000).await;
    let one = projector::<1, _>(&store, &views).batches(100, Duration::ZERO);
    one.catch_up().await.unwrap();
    let handled = Arc::new(AtomicU64::new(0));
    for _ in 0..5 {
        let so_far = Arc::clone(&handled);
        let goal = handled.load(Ordering::SeqCst) + 400;
        let rebuild = Rebuild::new().throttle(50_000).on_progress(move |progress| {
            so_far.store(progress.position.get(), Ordering::SeqCst);
        });
        let reached = async {
            while handled.load(Ordering::SeqCst) < goal {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = reached => {}
            rebuilt = one.rebuild_with(rebuild) => panic!("dropped too late: {rebuilt:?}"),
        }
        assert_eq!(total::<1, _>(&one).await, 6_000);
        assert_eq!(builds(&views).await.len(), 2);
    }
    let rest = one.rebuild().await.unwrap();
    assert!(rest.events < 6_000, "it began anew: {rest:?}");
    assert_eq!(builds(&views).await, [(2, 1, true, 2)]);
    assert_eq!(total::<1, _>(&one).await, 6_000);
}

#[tokio::test]
async fn a_rebuild_can_be_given_up() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 300).await;
    let one = projector::<1, _>(&store, &views);
    one.catch_up().await.unwrap();
    let unwanted = Rebuild::new().review(|_| false);
    let refused = one.rebuild_with(unwanted).await;
    assert!(matches!(refused, Err(ProjectionError::Unwanted { .. })), "{refused:?}");
    assert_eq!(builds(&views).await, [(1, 1, true, 2)]);
    let begun = async {
        while builds(&views).await.len() == 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = begun => {}
        rebuilt = one.rebuild_with(Rebuild::new().throttle(1)) => panic!("too late: {rebuilt:?}"),
    }
    one.cancel_rebuild().await.unwrap();
    assert_eq!(builds(&views).await, [(1, 1, true, 2)]);
    assert_eq!(total::<1, _>(&one).await, 300);
}

#[tokio::test]
async fn the_difference_is_told_before_the_new_rows_answer() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    projector::<1, _>(&store, &views).catch_up().await.unwrap();
    let changed = projector::<2, _>(&store, &views);
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let rebuild = Rebuild::new().review(move |difference| {
        *told.lock() = Some(difference.clone());
        true
    });
    changed.rebuild_with(rebuild).await.unwrap();
    let difference = seen.lock().take().unwrap();
    assert_eq!((difference.changed, difference.same, difference.gone), (10, 0, 0));
    assert_eq!((difference.new, difference.examples.len()), (0, 10));
    let again = Arc::clone(&seen);
    let rebuild = Rebuild::new().review(move |difference| {
        *again.lock() = Some(difference.clone());
        true
    });
    changed.rebuild_with(rebuild).await.unwrap();
    let difference = seen.lock().take().unwrap();
    assert!(difference.is_none(), "{difference:?}");
    assert_eq!(difference.same, 10);
}

/// What follows the log could let the new build answer while it is looked at, and after.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_not_wanted_never_answers_beside_a_follower() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    let hooked = Hooked::new(&views);
    let looks = hooked.count(|op| matches!(op, Op::Builds(_)));
    let follower = projector::<1, _>(&store, &hooked).lease(Duration::from_millis(300));
    let projecting = follower.start();
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    let in_review = looks.clone();
    let served = Arc::new(Mutex::new(Vec::new()));
    let (seen, its_views) = (Arc::clone(&served), views.clone());
    let unwanted = Rebuild::new().review(move |_| {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                in_review.more(3).await;
                *seen.lock() = builds(&its_views).await;
            });
        });
        false
    });
    let refused = projector::<1, _>(&store, &views).rebuild_with(unwanted).await;
    assert!(matches!(refused, Err(ProjectionError::Unwanted { .. })), "{refused:?}");
    assert_eq!(*served.lock(), [(1, 1, true, 2), (2, 1, false, 2)]);
    looks.more(2).await;
    deposits(&store, 1).await;
    projecting.wait_for(store.head().await.unwrap()).await.unwrap();
    assert_eq!(builds(&views).await, [(1, 1, true, 2)]);
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_build_of_newer_code_that_is_not_wanted_never_answers() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    let old = projector::<1, _>(&store, &views);
    old.catch_up().await.unwrap();
    let unwanted = Rebuild::new().review(|_| false);
    let refused = projector::<2, _>(&store, &views).rebuild_with(unwanted).await;
    assert!(matches!(refused, Err(ProjectionError::Unwanted { .. })), "{refused:?}");
    assert_eq!(builds(&views).await, [(1, 1, true, 2)]);
    assert_eq!(total::<1, _>(&old).await, 30);
}

/// The look at the rows waits until the leases would have ended.
#[tokio::test]
async fn a_review_that_takes_longer_than_a_lease_loses_none_and_happens_once() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    let hooked = Hooked::new(&views);
    let one = projector::<1, _>(&store, &hooked).lease(Duration::from_millis(60));
    one.catch_up().await.unwrap();
    let (renewals, renewed) = (Count::default(), Arc::new(Mutex::new(BTreeSet::new())));
    let (count, parts) = (renewals.clone(), Arc::clone(&renewed));
    hooked.before(move |op| {
        let count = count.clone();
        let is_look = matches!(&op, Op::Rows(lookup)
            if lookup.kind == Kind::Row && matches!(lookup.rows, Rows::Every { .. }));
        match op {
            Op::Renew(held) => parts.lock().extend(held.into_iter().map(|part| part.to_string())),
            _ if is_look => parts.lock().clear(),
            _ => return async { Ok(()) }.boxed(),
        }
        count.one_more();
        async move {
            if is_look {
                // Each time both builds are renewed, three times in a lease.
                count.more(8).await;
            }
            Ok(())
        }
        .boxed()
    });
    let reviews = Arc::new(Mutex::new(Vec::new()));
    let (told, parts) = (Arc::clone(&reviews), Arc::clone(&renewed));
    let rebuild = Rebuild::new().review(move |_| {
        told.lock().push(parts.lock().len());
        true
    });
    one.rebuild_with(rebuild).await.unwrap();
    assert_eq!(*reviews.lock(), [4], "one review, with the parts of both builds renewed");
}

/// The model has seen ten events, of which the log has lost five.
#[tokio::test]
async fn a_model_of_a_log_that_was_restored_answers_anew_only_if_that_is_wanted() {
    let (store, restored, views) = (MemoryStore::new(), MemoryStore::new(), MemoryViews::new());
    deposits(&store, 10).await;
    deposits(&restored, 5).await;
    projector::<1, _>(&store, &views).catch_up().await.unwrap();
    let one = projector::<1, _>(&restored, &views);
    let unwanted = one.rebuild_with(Rebuild::new().review(|_| false)).await;
    assert!(matches!(unwanted, Err(ProjectionError::Unwanted { .. })), "{unwanted:?}");
    one.cancel_rebuild().await.unwrap();
    let ahead = one.catch_up().await;
    assert!(matches!(ahead, Err(ProjectionError::Ahead { .. })), "{ahead:?}");
    assert_eq!(total::<1, _>(&one).await, 10);
    one.rebuild().await.unwrap();
    assert_eq!(total::<1, _>(&one).await, 5);
    deposits(&restored, 1).await;
    one.catch_up().await.unwrap();
    assert_eq!(total::<1, _>(&one).await, 6);
}

/// Its rows are gone, and come again whole with whoever keeps it next.
#[tokio::test]
async fn a_model_that_was_removed_begins_anew() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 30).await;
    let projector = projector::<1, _>(&store, &views);
    projector.catch_up().await.unwrap();
    projector.remove("sums").await.unwrap();
    assert_eq!((builds(&views).await, total::<1, _>(&projector).await), (vec![], 0));
    deposits(&store, 5).await;
    projector.catch_up().await.unwrap();
    assert_eq!(total::<1, _>(&projector).await, 35);
}
