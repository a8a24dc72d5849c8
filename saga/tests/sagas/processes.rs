use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use cqrs::{Projecting, Projector, StartAt};
use es_core::{
    AppendId, Batch, Codec, Event, EventStore, EventStoreExt, Evolve, NewEvent, Read, Recorded,
    StreamId, Tenant, World, memory::MemoryViews,
};
use parking_lot::Mutex;
use saga::{Hears, ProcessManager, Reply, Saga};
use serde::{Deserialize, Serialize};

use crate::place::Place;

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(prefix = "order")]
enum OrderEvent {
    Placed { order: String },
    Paid { order: String },
    Packed { orders: Vec<String> },
    Renamed { order: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Do {
    AskForMoney,
    Ship { paid: bool },
    GiveUp,
}

#[derive(Default)]
struct Shipping {
    paid: bool,
}

impl Evolve for Shipping {
    type Event = OrderEvent;
    fn evolve(&mut self, event: &OrderEvent) {
        self.paid |= matches!(event, OrderEvent::Paid { .. });
    }
}

const HOUR: Duration = Duration::from_secs(3_600);

impl Saga for Shipping {
    const NAME: &'static str = "shipping";
    type Command = Do;

    fn correlate(event: Recorded<'_, OrderEvent>) -> Hears {
        match event.event.clone() {
            OrderEvent::Placed { order } => Hears::MustStart(order),
            OrderEvent::Paid { order } => Hears::Go(order),
            OrderEvent::Packed { orders } => {
                Hears::All(orders.into_iter().map(Hears::Go).collect())
            }
            OrderEvent::Renamed { order } => Hears::MustGo(order),
        }
    }

    fn react(&self, event: &OrderEvent) -> Vec<Reply<Do>> {
        match event {
            OrderEvent::Placed { .. } => {
                vec![Reply::Send(Do::AskForMoney), Reply::wake("late", HOUR)]
            }
            OrderEvent::Paid { .. } => vec![Reply::Sleep("late".into())],
            OrderEvent::Packed { .. } => {
                vec![Reply::Send(Do::Ship { paid: self.paid }), Reply::End]
            }
            OrderEvent::Renamed { .. } => Vec::new(),
        }
    }

    fn wake(&self, timer: &str) -> Vec<Reply<Do>> {
        assert_eq!(timer, "late");
        vec![Reply::Send(Do::GiveUp), Reply::End]
    }
}

type Done = Arc<Mutex<Vec<(String, AppendId, Do)>>>;

struct Shop {
    place: Place,
    done: Done,
    fails: Arc<AtomicU32>,
    manager: ProcessManager<Shipping>,
    projecting: Projecting<MemoryViews>,
    projector: Projector<MemoryViews>,
}

impl Shop {
    fn open() -> Self {
        let (place, done, fails) = (Place::new(), Done::default(), Arc::new(AtomicU32::new(0)));
        let (doing, failing) = (Arc::clone(&done), Arc::clone(&fails));
        let store = place.store.clone();
        let manager = ProcessManager::new(store.clone(), place.timers.clone(), move |order| {
            doing.lock().push((order.saga, order.id, order.command));
            let fails = failing
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            async move { if fails.is_ok() { Err("nobody answers".into()) } else { Ok(()) } }
        });
        let manager = manager.in_world(place.world.clone());
        let projector = Projector::new(store, MemoryViews::new())
            .world(place.world.clone())
            .reaction(manager.clone(), (), StartAt::Beginning);
        let projecting = projector.start();
        Self { place, done, fails, manager, projecting, projector }
    }

    async fn tell(&self, event: OrderEvent) {
        let world = World::real();
        let event = NewEvent::encode(&event, world.event_id(), Codec::Json).expect("an event");
        let stream = StreamId::new("orders", "all").expect("a name");
        let appended =
            self.place.store.append(Batch::to(stream).event(event)).await.expect("a log");
        self.projecting.wait_for(appended.position).await.expect("it is handled");
    }

    fn done(&self) -> Vec<Do> {
        self.done.lock().iter().map(|(_, _, command)| command.clone()).collect()
    }
}

fn placed(order: &str) -> OrderEvent {
    OrderEvent::Placed { order: order.into() }
}

#[tokio::test(start_paused = true)]
async fn a_saga_hears_events_and_says_what_follows() {
    let shop = Shop::open();
    shop.tell(placed("7")).await;
    shop.tell(OrderEvent::Paid { order: "7".into() }).await;
    shop.tell(OrderEvent::Packed { orders: vec!["7".into(), "8".into()] }).await;
    assert_eq!(shop.done(), [Do::AskForMoney, Do::Ship { paid: true }]);
    let state = shop.manager.load(&Tenant::default(), "7").await.expect("a log");
    assert!(state.is_some_and(|state| state.paid));
    assert!(shop.manager.load(&Tenant::default(), "8").await.expect("a log").is_none());
}

#[tokio::test(start_paused = true)]
async fn one_event_may_be_heard_by_many() {
    let shop = Shop::open();
    for order in ["1", "2", "3"] {
        shop.tell(placed(order)).await;
    }
    shop.tell(OrderEvent::Packed { orders: vec!["1".into(), "3".into()] }).await;
    let shipped = Do::Ship { paid: false };
    assert_eq!(shop.done().iter().filter(|done| **done == shipped).count(), 2);
    let ids =
        shop.done.lock().iter().map(|(_, id, _)| *id).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(ids.len(), 5, "each command has an id of its own");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_done_again_with_the_same_id() {
    let shop = Shop::open();
    shop.fails.store(2, Ordering::SeqCst);
    shop.tell(placed("7")).await;
    let done = shop.done.lock().clone();
    assert_eq!(done.len(), 3);
    assert!(done.iter().all(|one| *one == done[0]), "{done:?}");
    let stream = StreamId::new("process", "shipping-7").expect("a name");
    let heard = shop.place.store.events(Read::stream(&stream)).await.expect("a log");
    assert_eq!(heard.len(), 1, "it was heard once");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_or_must_be_there_is_parked_if_it_is_otherwise() {
    let shop = Shop::open();
    shop.tell(OrderEvent::Renamed { order: "7".into() }).await;
    let parked = shop.projector.parked("shipping").await.expect("a store");
    assert!(parked.len() == 1, "{parked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_timer_wakes_a_saga_once_and_not_if_it_sleeps_or_has_ended() {
    let shop = Shop::open();
    let waking = shop.manager.start();
    for order in ["late", "paid", "packed"] {
        shop.tell(placed(order)).await;
    }
    shop.tell(OrderEvent::Paid { order: "paid".into() }).await;
    shop.tell(OrderEvent::Packed { orders: vec!["packed".into()] }).await;
    shop.place.world.sleep(HOUR - Duration::from_secs(60)).await;
    assert!(!shop.done().contains(&Do::GiveUp), "not before it is due");
    shop.place.world.sleep(HOUR).await;
    let gave_up = shop
        .done
        .lock()
        .iter()
        .filter(|(_, _, done)| *done == Do::GiveUp)
        .cloned()
        .collect::<Vec<_>>();
    assert!(gave_up.len() == 1 && gave_up[0].0 == "late", "{gave_up:?}");
    waking.stop().await;
}
