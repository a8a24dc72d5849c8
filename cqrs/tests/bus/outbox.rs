//! Messages that go through the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use cqrs::{ModelSettings, Projecting, ProjectionError, Projector, Relay, StartAt};
use es_core::{
    Address, AppendError, Batch, Builds, ContentType, EventStore, EventStoreExt, Expected, Group,
    Message, Name, NewEvent, OUTBOX, Outgoing, Position, Read, RecordedEvent, TRUNCATED, Tenant,
    Topic, Version, Views, World, Write,
    memory::{MemoryStore, MemoryViews},
};
use es_sqlite::SqliteStore;
use es_testkit::{TestClock, fake, strategy};
use proptest::{
    collection::vec, prelude::*, prop_assert_eq, proptest, strategy::ValueTree,
    test_runner::TestRunner,
};

use crate::relays::Town;

const HOUR: Duration = Duration::from_secs(3_600);
const LONG: Duration = Duration::from_secs(20);

fn message(id: &str, key: Option<&str>) -> Outgoing {
    let kind = Name::from_static("order.placed");
    let message = Message::new(id, kind, ContentType::JSON, "{}");
    let message = match key {
        Some(key) => message.with_key(key),
        None => message,
    };
    Outgoing::new(Topic::new("order.placed").unwrap(), message)
}

fn relaying<V: Views>(store: &(impl EventStore + Clone), views: &V, town: &Town) -> Projector<V> {
    let relay = Relay::outbox("outbox", town.clone());
    Projector::new(store.clone(), views.clone()).relay(relay, StartAt::Beginning)
}

async fn append(store: &impl EventStore, outgoing: &[Outgoing]) -> Position {
    let batch = Batch::new(outgoing.iter().cloned().map(Write::from));
    store.append(batch).await.unwrap().position
}

/// What was published, in order, each once: what is refused together is published again.
fn ids(town: &Town) -> Vec<String> {
    of_key(town, None)
}

fn of_key(town: &Town, key: Option<&str>) -> Vec<String> {
    let mut ids = Vec::new();
    for (_, message) in town.told.lock().iter() {
        let is_wanted = key.is_none() || message.key.as_deref() == key;
        if is_wanted && !ids.contains(&message.id) {
            ids.push(message.id.clone());
        }
    }
    ids
}

/// As the log would give it back.
fn recorded(outgoing: Outgoing) -> RecordedEvent {
    let mut write = Write::from(outgoing);
    let event = write.events.remove(0);
    let (first, now) = (Version::new(1), TestClock::START);
    RecordedEvent::new(event, write.stream, first, Position::new(1), None, now)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_message_is_read_as_it_was_written(
        to in strategy::address(), message in strategy::message(),
    ) {
        let outgoing = Outgoing::new(to, message);
        prop_assert_eq!(Outgoing::try_from(&recorded(outgoing.clone())).unwrap(), outgoing);
    }

    #[test]
    fn every_message_makes_a_batch_that_stores_take(
        to in strategy::address(), message in strategy::message(),
    ) {
        let batch = Batch::from(Outgoing::new(to, message));
        prop_assert_eq!(batch.check(), Ok(()));
    }

    #[test]
    fn messages_of_one_key_go_into_one_stream(
        key in strategy::text(), messages in vec(strategy::message(), 2),
    ) {
        let stream = |message: &Message| {
            let to = Topic::new("a").unwrap();
            let message = message.clone().with_key(key.clone()).of(Tenant::default());
            Write::from(Outgoing::new(to, message)).stream
        };
        prop_assert_eq!(stream(&messages[0]), stream(&messages[1]));
    }
}

async fn what_goes_in_comes_out<S: EventStore + Clone, V: Views>(store: S, views: V) {
    let mut runner = TestRunner::deterministic();
    let some = vec((strategy::address(), strategy::message()), 200);
    let sent = some.new_tree(&mut runner).unwrap().current();
    for (to, message) in &sent {
        let outgoing = Outgoing::new(to.clone(), message.clone());
        store.append(outgoing.into()).await.unwrap();
    }
    let town = Town::default();
    relaying(&store, &views, &town).catch_up().await.unwrap();
    assert_eq!(*town.told.lock(), sent);
}

#[tokio::test]
async fn messages_come_out_of_memory_as_they_went_in() {
    what_goes_in_comes_out(MemoryStore::new(), MemoryViews::new()).await;
}

#[tokio::test]
async fn messages_come_out_of_a_file_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).await.unwrap();
    what_goes_in_comes_out(store.clone(), store.clone()).await;
    store.close().await;
}

#[tokio::test]
async fn a_message_goes_with_the_events_beside_it_or_not_at_all() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let placing = |id: &str| {
        let placed = Batch::to(fake::stream("order-7")).expect(Expected::NoStream);
        placed.events(fake::events(1)).write(message(id, Some("7")).into())
    };
    store.append(placing("first")).await.unwrap();
    let late = store.append(placing("second")).await;
    assert!(matches!(late, Err(AppendError::Conflict(_))), "{late:?}");
    relaying(&store, &views, &town).catch_up().await.unwrap();
    assert_eq!(ids(&town), ["first"]);
}

#[tokio::test]
async fn one_message_may_go_to_several_addresses_in_one_batch() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let topic = message("1", None);
    let queue = Outgoing::new(Group::new("mails").unwrap(), topic.message.clone());
    append(&store, &[topic.clone(), queue.clone()]).await;
    relaying(&store, &views, &town).catch_up().await.unwrap();
    let addresses: Vec<Address> = town.told.lock().iter().map(|(to, _)| to.clone()).collect();
    assert_eq!(addresses, [topic.to, queue.to]);
}

/// Pending, published, failed, and published after all.
#[tokio::test]
async fn what_the_broker_never_takes_waits_with_what_follows_it_of_its_key() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let projector = relaying(&store, &views, &town);
    *town.refuses_id.lock() = Some("a1".to_owned());
    let sent = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("b2", "b"), ("a3", "a")];
    append(&store, &sent.map(|(id, key)| message(id, Some(key)))).await;
    assert_eq!(projector.status().await.unwrap()[0].lag.events, 5);

    projector.catch_up().await.unwrap();
    assert_eq!(ids(&town), ["b1", "b2"]);
    let status = projector.status().await.unwrap().remove(0);
    assert_eq!((status.lag.events, status.parked), (0, 1));
    let parked = projector.parked("outbox").await.unwrap();
    assert_eq!(parked.len(), 3);
    assert!(parked.iter().all(|one| one.sequence == "stream outbox-a"), "{parked:?}");

    projector.retry("outbox", "stream outbox-a").await.unwrap_err();
    assert_eq!(ids(&town), ["b1", "b2"]);
    *town.refuses_id.lock() = None;
    assert_eq!(projector.retry("outbox", "stream outbox-a").await.unwrap(), 3);
    assert_eq!(ids(&town), ["b1", "b2", "a1", "a2", "a3"]);
    assert_eq!(projector.status().await.unwrap()[0].parked, 0);
}

/// Two of them that share a stream by chance.
#[tokio::test]
async fn a_message_without_a_key_keeps_no_other_one_waiting() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let mut by_stream = BTreeMap::new();
    let (one, other) = (0..)
        .find_map(|id: u32| {
            let outgoing = message(&id.to_string(), None);
            let stream = Write::from(outgoing.clone()).stream;
            by_stream.insert(stream, outgoing.clone()).map(|earlier| (earlier, outgoing))
        })
        .unwrap();
    *town.refuses_id.lock() = Some(one.message.id.clone());
    append(&store, &[one.clone(), other.clone()]).await;
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    assert_eq!(ids(&town), std::slice::from_ref(&other.message.id));

    let parked = projector.parked("outbox").await.unwrap().remove(0);
    *town.refuses_id.lock() = None;
    assert_eq!(projector.retry("outbox", &parked.sequence).await.unwrap(), 1);
    assert_eq!(ids(&town), [other.message.id, one.message.id]);
}

#[tokio::test]
async fn messages_without_a_key_are_spread_and_need_few_streams() {
    let streams: BTreeSet<_> =
        (0..10_000).map(|id| Write::from(message(&id.to_string(), None)).stream).collect();
    assert!((900..=1_024).contains(&streams.len()), "{}", streams.len());
}

/// It has no label, as whoever appended it did so by hand.
#[tokio::test]
async fn what_is_no_message_is_parked_and_keeps_no_other_one_waiting() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let id = World::real().event_id();
    let forged = NewEvent::raw(id, es_core::OUTBOX_MESSAGE, ContentType::JSON, "{}");
    store.append(Batch::to(fake::stream("outbox-x")).event(forged)).await.unwrap();
    append(&store, &[message("1", Some("y"))]).await;
    let projector = relaying(&store, &views, &town);
    projector.catch_up().await.unwrap();
    assert_eq!(ids(&town), ["1"]);
    let parked = projector.parked("outbox").await.unwrap();
    assert!(parked.len() == 1 && parked[0].error.contains("no message"), "{parked:?}");
}

/// A relay that is dropped with its runtime dies as if it was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_publishes_what_a_dead_owner_has_left() {
    let (store, views, town) = (MemoryStore::new(), MemoryViews::new(), Town::default());
    let worker = |town: &Town| {
        let relay = Relay::outbox("outbox", town.clone());
        let settings = ModelSettings::new().parts(4);
        let projector = Projector::new(store.clone(), views.clone());
        let projector = projector.lease(Duration::from_millis(300));
        projector.relay_with(relay, StartAt::Beginning, settings)
    };
    let send = async |from: usize| {
        let sent: Vec<_> = (from..from + 100)
            .map(|n| message(&n.to_string(), Some(&format!("k{}", n % 10))))
            .collect();
        append(&store, &sent).await
    };
    let doomed = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let dying = worker(&town);
    let running = doomed.spawn(async move {
        let projecting: Projecting<_> = dying.start_worker();
        std::future::pending::<()>().await;
        drop(projecting);
    });
    let owned = async {
        loop {
            let builds = views.builds(&[Name::from_static("outbox")]).await.unwrap();
            let mut parts = builds.iter().flat_map(|build| &build.parts).peekable();
            if parts.peek().is_some() && parts.all(|part| !part.is_free()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, owned).await.unwrap();
    send(0).await;
    doomed.shutdown_background();
    assert!(running.await.is_err());

    let survivor = worker(&town);
    let projecting = survivor.start_worker();
    let last = send(100).await;
    survivor.wait_for(last, &["outbox"], LONG).await.unwrap();
    for key in 0..10 {
        let due: Vec<_> = (0..20).map(|n| (n * 10 + key).to_string()).collect();
        assert_eq!(of_key(&town, Some(&format!("k{key}"))), due);
    }
    projecting.stop().await.unwrap();
}

/// Each step of a life of an outbox: nothing goes that somebody still needs.
#[tokio::test]
async fn only_what_was_published_is_forgotten() {
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    let (store, views) = (MemoryStore::in_world(world.clone()), MemoryViews::new());
    let town = Town::default();
    let projector = relaying(&store, &views, &town);
    let relay = Relay::outbox("outbox", town.clone());
    let forgetting = Projector::new(store.clone(), views.clone()).world(world);
    let forgetting = forgetting.relay(relay, StartAt::Beginning);
    let forget = async |age| forgetting.forget_published(&store, age).await.unwrap();
    let left = async || {
        let read = Read::category(OUTBOX).unwrap();
        let events = store.events(read).await.unwrap();
        let messages = events.iter().filter(|event| event.event_type != TRUNCATED);
        let id = |event| Outgoing::try_from(event).unwrap().message.id;
        messages.map(id).collect::<Vec<_>>()
    };
    let send = async |ids: &[(&str, &str)]| {
        let sent: Vec<_> = ids.iter().map(|(id, key)| message(id, Some(key))).collect();
        append(&store, &sent).await
    };
    send(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b")]).await;
    clock.advance(HOUR * 2);
    assert_eq!(forget(HOUR).await, 0, "all are pending");

    *town.refuses_id.lock() = Some("b2".to_owned());
    projector.catch_up().await.unwrap();
    assert_eq!(forget(HOUR * 3).await, 0, "all are young");
    assert_eq!(forget(HOUR).await, 2);
    assert_eq!(left().await, ["a2", "b2", "b3"], "what is parked, and the last of each key");

    send(&[("a3", "a"), ("b4", "b")]).await;
    clock.advance(HOUR * 2);
    assert_eq!(forget(HOUR).await, 1);
    assert_eq!(left().await, ["b2", "b3", "a3", "b4"], "what is pending");

    *town.refuses_id.lock() = None;
    projector.catch_up().await.unwrap();
    assert_eq!(projector.retry("outbox", "stream outbox-b").await.unwrap(), 3);
    assert_eq!(ids(&town), ["a1", "a2", "b1", "a3", "b2", "b3", "b4"]);
    assert_eq!(forget(HOUR).await, 2);
    assert_eq!(left().await, ["a3", "b4"]);
}

/// A read model has passed what no relay has published.
#[tokio::test]
async fn a_projector_without_a_relay_forgets_nothing() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    append(&store, &[message("1", Some("a")), message("2", Some("a"))]).await;
    let town = Town::default();
    let relay = Relay::new("others", town).of::<crate::bank::AccountEvent>();
    let projector = Projector::new(store.clone(), views).relay(relay, StartAt::Beginning);
    projector.catch_up().await.unwrap();
    let refused = projector.forget_published(&store, Duration::ZERO).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
}
