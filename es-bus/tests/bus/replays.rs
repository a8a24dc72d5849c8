//! What the log holds is given to one handler once more.

use std::{collections::HashSet, sync::Arc, time::Duration};

use es_bus::{Endpoint, EventBus, Handle, HandleError, Ready, Received, Replay, Replayed};
use es_core::{
    Batch, Codec, ContentType, Event, EventStore, EventStoreExt, Group, Message, Metadata, Name,
    NewEvent, Outgoing, Position, Read, Retention, StreamId, Tag, Tenant, Topic, Upcast, Upcasters,
    Upcasting, Version, World,
    memory::{MemoryBroker, MemoryStore},
};
use es_sqlite::SqliteOptions;
use es_testkit::TestClock;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "account")]
pub(crate) enum AccountEvent {
    Deposited { amount: i64 },
    Withdrawn { amount: i64 },
}

pub(crate) fn stream(account: &str) -> StreamId {
    StreamId::new("account", account).unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);
/// How long anything may take that is to come about.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) type Log = Arc<dyn EventStore>;

/// Runs a test on each store, whose clock stands still until it is moved.
async fn on_each_store(test: impl AsyncFn(Log, TestClock)) {
    let clock = TestClock::new();
    let world = World::real().with_clock(clock.clone());
    test(Arc::new(MemoryStore::in_world(world)), clock).await;

    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let world = World::real().with_clock(clock.clone());
    let file = SqliteOptions::new(folder.path().join("replay.db")).world(world);
    let store = file.open().await.unwrap();
    test(Arc::new(store.clone()), clock).await;
    store.close().await;
}

/// What a handler does instead of handling.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Then {
    Fail,
    FailForGood,
    Panic,
}

/// Remembers what it has handled, unless it is told otherwise.
#[derive(Clone, Default)]
pub(crate) struct Clerk {
    pub(crate) handled: Arc<Mutex<Vec<Received<AccountEvent>>>>,
    /// What it does with the deposit of this amount, once.
    pub(crate) then: Arc<Mutex<Option<(i64, Then)>>>,
}

impl Clerk {
    /// The ids of what it has handled, in order.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.handled.lock().iter().map(|received| received.message.id.clone()).collect()
    }

    pub(crate) fn amounts(&self) -> Vec<i64> {
        self.handled.lock().iter().map(|received| amount(&received.event)).collect()
    }
}

pub(crate) fn amount(event: &AccountEvent) -> i64 {
    match event {
        AccountEvent::Deposited { amount } | AccountEvent::Withdrawn { amount } => *amount,
    }
}

impl Handle<AccountEvent> for Clerk {
    async fn handle(&self, received: Received<AccountEvent>) -> Result<(), HandleError> {
        let is_its = |then: &mut (i64, Then)| then.0 == amount(&received.event);
        match self.then.lock().take_if(is_its) {
            Some((_, Then::Fail)) => return Err(HandleError::transient("the till is closed")),
            Some((_, Then::FailForGood)) => return Err(HandleError::permanent("no such account")),
            Some((_, Then::Panic)) => panic!("the clerk fainted"),
            None => self.handled.lock().push(received),
        }
        Ok(())
    }
}

pub(crate) fn endpoint() -> Endpoint {
    Endpoint::new("billing").unwrap().to("account.*").unwrap()
}

pub(crate) fn event(event: &AccountEvent) -> NewEvent {
    NewEvent::encode(event, World::real().event_id(), Codec::Json).unwrap()
}

/// Deposits to two accounts in turn, of amounts that count up from 1.
pub(crate) async fn deposits(log: &Log, amounts: i64) {
    for amount in 1..=amounts {
        let account = if amount % 2 == 0 { "ada" } else { "bob" };
        let deposited = event(&AccountEvent::Deposited { amount });
        log.append(Batch::to(stream(account)).event(deposited)).await.unwrap();
    }
}

async fn ids(log: &Log, read: Read) -> Vec<String> {
    log.events(read).await.unwrap().into_iter().map(|event| event.id.to_string()).collect()
}

/// Hands out whatever it is given.
fn any(to: &Arc<Mutex<Vec<Message>>>) -> Ready {
    let messages = Arc::clone(to);
    endpoint().handle_message(move |received: Received<()>| {
        messages.lock().push(received.message);
        async { Ok::<_, HandleError>(()) }
    })
}

fn counts(replayed: Replayed) -> (u64, u64) {
    (replayed.handled, replayed.skipped)
}

#[tokio::test]
async fn all_is_handled_in_order_with_its_id_and_the_mark() {
    on_each_store(async |log, _| {
        let clerk = Clerk::default();
        // More than a page.
        deposits(&log, 600).await;
        let billing = endpoint().handle(clerk.clone());
        let replayed = Replay::of(&log, Read::all()).to(&billing).await.unwrap();
        assert_eq!(counts(replayed), (600, 0));
        let head = log.head().await.unwrap();
        assert_eq!((replayed.through, replayed.up_to), (head, head));
        assert_eq!(clerk.ids(), ids(&log, Read::all()).await);
        let handled = clerk.handled.lock();
        assert!(handled.iter().all(Received::is_replay));
        let Received { message, to, attempt, .. } = &handled[0];
        assert_eq!(message.key.as_deref(), Some("account-bob"));
        assert_eq!((to.to_string().as_str(), *attempt), ("topic account.deposited", 1));
    })
    .await;
}

/// Whatever a request can ask for.
#[tokio::test]
async fn a_request_says_what_is_replayed() {
    on_each_store(async |log, clock| {
        let (acme, vip) = (Tenant::new("acme").unwrap(), Tag::new("vip", "1").unwrap());
        for amount in 1..=8 {
            let mut new = match amount % 2 {
                0 => event(&AccountEvent::Deposited { amount }),
                _ => event(&AccountEvent::Withdrawn { amount }),
            };
            new.metadata = Metadata::new().correlation_id(format!("c{}", amount % 3));
            new.tags.extend((amount % 4 == 0).then(|| vip.clone()));
            let tenant = if amount > 6 { acme.clone() } else { Tenant::default() };
            log.append(Batch::to(stream("ada").of(tenant)).event(new)).await.unwrap();
            clock.advance(HOUR);
        }
        let (since, until) = (TestClock::START + HOUR, TestClock::START + 4 * HOUR);
        let positions = log.events(Read::all()).await.unwrap();
        let (second, fourth) = (positions[1].position, positions[3].position);
        for (read, due) in [
            (Read::all().types([Name::from_static("account.deposited")]), vec![2, 4, 6]),
            (Read::all().of(acme.clone()), vec![7, 8]),
            (Read::all().every_tenant(), vec![1, 2, 3, 4, 5, 6, 7, 8]),
            (Read::all().correlated("c1"), vec![1, 4]),
            (Read::all().every_tenant().tag(vip.clone()), vec![4, 8]),
            (Read::all().since(since).until(until), vec![2, 3, 4]),
            (Read::all().after(second).up_to(fourth), vec![3, 4]),
            (Read::stream(&stream("ada")).after_version(Version::new(4)), vec![5, 6]),
            (Read::category("purse").unwrap(), vec![]),
            (Read::all().limit(2), vec![1, 2]),
        ] {
            let clerk = Clerk::default();
            let billing = endpoint().handle(clerk.clone());
            let replayed = Replay::of(&log, read.clone()).to(&billing).await.unwrap();
            assert_eq!(clerk.amounts(), due, "{read:?}");
            assert_eq!(replayed.handled, due.len() as u64);
            assert!(replayed.through <= replayed.up_to);
        }
    })
    .await;
}

/// A handler whose work makes new events.
pub(crate) fn appending(log: &Log) -> Ready {
    let log = Arc::clone(log);
    endpoint().handle(move |_: Received<AccountEvent>| {
        let log = Arc::clone(&log);
        async move {
            deposits(&log, 1).await;
            Ok::<_, HandleError>(())
        }
    })
}

/// It does not run after its own tail.
#[tokio::test]
async fn a_replay_ends_where_the_log_ended_when_it_began() {
    on_each_store(async |log, _| {
        deposits(&log, 300).await;
        let (end, billing) = (log.head().await.unwrap(), appending(&log));
        let replay = Replay::of(&log, Read::all()).to(&billing);
        let replayed = tokio::time::timeout(LONG, replay).await.unwrap().unwrap();
        assert_eq!((replayed.handled, replayed.through, replayed.up_to), (300, end, end));
        assert_eq!(ids(&log, Read::all()).await.len(), 600);
        let rest = Read::all().after(replayed.through);
        let replayed = Replay::of(&log, rest).to(&billing).await.unwrap();
        assert_eq!(replayed.handled, 300);
    })
    .await;
}

/// The handler, also the one that is subscribed, gets what its endpoint's dedupe would keep
/// from it, and can tell by the id and by the mark.
#[tokio::test]
async fn what_was_handled_before_is_handled_once_more_with_the_same_id() {
    let clerk = Clerk::default();
    let billing = endpoint().dedupe(HOUR).handle(clerk.clone());
    let bus = EventBus::new(MemoryBroker::new());
    let running = bus.subscribe(billing.clone()).await.unwrap();
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 1).await;
    let told = Message::from(&log.events(Read::all()).await.unwrap()[0]);
    bus.send(Topic::new("account.deposited").unwrap(), vec![told]).await.unwrap();
    while running.stats().handled == 0 {
        tokio::task::yield_now().await;
    }
    let replayed = Replay::of(&log, Read::all()).to(&billing).await.unwrap();
    assert_eq!(replayed.handled, 1);
    let marks: Vec<_> = clerk.handled.lock().iter().map(Received::is_replay).collect();
    assert_eq!(marks, [false, true]);
    assert_eq!(HashSet::<_>::from_iter(clerk.ids()).len(), 1);
    running.drain().await;
}

#[tokio::test]
async fn what_the_handler_does_not_want_is_skipped_and_counted() {
    let log: Log = Arc::new(MemoryStore::new());
    deposits(&log, 4).await;
    let other = NewEvent::raw(
        World::real().event_id(),
        Name::from_static("bell.rung"),
        ContentType::JSON,
        "{}",
    );
    log.append(Batch::to(StreamId::new("bell", "big").unwrap()).event(other)).await.unwrap();
    let clerk = Clerk::default();
    let of_ada = endpoint().filter(|message| message.key.as_deref() != Some("account-bob"));
    let replayed = Replay::of(&log, Read::all()).to(&of_ada.handle(clerk.clone())).await.unwrap();
    assert_eq!(clerk.amounts(), [2, 4]);
    assert_eq!((counts(replayed), replayed.through), ((2, 3), Position::new(5)));
}

/// What a store and its upcasters write for themselves is told to nobody.
#[tokio::test]
async fn old_events_are_replayed_as_what_they_become() {
    let store = MemoryStore::new();
    let old = |name, payload: &'static str| {
        let (id, name) = (World::real().event_id(), Name::from_static(name));
        NewEvent::raw(id, name, ContentType::JSON, payload)
    };
    let moved = [
        old("account.looked-at", "{}"),
        old("account.moved", r#"{"in":5,"out":3}"#),
        event(&AccountEvent::Deposited { amount: 9 }),
    ];
    store.append(Batch::to(stream("ada")).events(moved)).await.unwrap();
    let names = ["account.deposited", "account.withdrawn"].map(Name::from_static);
    let upcasters = Upcasters::new().dropping(Name::from_static("account.looked-at"));
    let split = names.clone();
    let upcasters = upcasters.one_to_many(
        Name::from_static("account.moved"),
        1,
        names.map(|name| (name, 1)),
        move |data| {
            let [deposited, withdrawn] = split.clone();
            Ok(vec![
                Upcast::new(deposited, 1, json!({ "amount": data["in"] })),
                Upcast::new(withdrawn, 1, json!({ "amount": data["out"] })),
            ])
        },
    );
    let log: Log = Arc::new(Upcasting::new(store.clone(), upcasters).unwrap());
    let messages = Arc::default();
    let replayed = Replay::of(&log, Read::all()).to(&any(&messages)).await.unwrap();
    let kinds: Vec<_> = messages.lock().iter().map(|message| message.kind.to_string()).collect();
    assert_eq!(kinds, ["account.deposited", "account.withdrawn", "account.deposited"]);
    assert_eq!(counts(replayed), (3, 1));

    // The second of two that came from one fails: neither is taken for done.
    let clerk = Clerk::default();
    *clerk.then.lock() = Some((3, Then::Fail));
    let billing = endpoint().handle(clerk.clone());
    let orders = || Read::all().types_of::<AccountEvent>();
    let stopped = Replay::of(&log, orders()).to(&billing).await.unwrap_err();
    assert_eq!((clerk.amounts(), stopped.so_far().handled), (vec![5], 1));
    let rest = orders().after(stopped.so_far().through);
    Replay::of(&log, rest).to(&billing).await.unwrap();
    assert_eq!(clerk.amounts(), [5, 5, 3, 9]);

    store.truncate(&stream("ada"), Version::new(3)).await.unwrap();
    let messages = Arc::default();
    let replayed = Replay::of(&log, Read::all()).to(&any(&messages)).await.unwrap();
    assert_eq!((counts(replayed), messages.lock().len()), ((1, 1), 1));
}

#[tokio::test]
async fn of_the_outbox_comes_what_was_published_for_the_endpoint() {
    let clock = TestClock::new();
    let log: Log = Arc::new(MemoryStore::new());
    let message = |id: &str| {
        let (kind, payload) = (AccountEvent::TYPES[0].name, r#"{"amount":1}"#);
        Message::new(id, Name::from_static(kind), ContentType::JSON, payload)
    };
    let queue = |name| Group::new(name).unwrap();
    let topic = |name| Topic::new(name).unwrap();
    for outgoing in [
        Outgoing::new(queue("billing"), message("mine")),
        Outgoing::new(queue("mails"), message("theirs")),
        Outgoing::new(topic("account.deposited"), message("heard")),
        Outgoing::new(topic("bell.rung"), message("unheard")),
        Outgoing::new(queue("billing"), message("stale").expiring(TestClock::START)),
    ] {
        log.append(outgoing.into()).await.unwrap();
    }
    let clerk = Clerk::default();
    let world = World::real().with_clock(clock);
    let replay = Replay::of(&log, Read::category("outbox").unwrap()).world(world);
    let replayed = replay.to(&endpoint().handle(clerk.clone())).await.unwrap();
    assert_eq!(clerk.ids(), ["mine", "heard"]);
    assert_eq!(counts(replayed), (2, 3));
}
