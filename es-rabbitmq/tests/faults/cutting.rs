//! A network that fails.

use es_core::{Consumer, Publisher, StoreErrorKind};

use crate::site::{Seen, Site, asks, hold, in_turns, keyed, publish, take, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_cut_is_made_again_and_keeps_the_order() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut member = lonely.consume(asks("orders")).await.expect("a member");
        let mut seen = Seen::default();
        for round in 1..=5 {
            publish(&other, "orders", in_turns(20, round * 10 - 9..=round * 10)).await;
            seen.until(round * 200 - 100, vec![&mut member]).await;
            proxy.cut();
        }
        seen.until(1_000, vec![&mut member]).await;
    })
    .await;
}

/// It lives, but nobody hears of it: others have what it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_handed_out_before_a_cut_is_settled_by_nobody_after_it() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", in_turns(20, 1..=3)).await;
        let held = hold(&mut first, 20).await;
        proxy.swallow();
        let mut second = other.consume(asks("orders")).await.expect("a member");
        let mut seen = Seen::default();
        seen.until(60, vec![&mut second]).await;
        proxy.pass();
        proxy.cut();
        // Of keys of which it has nothing in hand: they come when it has noticed.
        publish(&other, "orders", (20..40).map(|key| keyed(key, 1)).collect()).await;
        seen.see(&take(&mut first).await);
        for delivery in held {
            let refused = delivery.ack().await.expect_err("the connection is gone");
            assert_eq!(refused.kind(), StoreErrorKind::Fenced, "{refused}");
        }
        publish(&other, "orders", in_turns(20, 4..=4)).await;
        seen.until(100, vec![&mut first, &mut second]).await;
        assert_eq!(seen.repeated, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_confirmed_is_not_taken_for_published() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut member = other.consume(asks("orders")).await.expect("a member");
        publish(&lonely, "orders", in_turns(4, 1..=1)).await;
        proxy.refuse();
        proxy.cut();
        let published = lonely.publish(&topic("orders").into(), in_turns(4, 2..=2)).await;
        assert!(published.expect_err("there is no server").is_transient());
        proxy.pass();
        // It may not have noticed yet.
        while lonely.publish(&topic("orders").into(), in_turns(4, 2..=2)).await.is_err() {}
        Seen::default().until(8, vec![&mut member]).await;
    })
    .await;
}
