//! Several workers that share the models.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cqrs::{Commands, Evolve, Keys, ModelSettings, Projecting, ProjectionError, Projector, View};
use es_core::{
    Builds, EventStore, EventStoreExt, Kind, Name, Position, Recorded, Views, World,
    memory::{MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit},
    faulty::begun,
    hooked::{Count, Hooked, Once, Op, until},
};

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turnover {
    events: u64,
}

impl Evolve for Turnover {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.events += 1;
    }
}

impl View for Turnover {
    const NAME: &'static str = "turnover";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::Many(vec!["all".to_owned(), event.stream.id().to_owned()])
    }
}

/// So short that what was left is taken over soon.
const LEASE: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

fn worker<V: Views>(store: &(impl EventStore + Clone), views: &V) -> Projector<V> {
    let settings = ModelSettings::new().parts(8);
    Projector::new(store.clone(), views.clone()).lease(LEASE).view_with::<Turnover>(settings)
}

async fn deposits(store: &MemoryStore, rounds: i64) -> Position {
    let commands = Commands::new(store.clone());
    for round in 0..rounds {
        commands.send(deposit(&format!("{}", round % 50), 1)).await.unwrap();
    }
    store.head().await.unwrap()
}

/// How many parts each owner has.
async fn owners(views: &impl Builds) -> BTreeMap<Option<Name>, usize> {
    let builds = views.builds(&[Name::from_static("turnover")]).await.unwrap();
    let mut owners = BTreeMap::new();
    for part in builds.iter().flat_map(|build| &build.parts) {
        let owner = part.owner.clone().filter(|_| !part.is_free());
        *owners.entry(owner).or_default() += 1;
    }
    owners
}

/// Waits until so many owners have so many parts each.
async fn shared(views: &impl Builds, parts: &[usize]) {
    let fair = async {
        loop {
            let owners = owners(views).await;
            let mut found: Vec<_> = owners.values().copied().collect();
            found.sort_unstable();
            if found == parts && !owners.contains_key(&None) {
                return;
            }
            World::real().sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(LONG, fair).await;
    assert!(ended.is_ok(), "{:?} instead of {parts:?}", owners(views).await);
}

async fn assert_total(projector: &Projector<MemoryViews>, events: u64) {
    let rows: BTreeMap<_, _> = projector.all::<Turnover>().await.unwrap().into_iter().collect();
    assert_eq!(rows["all"].events, events);
    let each = rows.iter().filter(|(key, _)| *key != "all");
    assert_eq!(each.map(|(_, row)| row.events).sum::<u64>(), events);
}

#[tokio::test]
async fn workers_share_the_parts_and_hand_them_over_when_they_stop() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = worker(&store, &views);
    let first = one.start_worker();
    shared(&views, &[8]).await;
    let second = worker(&store, &views).start_worker();
    shared(&views, &[4, 4]).await;
    let third = worker(&store, &views).start_worker();
    shared(&views, &[2, 3, 3]).await;
    let head = deposits(&store, 200).await;
    one.wait_for(head, &["turnover"], LONG).await.unwrap();
    assert_total(&one, 200).await;
    second.stop().await.unwrap();
    third.stop().await.unwrap();
    shared(&views, &[8]).await;
    let head = deposits(&store, 100).await;
    one.wait_for(head, &["turnover"], LONG).await.unwrap();
    assert_total(&one, 300).await;
    first.stop().await.unwrap();
    assert_eq!(owners(&views).await, BTreeMap::from([(None, 8)]));
}

/// A worker that is dropped with its runtime dies as if it was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_worker_kept_is_taken_over_when_its_lease_ends() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = worker(&store, &views);
    let mut expected = 0;
    for _ in 0..5 {
        let doomed = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let (its_store, its_views) = (store.clone(), views.clone());
        let running = doomed.spawn(async move {
            let projecting: Projecting<_> = worker(&its_store, &its_views).start_worker();
            std::future::pending::<()>().await;
            drop(projecting);
        });
        let owned = async {
            while owners(&views).await.contains_key(&None) {
                World::real().sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, owned).await.unwrap();
        deposits(&store, 100).await;
        doomed.shutdown_background();
        assert!(running.await.is_err());
        expected += 100;

        let projecting = one.start_worker();
        let head = deposits(&store, 100).await;
        expected += 100;
        one.wait_for(head, &["turnover"], LONG).await.unwrap();
        assert_total(&one, expected).await;
        projecting.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_model_is_divided_and_joined_while_workers_keep_it() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = worker(&store, &views);
    let (first, second) = (one.start_worker(), worker(&store, &views).start_worker());
    shared(&views, &[4, 4]).await;
    let mut expected = 0;
    for parts in [3, 16, 1, 8, 2] {
        deposits(&store, 50).await;
        expected += 50;
        one.divide("turnover", parts).await.unwrap();
        let head = deposits(&store, 50).await;
        expected += 50;
        one.wait_for(head, &["turnover"], LONG).await.unwrap();
        assert_total(&one, expected).await;
        let found = views.builds(&[Name::from_static("turnover")]).await.unwrap();
        assert_eq!(found[0].parts.len(), usize::from(parts));
    }
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_paused_model_stands_still_until_it_goes_on() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = worker(&store, &views);
    for alone in [false, true] {
        let before = store.head().await.unwrap();
        let projecting = if alone { one.start() } else { one.start_worker() };
        let head = deposits(&store, 10).await;
        one.wait_for(head, &["turnover"], LONG).await.unwrap();
        one.pause("turnover").await.unwrap();
        let later = deposits(&store, 10).await;
        let waited = one.wait_for(later, &["turnover"], LEASE * 3).await;
        match waited {
            Err(ProjectionError::Behind { reached, wanted }) => {
                assert_eq!((reached, wanted), (head, later));
            }
            other => panic!("{other:?}"),
        }
        let status = one.status().await.unwrap();
        assert!(status[0].parts.iter().all(|part| part.paused));
        assert_eq!(status[0].lag.events, 10);
        one.resume("turnover").await.unwrap();
        one.wait_for(later, &["turnover"], LONG).await.unwrap();
        assert_total(&one, later.get()).await;
        assert_eq!(later.get() - before.get(), 20);
        projecting.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_among_workers_replaces_the_model_once() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let one = worker(&store, &views);
    let (first, second) = (one.start_worker(), worker(&store, &views).start_worker());
    let mut head = deposits(&store, 500).await;
    for round in 2..5 {
        let (rebuilt, _) = tokio::join!(one.rebuild(), deposits(&store, 100));
        rebuilt.unwrap();
        head = head.max(store.head().await.unwrap());
        one.wait_for(head, &["turnover"], LONG).await.unwrap();
        let found = views.builds(&[Name::from_static("turnover")]).await.unwrap();
        let serving: Vec<_> = found.iter().filter(|build| build.serves).collect();
        assert_eq!((serving.len(), serving[0].number), (1, round));
        assert_total(&one, head.get()).await;
    }
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

/// A second model, which has another revision of its code.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Tally<const REVISION: u64> {
    events: u64,
}

impl<const REVISION: u64> Evolve for Tally<REVISION> {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.events += 1;
    }
}

impl<const REVISION: u64> View for Tally<REVISION> {
    const NAME: &'static str = "counts";
    const REVISION: u64 = REVISION;
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

async fn counted<V: Views>(projector: &Projector<V>) -> u64 {
    let rows = projector.all::<Tally<0>>().await.unwrap();
    rows.into_iter().map(|(_, row)| row.events).sum()
}

/// One model shows all events already; the other has yet to begin.
#[tokio::test]
async fn a_wait_for_all_models_waits_for_one_that_is_new() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let head = deposits(&store, 5).await;
    worker(&store, &views).catch_up().await.unwrap();
    let hooked = Hooked::new(&views);
    let (arrived, open) = (Count::default(), Count::default());
    let (came, gate) = (arrived.clone(), open.clone());
    hooked.before(move |op| {
        let (came, gate) = (came.clone(), gate.clone());
        async move {
            if matches!(op, Op::Take(part) if part.model.as_str() == "counts") {
                came.one_more();
                gate.reach(1).await;
            }
            Ok(())
        }
    });
    let one = worker(&store, &hooked).view::<Tally<0>>();
    let projecting = one.start();
    arrived.reach(1).await;
    let waiting = begun(projecting.wait_for(head)).await;
    open.one_more();
    waiting.await.unwrap();
    assert_eq!(counted(&one).await, 5);
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_wait_for_all_models_waits_for_one_that_is_paused() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let hooked = Hooked::new(&views);
    let looks = hooked.count(|op| matches!(op, Op::Builds(_)));
    let one = worker(&store, &hooked).view::<Tally<0>>();
    let projecting = one.start();
    projecting.wait_for(deposits(&store, 5).await).await.unwrap();
    one.pause("counts").await.unwrap();
    let other = worker(&store, &views);
    for _ in 0..3 {
        let head = deposits(&store, 1).await;
        other.wait_for(head, &["turnover"], LONG).await.unwrap();
        let waiting = begun(projecting.wait_for(head)).await;
        looks.more(2).await;
        drop(begun(waiting).await);
    }
    assert_eq!(counted(&one).await, 5);
    let head = store.head().await.unwrap();
    one.resume("counts").await.unwrap();
    projecting.wait_for(head).await.unwrap();
    assert_eq!(counted(&one).await, 8);
    projecting.stop().await.unwrap();
}

/// What a dropped run has kept in mind is not of the builds that are there later.
#[tokio::test]
async fn a_wait_ends_though_an_earlier_run_was_dropped_and_the_model_rebuilt() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let head = deposits(&store, 5).await;
    let hooked = Hooked::new(&views);
    let (arrived, is_stuck) = (Count::default(), Arc::new(AtomicBool::new(true)));
    let (came, stuck) = (arrived.clone(), Arc::clone(&is_stuck));
    hooked.before(move |op| {
        let is_stuck = matches!(op, Op::Commit) && stuck.load(Ordering::SeqCst);
        if is_stuck {
            came.one_more();
        }
        async move {
            match is_stuck {
                true => std::future::pending().await,
                false => Ok(()),
            }
        }
    });
    let one = worker(&store, &hooked);
    tokio::select! {
        biased;
        () = arrived.reach(1) => {}
        caught_up = one.catch_up() => panic!("dropped too late: {caught_up:?}"),
    }
    is_stuck.store(false, Ordering::SeqCst);
    one.rebuild().await.unwrap();
    let projecting = one.start();
    tokio::time::timeout(LONG, projecting.wait_for(head)).await.unwrap().unwrap();
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_follower_that_is_fenced_while_the_store_is_away_takes_its_part_again() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let hooked = Hooked::new(&views);
    let projecting = worker(&store, &hooked).start();
    projecting.wait_for(deposits(&store, 1).await).await.unwrap();
    let once = Once::default();
    let fails = once.clone();
    hooked.before(move |op| {
        let is_one = matches!(op, Op::Rows(lookup) if lookup.kind == Kind::Parked);
        let outcome = if is_one { fails.fail() } else { Ok(()) };
        async move { outcome }
    });
    worker(&store, &views).divide("turnover", 1).await.unwrap();
    let head = deposits(&store, 1).await;
    let waited = tokio::time::timeout(LONG, projecting.wait_for(head)).await;
    assert!(matches!(waited, Ok(Ok(()))), "{waited:?}: {:?}", projecting.failure());
    assert!(once.has_failed());
    projecting.stop().await.unwrap();
}

/// A connection that broke meanwhile shows first when it is used.
#[tokio::test]
async fn parts_are_handed_over_at_the_second_try() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let hooked = Hooked::new(&views);
    // So long that nothing is renewed meanwhile.
    let projecting = worker(&store, &hooked).lease(LONG * 10).start_worker();
    shared(&views, &[8]).await;
    let once = Once::default();
    let fails = once.clone();
    hooked.before(move |op| {
        let outcome = if matches!(op, Op::Renew(_)) { fails.fail() } else { Ok(()) };
        async move { outcome }
    });
    projecting.stop().await.unwrap();
    assert!(once.has_failed());
    assert_eq!(owners(&views).await, BTreeMap::from([(None, 8)]));
}

/// Somebody gives the rebuild up between two looks of the worker that is about to let
/// it answer.
#[tokio::test]
async fn a_worker_outlives_a_rebuild_that_is_given_up_under_it() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, 5).await;
    let counts = |views: &MemoryViews| Projector::new(store.clone(), views.clone());
    counts(&views).view::<Tally<0>>().catch_up().await.unwrap();
    let hooked = Hooked::new(&views);
    let operator = counts(&views).view::<Tally<1>>();
    let is_done = Arc::new(AtomicBool::new(false));
    let done = Arc::clone(&is_done);
    hooked.before(move |op| {
        // The worker looks at both models, what lets a build answer only at its own.
        let is_swap = matches!(op, Op::Builds(models) if models.len() == 1);
        let is_first = is_swap && !done.swap(true, Ordering::SeqCst);
        let operator = operator.clone();
        async move {
            if is_first {
                operator.cancel_rebuild().await.unwrap();
            }
            Ok(())
        }
    });
    let worker = worker(&store, &hooked).view::<Tally<1>>();
    let projecting = worker.start_worker();
    until(async || is_done.load(Ordering::SeqCst)).await;
    let head = deposits(&store, 1).await;
    worker.wait_for(head, &["turnover"], LONG).await.unwrap();
    assert!(projecting.failure().is_none(), "{:?}", projecting.failure());
    projecting.stop().await.unwrap();
}
