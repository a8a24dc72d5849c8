//! Patterns that come later, and what was there before.

use std::collections::BTreeSet;

use es_core::{Begin, Consumer};
use es_nats::NatsBroker;
use tokio::{sync::watch, task::JoinSet};

use crate::site::{Site, asks, message, next, publish, take};

/// Publishes one after the other until nobody listens to how many there are.
async fn publish_on(broker: NatsBroker, topic: String, published: watch::Sender<usize>) -> usize {
    while !published.is_closed() {
        let at = *published.borrow();
        publish(&broker, &topic, vec![message(format!("{topic}/{at}"))]).await;
        published.send_modify(|published| *published += 1);
    }
    *published.borrow()
}

/// What is published between the copy of what was there and the notice is in neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_while_a_pattern_is_new_is_not_passed_by() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("before")).await.expect("a member");
        for at in 0..10 {
            let topic = format!("topic.n{at}");
            let (published, mut told) = watch::channel(0);
            let mut publishing = JoinSet::new();
            publishing.spawn(publish_on(site.broker().await, topic.clone(), published));
            told.wait_for(|published| *published >= 100).await.expect("somebody who publishes");
            let late = asks(&topic).begin(Begin::Earliest);
            let mut second = two.consume(late).await.expect("a member");
            drop(told);
            let all = publishing.join_next().await.expect("a task").expect("it has published");
            let mut seen = BTreeSet::new();
            while seen.len() < all {
                let delivery = tokio::select! {
                    delivery = next(&mut first) => delivery,
                    delivery = next(&mut second) => delivery,
                };
                if delivery.message.id.starts_with(&topic) {
                    seen.insert(delivery.message.id.clone());
                }
                delivery.ack().await.expect("an answer that arrives");
            }
        }
    })
    .await;
}

/// The other process reads for the group, and must not pass by what is new to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_counts_from_the_moment_on_that_anybody_has_asked_for_it() {
    Site::run(async |site| {
        let (one, two) = (site.broker().await, site.broker().await);
        let mut first = one.consume(asks("before")).await.expect("a member");
        publish(&one, "before", vec![message("before")]).await;
        assert_eq!(take(&mut first).await, "before");
        for at in 0..20 {
            let topic = format!("topic.n{at}");
            let mut second = two.consume(asks(&topic)).await.expect("a member");
            publish(&two, &topic, vec![message(at)]).await;
            let delivery = tokio::select! {
                delivery = next(&mut first) => delivery,
                delivery = next(&mut second) => delivery,
            };
            assert_eq!(delivery.message.id, at.to_string());
            delivery.ack().await.expect("an answer that arrives");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_pattern_of_an_old_group_may_begin_with_the_earliest() {
    Site::run(async |site| {
        let broker = site.broker().await;
        let mut member = broker.consume(asks("order.*")).await.expect("a member");
        publish(&broker, "order.placed", vec![message("order")]).await;
        publish(&broker, "payment.failed", (0..3).map(message).collect()).await;
        assert_eq!(take(&mut member).await, "order");
        let late = asks("*").begin(Begin::Earliest);
        let _more = broker.consume(late).await.expect("a member");
        publish(&broker, "payment.failed", vec![message(3)]).await;
        for at in 0..4 {
            let delivery = next(&mut member).await;
            assert_eq!(delivery.message.id, at.to_string());
            assert_eq!(delivery.to.to_string(), "topic payment.failed");
            delivery.ack().await.expect("an answer that arrives");
        }
    })
    .await;
}
