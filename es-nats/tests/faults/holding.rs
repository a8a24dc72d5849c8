//! Deliveries that are held for long.

use std::time::Duration;

use es_core::{Consumer, World};
use futures_util::{FutureExt, StreamExt};

use crate::site::{LEASE, Seen, Site, asks, in_turns, keyed, next, publish, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_living_process_holds_for_long_is_not_given_to_another() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(40, 1..=1)).await;
        let mut held = Vec::new();
        for _ in 0..40 {
            held.push(next(&mut first).await);
        }
        let mut second = two.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(40, 2..=2)).await;
        // Nothing but time shows that it is not taken away.
        World::real().sleep(5 * LEASE).await;
        assert!(second.next().now_or_never().is_none(), "all keys are in hand");
        let mut seen = Seen::default();
        for delivery in held {
            seen.see(&delivery.message.id);
            delivery.ack().await.expect("an answer that arrives");
        }
        while seen.count < 80 {
            let delivery = tokio::select! {
                delivery = next(&mut first) => delivery,
                delivery = next(&mut second) => delivery,
            };
            seen.see(&delivery.message.id);
            delivery.ack().await.expect("an answer that arrives");
        }
        assert_eq!(seen.repeated, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_next_try_comes_again_though_its_unit_goes_to_another() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let hour = Duration::from_secs(3_600);
        next(&mut first).await.retry(hour).await.expect("an answer that arrives");
        let mut second = two.consume(asks("orders")).await.expect("a member");
        drop(first);
        assert_eq!([take(&mut second).await, take(&mut second).await], ["0/1", "0/2"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_by_a_process_that_has_left_is_not_given_to_another() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let held = next(&mut first).await;
        drop(first);
        let mut second = two.consume(asks("orders")).await.expect("a member");
        // Nothing but time shows that it is not taken away.
        World::real().sleep(5 * LEASE).await;
        assert!(second.next().now_or_never().is_none(), "the key is in hand");
        held.ack().await.expect("an answer that arrives");
        assert_eq!(take(&mut second).await, "0/2");
    })
    .await;
}
