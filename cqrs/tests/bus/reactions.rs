//! What happens outside because of an event.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cqrs::{Commands, Evolve, Keys, Live, ProjectionError, Projector, Reaction, StartAt, View};
use es_core::{
    AppendId, Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Recorded, World,
    memory::{MemoryStore, MemoryViews},
};
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit, stream},
    faulty::begun,
    hooked::{Count, Hooked, Op},
};

const LONG: Duration = Duration::from_secs(20);

/// Notes each effect with its key.
#[derive(Clone, Default)]
struct Mailer {
    sent: Arc<Mutex<Vec<(AppendId, u64)>>>,
    is_down: Arc<AtomicBool>,
}

/// Two mails for each deposit.
struct Thanks;

impl Reaction for Thanks {
    const NAME: &'static str = "thanks";
    type Event = AccountEvent;
    type Tools = Mailer;

    async fn react(
        &self,
        event: Recorded<'_, AccountEvent>,
        live: &mut Live<'_, Mailer>,
    ) -> Result<(), ProjectionError> {
        for _ in 0..2 {
            let key = live.effect_id();
            live.tools().sent.lock().push((key, event.position.get()));
            if live.tools().is_down.load(Ordering::SeqCst) {
                return Err(ProjectionError::handler("no mail today"));
            }
        }
        Ok(())
    }
}

fn reacting(store: &MemoryStore, views: &MemoryViews, mailer: &Mailer) -> Projector<MemoryViews> {
    let projector = Projector::new(store.clone(), views.clone());
    projector.reaction(Thanks, mailer.clone(), StartAt::End)
}

async fn deposits(store: &MemoryStore, count: usize) {
    let commands = Commands::new(store.clone());
    for _ in 0..count {
        commands.send(deposit("ada", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_reaction_starts_at_the_end_once_and_then_misses_nothing() {
    let (store, views, mailer) = (MemoryStore::new(), MemoryViews::new(), Mailer::default());
    deposits(&store, 3).await;
    reacting(&store, &views, &mailer).catch_up().await.unwrap();
    assert!(mailer.sent.lock().is_empty());
    deposits(&store, 2).await;
    reacting(&store, &views, &mailer).catch_up().await.unwrap();
    let positions: Vec<_> = mailer.sent.lock().iter().map(|(_, position)| *position).collect();
    assert_eq!(positions, [4, 4, 5, 5]);
}

#[tokio::test]
async fn each_effect_has_a_key_of_its_own_and_the_same_one_again() {
    let (store, views, mailer) = (MemoryStore::new(), MemoryViews::new(), Mailer::default());
    let projector = reacting(&store, &views, &mailer);
    projector.catch_up().await.unwrap();
    deposits(&store, 2).await;
    projector.catch_up().await.unwrap();
    let first = mailer.sent.lock().clone();
    let mut keys: Vec<_> = first.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    // A wrong replay, from the start of the log: with the keys of the first time.
    mailer.sent.lock().clear();
    let again = Projector::new(store.clone(), MemoryViews::new());
    again.reaction(Thanks, mailer.clone(), StartAt::Beginning).catch_up().await.unwrap();
    assert_eq!(*mailer.sent.lock(), first);
}

#[tokio::test]
async fn a_rebuild_repeats_no_effect() {
    let (store, views, mailer) = (MemoryStore::new(), MemoryViews::new(), Mailer::default());
    let projector = reacting(&store, &views, &mailer);
    projector.catch_up().await.unwrap();
    deposits(&store, 2).await;
    projector.catch_up().await.unwrap();
    projector.rebuild().await.unwrap();
    assert_eq!(mailer.sent.lock().len(), 4);
}

#[tokio::test]
async fn an_effect_that_fails_is_tried_again_then_parked_with_its_stream() {
    let (store, views, mailer) = (MemoryStore::new(), MemoryViews::new(), Mailer::default());
    let projector = reacting(&store, &views, &mailer);
    projector.catch_up().await.unwrap();
    mailer.is_down.store(true, Ordering::SeqCst);
    deposits(&store, 2).await;
    projector.catch_up().await.unwrap();
    let tried = mailer.sent.lock().clone();
    assert_eq!(tried.len(), 3, "three tries of the first, and none of the second");
    assert!(tried.iter().all(|one| *one == tried[0]), "under one key");
    assert_eq!(projector.parked("thanks").await.unwrap().len(), 2);
    mailer.is_down.store(false, Ordering::SeqCst);
    assert_eq!(projector.retry("thanks", "stream account-ada").await.unwrap(), 2);
    assert_eq!(mailer.sent.lock().len(), 3 + 4);
    assert_eq!(mailer.sent.lock()[3].0, tried[0].0);
}

#[tokio::test]
async fn a_reaction_follows_and_goes_on_where_it_was() {
    let (store, views, mailer) = (MemoryStore::new(), MemoryViews::new(), Mailer::default());
    for round in 1..=5 {
        let projector = reacting(&store, &views, &mailer);
        let projecting = projector.start();
        projecting.wait_for(store.head().await.unwrap()).await.unwrap();
        while !projector.status().await.unwrap()[0].parts.iter().any(|part| part.owner.is_some()) {
            tokio::task::yield_now().await;
        }
        deposits(&store, 10).await;
        projecting.wait_for(store.head().await.unwrap()).await.unwrap();
        projecting.stop().await.unwrap();
        assert_eq!(mailer.sent.lock().len(), round * 20);
    }
}

/// Waits at each event until it may go on.
struct Slow;

#[derive(Clone, Default)]
struct Gate {
    arrived: Count,
    open: Count,
}

impl Reaction for Slow {
    const NAME: &'static str = "slow";
    type Event = AccountEvent;
    type Tools = Gate;

    async fn react(
        &self,
        _: Recorded<'_, AccountEvent>,
        live: &mut Live<'_, Gate>,
    ) -> Result<(), ProjectionError> {
        live.tools().arrived.one_more();
        live.tools().open.reach(1).await;
        Ok(())
    }
}

/// The view of the accounts themselves.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Deposits {
    events: u64,
}

impl Evolve for Deposits {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {
        self.events += 1;
    }
}

impl View for Deposits {
    const NAME: &'static str = "deposits";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

#[tokio::test]
async fn a_reaction_that_waits_holds_up_neither_the_views_nor_the_leases() {
    for shared in [false, true] {
        let (store, gate) = (MemoryStore::new(), Gate::default());
        let views = Hooked::new(&MemoryViews::new());
        let renewals = views.count(|op| matches!(op, Op::Renew(held) if held.len() > 1));
        let projector = Projector::new(store.clone(), views).lease(Duration::from_millis(150));
        let projector =
            projector.view::<Deposits>().reaction(Slow, gate.clone(), StartAt::Beginning);
        deposits(&store, 3).await;
        let projecting = if shared { projector.start_worker() } else { projector.start() };
        gate.arrived.reach(1).await;
        deposits(&store, 1).await;
        let head = store.head().await.unwrap();
        projector.wait_for(head, &["deposits"], LONG).await.unwrap();
        renewals.more(3).await;
        assert!(projecting.failure().is_none());

        let mut stopping = begun(projecting.stop()).await;
        stays_under_way(&mut stopping).await;
        gate.open.one_more();
        tokio::time::timeout(LONG, stopping).await.unwrap().unwrap();
        assert_eq!(gate.arrived.get(), 1, "it ends after the event that was under way");
        projector.catch_up().await.unwrap();
        assert_eq!(gate.arrived.get(), 4, "each event once");
    }
}

/// Lets what is to stop run for a while: it waits for the effect.
async fn stays_under_way(stopping: &mut (impl Future + Unpin)) {
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(stopping.now_or_never().is_none(), "it left an effect under way");
    }
}

/// The log goes on with an event that a newer program has written.
#[tokio::test]
async fn no_effect_is_repeated_because_a_later_event_is_of_a_newer_program() {
    let (store, views, mailer) =
        (MemoryStore::new(), Hooked::new(&MemoryViews::new()), Mailer::default());
    deposits(&store, 10).await;
    let name = Name::from_static("account.deposited");
    let newer = NewEvent::raw(World::real().event_id(), name, ContentType::BYTES, "x");
    store.append(Batch::to(stream("bob")).event(newer)).await.unwrap();
    let projector = Projector::new(store, views.clone());
    let projector = projector.reaction(Thanks, mailer.clone(), StartAt::Beginning);
    for _ in 0..3 {
        assert!(projector.catch_up().await.is_err());
        assert_eq!(mailer.sent.lock().len(), 20);
    }
    let begins = views.count(|op| matches!(op, Op::Take(_)));
    let projecting = projector.start_worker();
    begins.reach(2).await;
    projecting.stop().await.unwrap();
    assert_eq!(mailer.sent.lock().len(), 20);
}
