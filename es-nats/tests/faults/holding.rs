//! Deliveries that are held for long.

use std::time::Duration;

use es_core::Consumer;
use futures_util::StreamExt;

use crate::site::{HELD, STEADY, Seen, Site, asks, hold, in_turns, keyed, next, publish, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_living_process_holds_for_long_is_not_given_to_another() {
    Site::run_for(HELD, async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(40, 1..=1)).await;
        let held = hold(&mut first, 40).await;
        let mut second = two.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", in_turns(40, 2..=2)).await;
        tokio::select! {
            taken = second.next() => panic!("all keys are in hand, but {taken:?}"),
            () = site.both_live_on() => {}
        }
        let mut seen = Seen::default();
        seen.ack_all(held).await;
        seen.until(80, vec![&mut first, &mut second]).await;
        assert_eq!(seen.repeated, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_its_next_try_comes_again_though_its_unit_goes_to_another() {
    Site::run_for(STEADY, async |site| {
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
    Site::run_for(HELD, async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("orders")).await.expect("a member");
        publish(&one, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let held = next(&mut first).await;
        drop(first);
        let mut second = two.consume(asks("orders")).await.expect("a member");
        tokio::select! {
            taken = second.next() => panic!("the key is in hand, but {taken:?}"),
            () = site.both_live_on() => {}
        }
        held.ack().await.expect("an answer that arrives");
        assert_eq!(take(&mut second).await, "0/2");
    })
    .await;
}
