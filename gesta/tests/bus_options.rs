//! A bus whose broker is told by an address or by the environment.

#![cfg(all(feature = "bus", feature = "redis", feature = "nats"))]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use es_testkit::servers::{nats_url, redis_url};
use gesta::{
    Event, Group, StoreError, StoreErrorKind, World,
    bus::{BusOptions, Endpoint, EventBus, HandleError, Received, RetryPolicy},
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(prefix = "bell")]
enum Rung {
    Rung { number: u64 },
}

fn variables(set: &[(&str, &str)]) -> Result<BusOptions, StoreError> {
    let find = |name: &str| set.iter().find(|(known, _)| *known == name);
    BusOptions::from_variables(|name| find(name).map(|(_, value)| (*value).to_owned()))
}

fn refused(options: Result<BusOptions, StoreError>) -> (StoreErrorKind, String) {
    let error = options.unwrap_err();
    (error.kind(), error.to_string())
}

/// What one program sends is handled by another one.
async fn rings(one: EventBus, other: EventBus) {
    let (heard, mut hears) = mpsc::channel(1);
    let listens = Endpoint::new("listens").unwrap().to("bell.*").unwrap();
    let listens = listens.handle(move |received: Received<Rung>| {
        let heard = heard.clone();
        async move { Ok(heard.send((received.event, received.message.metadata)).await?) }
    });
    let running = one.subscribe(listens).await.unwrap();
    other.publish(&Rung::Rung { number: 7 }).await.unwrap();
    let (event, metadata) = hears.recv().await.unwrap();
    assert_eq!(event, Rung::Rung { number: 7 });
    assert!(format!("{metadata:?}").contains("shop"), "{metadata:?}");
    assert!(running.drain().await.is_clean());
    one.unsubscribe(&Group::new("listens").unwrap()).await.unwrap();
}

async fn bus(url: &str) -> EventBus {
    let options = variables(&[("EVENT_BUS_URL", url), ("SERVICE_NAME", "shop")]);
    options.unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_program_runs_on_each_broker() {
    let memory = bus("memory:").await;
    rings(memory.clone(), memory).await;
    for url in [redis_url(), nats_url()] {
        let url = format!("{url}?prefix=test-{}&lease=20", World::real().event_id());
        rings(bus(&url).await, bus(&url).await).await;
    }
}

#[test]
fn the_environment_tells_the_broker() {
    let shown = |set: &[(&str, &str)]| format!("{:?}", variables(set).unwrap());
    assert!(shown(&[]).contains("memory: 1000"));
    assert!(shown(&[("EVENT_BUS_ADAPTER", "")]).contains("memory: 1000"));
    let small = [("EVENT_BUS_ADAPTER", "memory"), ("EVENT_BUS_MEMORY_MAX_HISTORY", "5")];
    assert!(shown(&small).contains("memory: 5"));
    assert!(shown(&[("EVENT_BUS_ADAPTER", "redis")]).contains("redis: "));
    assert!(shown(&[("EVENT_BUS_ADAPTER", "nats")]).contains("nats: "));
    let told = [("EVENT_BUS_ADAPTER", "redis"), ("EVENT_BUS_URL", "nats://a:1?prefix=shop")];
    assert!(shown(&told).contains("\"shop\""));
    let secret = [("EVENT_BUS_URL", "redis://:secret@a")];
    assert!(!shown(&secret).contains("secret"));
}

#[tokio::test]
async fn a_password_may_have_any_sign() {
    let set = [
        ("EVENT_BUS_ADAPTER", "redis"),
        ("REDIS_HOST", "::1"),
        ("REDIS_PORT", "1"),
        ("REDIS_PASSWORD", "p@ss:/?#[ü"),
        ("REDIS_DB", "3"),
    ];
    // The address can be read: nobody is there.
    let error = variables(&set).unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
}

#[test]
fn what_cannot_be_is_told_with_what_can() {
    use StoreErrorKind::{Invalid, Unsupported};
    for (url, kind, told) in [
        ("kafka://a", Invalid, "memory, redis, nats, rabbitmq"),
        ("", Invalid, "memory, redis, nats, rabbitmq"),
        ("memory://a", Invalid, "take memory:"),
        ("memory:?backlog=1", Invalid, "\"backlog\" is no parameter"),
        ("redis://a?partitions=1", Invalid, "\"partitions\" is no parameter"),
        ("nats://a?lease=soon", Invalid, "lease is a number"),
        ("nats://a?lease=-1", Invalid, "lease is a number of seconds"),
        ("redis://a?history", Invalid, "history is a number"),
    ] {
        let (found, message) = refused(BusOptions::from_url(url));
        assert_eq!((found, message.contains(told)), (kind, true), "{url}: {message}");
    }
    for (set, kind, told) in [
        (("EVENT_BUS_ADAPTER", "kafka"), Invalid, "no broker \"kafka\""),
        (("EVENT_BUS_MEMORY_MAX_HISTORY", "many"), Invalid, "history is a number"),
        (("EVENT_BUS_DEFAULT_MAX_RETRIES", "-1"), Invalid, "is a number"),
        (("EVENT_BUS_DEFAULT_AUTO_ACK", "false"), Unsupported, "what its handler returns"),
        (("EVENT_BUS_DEFAULT_USE_DLQ", "0"), Unsupported, "is kept"),
        (("EVENT_BUS_MEMORY_PERSIST", "TRUE"), Unsupported, "take another broker"),
    ] {
        let (found, message) = refused(variables(&[set]));
        assert_eq!((found, message.contains(told)), (kind, true), "{set:?}: {message}");
    }
    for fine in ["EVENT_BUS_DEFAULT_AUTO_ACK", "EVENT_BUS_DEFAULT_USE_DLQ", "REDIS_TLS"] {
        variables(&[(fine, "true")]).unwrap();
    }
    let redis = ("EVENT_BUS_ADAPTER", "redis");
    for (value, kind) in [("true", Unsupported), ("maybe", Invalid)] {
        assert_eq!(refused(variables(&[redis, ("REDIS_TLS", value)])).0, kind);
    }
    variables(&[("EVENT_BUS_ADAPTER", "nats"), ("NATS_URL", "localhost:4222")]).unwrap();
}

/// Whose signs mean something in an address that is not escaped.
#[test]
fn no_part_of_a_password_is_told() {
    for url in [
        "redis://:pa?ssw0rd@host:6379",
        "redis://:pa?ssw0rd=1@host:6379",
        "ssw0rd@host",
        "memory:ssw0rd",
        "nats://user:pa?ssw0rd@host",
    ] {
        let (kind, message) = refused(BusOptions::from_url(url));
        assert_eq!(
            (kind, message.contains("ssw0rd")),
            (StoreErrorKind::Invalid, false),
            "{message}"
        );
    }
}

/// The number of tries is the bus's, unless the endpoint has its own.
#[tokio::test(start_paused = true)]
async fn endpoints_try_as_often_as_the_bus_says() {
    let bus = variables(&[("EVENT_BUS_DEFAULT_MAX_RETRIES", "2")]).unwrap().connect();
    let bus = bus.await.unwrap();
    for (group, own, tries) in [("bus", None, 3), ("own", Some(RetryPolicy::new(2)), 2)] {
        let tried = Arc::new(AtomicU32::new(0));
        let mut fails = Endpoint::new(group).unwrap();
        if let Some(own) = own {
            fails = fails.retry(own);
        }
        let count = Arc::clone(&tried);
        let fails = fails.handle(move |_: Received<Rung>| {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err(HandleError::transient("no luck")))
        });
        let running = bus.subscribe(fails).await.unwrap();
        let group = Group::new(group).unwrap();
        bus.enqueue(&group, &Rung::Rung { number: 1 }).await.unwrap();
        while bus.dead_letters(&group).count().await.unwrap().values().sum::<u64>() == 0 {
            World::real().sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(tried.load(Ordering::SeqCst), tries);
        assert!(running.drain().await.is_clean());
    }
}
