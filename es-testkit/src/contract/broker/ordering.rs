//! Which messages wait for each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use es_core::{Deliveries, Delivery, Message, Order, Tenant};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    Broker,
    delivering::{asks, consume, join, message, next, publish, take, take_any},
};
use crate::contract::{Site, run::together};

fn of_ada(id: impl ToString) -> Message {
    message(id).with_key("ada")
}

/// While one message of a key is unsettled, no other one of it is handed out.
pub async fn a_key_is_handed_out_one_at_a_time(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![of_ada(1), of_ada(2), message(3).with_key("bob")]).await;
    let (one, three) = (next(&mut billing).await, next(&mut billing).await);
    let mut ids = [one.message.id.clone(), three.message.id.clone()];
    ids.sort_unstable();
    assert_eq!(ids, ["1", "3"], "2 waits for 1");
    for delivery in [one, three] {
        delivery.ack().await.expect("an answer that arrives");
    }
    assert_eq!(take(&mut billing, 1).await, ["2"]);
}

/// Works until all are handled, and checks that only one message is in hand at a time.
async fn work(mut member: Deliveries, all: usize, shared: Arc<Shared>) {
    let mut done = shared.done.subscribe();
    loop {
        let delivery: Delivery = tokio::select! {
            delivery = next(&mut member) => delivery,
            _ = done.wait_for(|done| *done) => return,
        };
        assert!(!shared.busy.swap(true, Ordering::SeqCst), "two are in hand at once");
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        shared.seen.lock().push(delivery.message.id.clone());
        shared.busy.store(false, Ordering::SeqCst);
        delivery.ack().await.expect("an answer that arrives");
        if shared.handled.fetch_add(1, Ordering::SeqCst) + 1 == all {
            shared.done.send_replace(true);
        }
    }
}

#[derive(Default)]
struct Shared {
    busy: AtomicBool,
    handled: AtomicUsize,
    seen: Mutex<Vec<String>>,
    done: watch::Sender<bool>,
}

async fn all_in_order(broker: &Site<Broker>, order: Order, messages: Vec<Message>) {
    let due: Vec<_> = messages.iter().map(|message| message.id.clone()).collect();
    let shared = Arc::new(Shared::default());
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(consume(broker, asks("orders", "billing").in_order(order)).await);
    }
    for part in messages.chunks(7) {
        publish(broker, "orders", part.to_vec()).await;
    }
    let work = |member| work(member, due.len(), Arc::clone(&shared));
    together(members.into_iter().map(work)).await;
    assert_eq!(*shared.seen.lock(), due);
}

/// The messages of a key are handed out one after the other, whichever member takes them.
pub async fn members_take_turns_with_a_key(broker: &Site<Broker>) {
    all_in_order(broker, Order::Key, (0..60).map(|n| of_ada(format!("{n:02}"))).collect()).await;
}

/// In the order of the whole, one message is handed out at a time, whatever its key.
pub async fn a_whole_group_may_take_turns(broker: &Site<Broker>) {
    let keyed = |n: usize| match n % 3 {
        0 => message(format!("{n:02}")),
        key => message(format!("{n:02}")).with_key(key.to_string()),
    };
    all_in_order(broker, Order::Whole, (0..60).map(keyed).collect()).await;
}

/// Without an order nothing waits.
pub async fn without_an_order_nothing_waits(broker: &Site<Broker>) {
    let mut billing = consume(broker, asks("orders", "billing").in_order(Order::None)).await;
    publish(broker, "orders", (0..10).map(of_ada).collect()).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(next(&mut billing).await);
    }
    for delivery in held {
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// One tenant's messages do not wait for another's of the same key.
pub async fn tenants_do_not_wait_for_each_other(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    let acme = Tenant::new("acme").expect("a tenant");
    publish(broker, "orders", vec![of_ada(1), of_ada(2), of_ada(3).of(acme)]).await;
    let held = [next(&mut billing).await, next(&mut billing).await];
    assert!(held.iter().any(|delivery| delivery.message.id == "3"));
    for delivery in held {
        delivery.ack().await.expect("an answer that arrives");
    }
    assert_eq!(take(&mut billing, 1).await, ["2"]);
}

/// A message that is tried again comes before the later ones of its key.
pub async fn a_retry_holds_up_its_key(broker: &Site<Broker>) {
    let mut billing = join(broker, "orders", "billing").await;
    publish(broker, "orders", vec![of_ada(1), of_ada(2)]).await;
    publish(broker, "orders", vec![message(3).with_key("bob")]).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let delivery = next(&mut billing).await;
        if delivery.message.id == "1" && delivery.attempt < 3 {
            delivery.retry(Duration::from_millis(5)).await.expect("an answer that arrives");
            continue;
        }
        seen.push(delivery.message.id.clone());
        delivery.ack().await.expect("an answer that arrives");
    }
    seen.retain(|id| id != "3");
    assert_eq!(seen, ["1", "2"]);
}

/// What a member that leaves has held comes before the later ones of its key.
pub async fn whoever_takes_over_keeps_the_order_of_a_key(broker: &Site<Broker>) {
    let mut one = join(broker, "orders", "billing").await;
    publish(broker, "orders", (0..20).map(|n| of_ada(format!("{n:02}"))).collect()).await;
    assert_eq!(take(&mut one, 3).await, ["00", "01", "02"]);
    let held = next(&mut one).await;
    let mut two = join(broker, "orders", "billing").await;
    drop((held, one));
    let due: Vec<_> = (3..20).map(|n| format!("{n:02}")).collect();
    assert_eq!(take(&mut two, 17).await, due);
}

/// A member holds no more than its window.
pub async fn a_member_holds_no_more_than_its_window(broker: &Site<Broker>) {
    let mut narrow = consume(broker, asks("orders", "billing").window(2)).await;
    let mut wide = join(broker, "orders", "billing").await;
    publish(broker, "orders", (0..2).map(message).collect()).await;
    let held = [next(&mut narrow).await, next(&mut narrow).await];
    publish(broker, "orders", (2..10).map(message).collect()).await;
    // It asks for more all the time.
    let others = tokio::select! {
        biased;
        third = next(&mut narrow) => panic!("it holds {} too", third.message.id),
        others = take_any(&mut wide, 8) => others,
    };
    assert_eq!(others, ["2", "3", "4", "5", "6", "7", "8", "9"]);
    for delivery in held {
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// Members of one group that ask for different orders are refused.
pub async fn members_that_disagree_about_the_order_are_refused(broker: &Site<Broker>) {
    let _first = join(broker, "orders", "billing").await;
    for other in [
        asks("orders", "billing").in_order(Order::Whole),
        asks("orders", "billing").in_order(Order::None),
        asks("orders", "billing").parking(),
    ] {
        let refused = broker.consumer.consume(other).await.err().expect("a refusal");
        assert_eq!(refused.kind(), es_core::StoreErrorKind::Invalid, "{refused}");
    }
}
