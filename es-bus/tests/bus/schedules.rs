//! What is sent later.

use std::time::Duration;

use es_bus::{EventBus, Schedule};
use es_core::{
    Consumer, ContentType, Group, Message, Metadata, Name, Subscription, Timers, Topic, World,
    memory::{MemoryBroker, MemoryTimers},
};
use es_testkit::{TestClock, fake};
use futures_util::TryStreamExt;

use crate::world::settled;

/// How long whoever takes what is due has for it.
const TURN: Duration = Duration::from_secs(30);

struct Desk {
    clock: TestClock,
    broker: MemoryBroker,
    timers: MemoryTimers,
    bus: EventBus,
}

fn topic() -> Topic {
    Topic::new("order.placed").unwrap()
}

fn message(id: &str) -> Message {
    Message::new(id, Name::new("order.placed").unwrap(), ContentType::JSON, r#"{ "a": 1 }"#)
}

impl Desk {
    fn new() -> Self {
        Self::over(|broker| broker)
    }

    fn over(with: impl FnOnce(MemoryBroker) -> MemoryBroker) -> Self {
        let clock = TestClock::new();
        let world = World::real().with_clock(clock.clone());
        let broker = with(MemoryBroker::in_world(world.clone()));
        let bus = EventBus::in_world(broker.clone(), world);
        Self { clock, broker, timers: MemoryTimers::new(), bus }
    }

    fn schedule(&self) -> Schedule {
        Schedule::new(&self.bus, self.timers.clone())
    }

    async fn pass(&self, time: Duration) {
        settled().await;
        self.clock.advance(time);
        settled().await;
    }

    fn sent(&self) -> Vec<String> {
        self.broker.history(&topic()).into_iter().map(|message| message.id).collect()
    }
}

#[tokio::test]
async fn a_message_is_sent_as_it_is_and_not_before_its_time() {
    let desk = Desk::new();
    let schedule = desk.schedule();
    let _sending = schedule.start();
    let mut whole = message("order-7 \u{fc}")
        .with_key("seven")
        .of(fake::tenant("acme"))
        .with_metadata(Metadata::new().with("shop", "north"))
        .expiring(TestClock::START + Duration::from_secs(3_600));
    whole.schema_version = 3;
    let minute = Duration::from_secs(60);
    schedule.after(minute, topic(), whole.clone()).await.unwrap();
    desk.pass(minute - Duration::from_millis(1)).await;
    assert!(desk.broker.history(&topic()).is_empty());
    desk.pass(Duration::from_millis(1)).await;
    assert_eq!(desk.broker.history(&topic()), [whole]);
    desk.pass(10 * TURN).await;
    assert_eq!(desk.sent().len(), 1);
}

#[tokio::test]
async fn a_job_is_sent_to_its_queue() {
    let desk = Desk::new();
    let mails = Group::new("mails").unwrap();
    let _sending = desk.schedule().start();
    desk.schedule().at(TestClock::START, mails.clone(), message("1")).await.unwrap();
    desk.pass(Schedule::POLL).await;
    let mut jobs = desk.broker.consume(Subscription::of(mails)).await.unwrap();
    assert_eq!(jobs.try_next().await.unwrap().unwrap().message, message("1"));
}

/// A message of the same process is not late by the time between two looks.
#[tokio::test]
async fn what_comes_sooner_is_not_sent_later_for_what_was_scheduled_before() {
    let desk = Desk::new();
    let schedule = desk.schedule().poll(Duration::from_secs(600));
    let _sending = schedule.start();
    settled().await;
    for (id, seconds) in [("late", 500), ("soon", 5)] {
        let after = Duration::from_secs(seconds);
        schedule.after(after, topic(), message(id)).await.unwrap();
        settled().await;
    }
    desk.pass(Duration::from_secs(5)).await;
    assert_eq!(desk.sent(), ["soon"]);
}

#[tokio::test]
async fn what_is_cancelled_is_not_sent() {
    let desk = Desk::new();
    let schedule = desk.schedule();
    let _sending = schedule.start();
    for id in ["1", "2"] {
        schedule.after(TURN, topic(), message(id)).await.unwrap();
    }
    let first = schedule.id(fake::tenant("default"), "1").unwrap();
    schedule.cancel(&first).await.unwrap();
    desk.pass(2 * TURN).await;
    assert_eq!(desk.sent(), ["2"]);
}

#[tokio::test]
async fn what_is_scheduled_anew_is_sent_once_at_its_new_time() {
    let desk = Desk::new();
    let schedule = desk.schedule();
    let _sending = schedule.start();
    for times in [2, 1, 3] {
        schedule.after(times * TURN, topic(), message("1")).await.unwrap();
    }
    desk.pass(2 * TURN).await;
    assert!(desk.sent().is_empty());
    desk.pass(TURN).await;
    assert_eq!(desk.sent(), ["1"]);
}

#[tokio::test]
async fn of_many_processes_one_sends_what_is_due() {
    let desk = Desk::new();
    let sending = [(); 4].map(|()| desk.schedule().start());
    let ids: Vec<_> = (0..600).map(|n| format!("{n:03}")).collect();
    for id in &ids {
        desk.schedule().after(TURN, topic(), message(id)).await.unwrap();
    }
    desk.pass(TURN).await;
    let mut sent = desk.sent();
    sent.sort();
    assert_eq!(sent, ids);
    for one in sending {
        one.stop().await;
    }
}

#[tokio::test]
async fn what_a_process_took_that_has_died_is_sent_by_another() {
    let desk = Desk::new();
    let id = desk.schedule().at(TestClock::START, topic(), message("1")).await.unwrap();
    let until = TestClock::START + TURN;
    let taken = desk.timers.take_due(&id.owner, TestClock::START, until, 9).await.unwrap();
    assert_eq!(taken.len(), 1);
    let _sending = desk.schedule().start();
    desk.pass(TURN - Duration::from_millis(1)).await;
    assert!(desk.sent().is_empty());
    desk.pass(Duration::from_millis(1)).await;
    assert_eq!(desk.sent(), ["1"]);
}

#[tokio::test]
async fn what_the_broker_does_not_take_is_sent_later() {
    let desk = Desk::over(|broker| broker.keeping(1));
    let mails = Group::new("mails").unwrap();
    let mut jobs = desk.broker.consume(Subscription::of(mails.clone())).await.unwrap();
    desk.bus.send(mails.clone(), vec![message("first")]).await.unwrap();
    let _sending = desk.schedule().start();
    desk.schedule().at(TestClock::START, mails, message("second")).await.unwrap();
    desk.pass(Schedule::POLL).await;
    let first = jobs.try_next().await.unwrap().unwrap();
    assert_eq!(first.message.id, "first");
    first.ack().await.unwrap();
    desk.pass(TURN).await;
    assert_eq!(jobs.try_next().await.unwrap().unwrap().message.id, "second");
}

#[tokio::test]
async fn what_cannot_be_read_keeps_nothing_else_waiting() {
    let desk = Desk::new();
    let broken = desk.schedule().at(TestClock::START, topic(), message("0")).await.unwrap();
    let payload = "no JSON".into();
    let broken = es_core::Timer { id: broken, due: TestClock::START, payload };
    desk.timers.set(broken).await.unwrap();
    desk.schedule().at(TestClock::START, topic(), message("1")).await.unwrap();
    let _sending = desk.schedule().start();
    desk.pass(Schedule::POLL).await;
    assert_eq!(desk.sent(), ["1"]);
}

#[tokio::test]
async fn who_was_stopped_sends_nothing_more() {
    let desk = Desk::new();
    desk.schedule().start().stop().await;
    drop(desk.schedule().start());
    settled().await;
    desk.schedule().at(TestClock::START, topic(), message("1")).await.unwrap();
    desk.pass(Schedule::POLL).await;
    assert!(desk.sent().is_empty());
    assert!(desk.schedule().at(TestClock::START, topic(), message("\n")).await.is_err());
}
