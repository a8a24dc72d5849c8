//! Processes that share a group.

use std::{sync::Arc, time::Duration};

use es_core::{
    Consumer, DeadLetters, Deliveries, Message, Order, Publisher, StoreErrorKind, World,
};
use es_redis_streams::RedisBroker;
use futures_util::{StreamExt, future::join_all};
use parking_lot::Mutex;

use super::{
    HOUR, SHORT, SOON, ack, asks, assert_in_order, broker, bury, coming, consume, group, join,
    keyed, letters, message, next, of_ada, options, orders, publish, raw, said, server, take,
};

/// Handles what comes until all is handled, each thing once; now and then one is dropped,
/// tried again, or held while the member leaves and another one joins.
async fn work(broker: &RedisBroker, order: Order, seen: &Mutex<Vec<String>>, all: usize) {
    let asks = || asks().window(5).in_order(order);
    let mut member = consume(broker, asks()).await;
    while seen.lock().len() < all {
        let waits = World::real().sleep(Duration::from_millis(20));
        let delivery = tokio::select! {
            delivery = coming(&mut member) => delivery.expect("a broker that delivers"),
            () = waits => continue,
        };
        match World::real().random_u64() % 16 {
            0 => drop(delivery),
            1 => delivery.retry(Duration::from_millis(2)).await.expect("an answer"),
            2 => {
                drop(member);
                member = consume(broker, asks()).await;
                drop(delivery);
            }
            _ => {
                // In this order, as the next one may come to another before this is told.
                seen.lock().push(delivery.message.id.clone());
                ack(delivery).await;
            }
        }
    }
}

/// What three processes have handled, in the order in which they did.
async fn handled(url: String, order: Order, messages: &[Message]) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let brokers = join_all((0..3).map(|_| broker(options(url.clone())))).await;
    drop(consume(&brokers[0], asks().in_order(order)).await);
    for part in messages.chunks(30) {
        publish(&brokers[2], part.to_vec()).await;
    }
    let all = join_all(brokers.iter().map(|broker| work(broker, order, &seen, messages.len())));
    tokio::time::timeout(SOON, all).await.expect("all is handled");
    std::mem::take(&mut *seen.lock())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_group_and_keep_the_order_of_each_key() {
    let Some(server) = server() else { return };
    let seen = handled(server.url(), Order::Key, &keyed(10, 40)).await;
    assert_eq!(seen.len(), 400, "each once");
    assert_in_order(&seen, 10, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_take_turns_with_the_whole_group() {
    let Some(server) = server() else { return };
    let messages = keyed(3, 30);
    let due: Vec<_> = messages.iter().map(|message| message.id.clone()).collect();
    assert_eq!(handled(server.url(), Order::Whole, &messages).await, due);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_share_a_group_without_an_order() {
    let Some(server) = server() else { return };
    let mut seen = handled(server.url(), Order::None, &keyed(3, 60)).await;
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 180, "each once");
}

/// Handles ticks until the lease would be over.
async fn outlive(lease: Duration, ticking: &RedisBroker, member: &mut Deliveries) {
    let until = World::real().now() + lease * 11 / 10;
    while World::real().now() < until {
        publish(ticking, vec![message("tick")]).await;
        assert_eq!(take(member, 1).await, ["tick"]);
    }
}

/// Holds a delivery for longer than the lease, which is so long that nobody is taken for dead
/// who stands still for a moment.
async fn hold(leave: impl FnOnce(Deliveries) -> Option<Deliveries>) {
    const LEASE: Duration = Duration::from_secs(3);
    let Some(server) = server() else { return };
    let one = broker(options(server.url()).lease(LEASE)).await;
    let two = broker(options(server.url())).await;
    let mut holds = consume(&one, asks().window(1)).await;
    publish(&one, vec![of_ada(1), of_ada(2)]).await;
    let held = next(&mut holds).await;
    let stays = leave(holds);
    let mut other = join(&two).await;
    outlive(LEASE, &two, &mut other).await;
    drop(stays);
    assert_eq!(ack(held).await, "1");
    assert_eq!(take(&mut other, 1).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_is_held_for_longer_than_the_lease_goes_to_nobody_else() {
    hold(Some).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_a_member_that_has_left_goes_to_nobody_else_while_it_is_held() {
    hold(|member| {
        drop(member);
        None
    })
    .await;
}

/// Although nothing else would wake the others for an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_leaves_hands_over_at_once() {
    let Some(server) = server() else { return };
    let (one, two) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let mut leaves = join(&one).await;
    publish(&one, (0..10).map(message).collect()).await;
    let held = next(&mut leaves).await;
    let mut stays = join(&two).await;
    drop((leaves, held));
    let mut seen = Vec::new();
    for _ in 0..10 {
        let delivery = next(&mut stays).await;
        seen.push((delivery.message.id.clone(), delivery.attempt));
        ack(delivery).await;
    }
    seen.sort();
    // What nobody has seen was not tried.
    let due = (0..10).map(|n| (n.to_string(), if n == 0 { 2 } else { 1 }));
    assert_eq!(seen, due.collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_is_woken_by_what_another_one_does() {
    let Some(server) = server() else { return };
    let (here, there) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let mut waits = join(&here).await;
    for n in 0..5 {
        publish(&there, vec![of_ada(n)]).await;
        assert_eq!(take(&mut waits, 1).await, [n.to_string()]);
    }
    publish(&there, vec![of_ada("dead")]).await;
    bury(&mut waits).await.expect("there is room");
    let letter = letters(&there).await.expect("letters").remove(0);
    assert!(there.give_back(&group(), letter.id, None).await.expect("it is given back"));
    assert_eq!(take(&mut waits, 1).await, ["dead"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_outlives_its_process_and_comes_no_earlier() {
    let Some(server) = server() else { return };
    let (one, two) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let mut first = join(&one).await;
    publish(&one, vec![of_ada(1), of_ada(2)]).await;
    let delivery = next(&mut first).await;
    let due = World::real().now() + Duration::from_millis(400);
    delivery.retry(Duration::from_millis(400)).await.expect("an answer");
    drop((first, one));
    let mut other = join(&two).await;
    let again = next(&mut other).await;
    assert!(World::real().now() >= due, "it came too early");
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    ack(again).await;
    assert_eq!(take(&mut other, 1).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_part_in_a_group_that_is_forgotten_is_told_so() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url()).lease(SHORT)).await;
    // For some of its leases the server remembers what it has forgotten.
    let two = broker(options(server.url())).await;
    let mut member = join(&one).await;
    publish(&two, (1..=5).map(of_ada).collect()).await;
    let held = next(&mut member).await;
    two.forget(&group()).await.expect("it is forgotten");
    let end = coming(&mut member).await.expect_err("there is nothing more");
    assert_eq!(end.kind(), StoreErrorKind::Closed);
    assert!(member.next().await.is_none());
    let late = held.ack().await.expect_err("there is nobody to tell");
    assert!(matches!(late.kind(), StoreErrorKind::Closed | StoreErrorKind::Fenced), "{late}");
    publish(&two, vec![of_ada(6)]).await;
    let mut raw = raw(&server).await;
    let left: Vec<String> = said(&mut raw, &[b"KEYS", b"{test}:group:*"]).await;
    assert_eq!(left, ["{test}:group:billing:forgotten"]);
    // Who asks for it anew gets a new one, in whichever order.
    let mut anew = consume(&one, asks().in_order(Order::None)).await;
    publish(&two, vec![of_ada(7)]).await;
    assert_eq!(take(&mut anew, 1).await, ["7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_are_given_back_in_any_order_come_in_theirs() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url())).await;
    let mut member = consume(&one, asks().window(1)).await;
    publish(&one, (1..=3).map(of_ada).chain([message("held")]).collect()).await;
    for _ in 1..=3 {
        bury(&mut member).await.expect("there is room");
    }
    // So that what is given back is not handed out before the next one is.
    let held = next(&mut member).await;
    for letter in letters(&one).await.expect("letters").into_iter().rev() {
        assert!(one.give_back(&group(), letter.id, None).await.expect("it is given back"));
    }
    assert_eq!(ack(held).await, "held");
    assert_eq!(take(&mut member, 3).await, ["1", "2", "3"]);
}

/// Those who took part in the old one, and have not heard of it, do not meddle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_made_anew_may_have_another_order() {
    let Some(server) = server() else { return };
    let (one, two) = (broker(options(server.url())).await, broker(options(server.url())).await);
    let mut old = join(&one).await;
    publish(&two, vec![of_ada(1)]).await;
    let held = next(&mut old).await;
    two.forget(&group()).await.expect("it is forgotten");
    let mut here = consume(&one, asks().in_order(Order::Whole)).await;
    let mut there = consume(&two, asks().in_order(Order::Whole).window(1)).await;
    held.ack().await.expect_err("there is nobody to tell");
    assert_eq!(coming(&mut old).await.expect_err("it ends").kind(), StoreErrorKind::Closed);
    for n in 2..6 {
        publish(&two, vec![of_ada(n)]).await;
        let seen = tokio::select! {
            seen = take(&mut here, 1) => seen,
            seen = take(&mut there, 1) => seen,
        };
        assert_eq!(seen, [n.to_string()]);
    }
}

/// Nobody takes part any more, and nothing stays behind but the group itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_handled_leaves_nothing_behind() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url()).history(3)).await;
    let mut member = join(&one).await;
    one.publish(&orders(), keyed(5, 20)).await.expect("it is published");
    take(&mut member, 99).await;
    next(&mut member).await.retry(Duration::ZERO).await.expect("an answer");
    take(&mut member, 1).await;
    drop(member);
    let mut raw = raw(&server).await;
    super::soon(async || {
        let mut left: Vec<String> = said(&mut raw, &[b"KEYS", b"*"]).await;
        left.sort();
        let due = ["{test}:group:billing", "{test}:group:billing:bell"];
        (left == [due[0], due[1], "{test}:groups", "{test}:history"]).then_some(())
    })
    .await;
    let kept: usize = said(&mut raw, &[b"LLEN", b"{test}:history"]).await;
    assert_eq!((kept, HOUR > SOON), (3, true));
}
