//! A connection that loses what the server takes for delivered.

use std::{collections::BTreeSet, sync::Arc};

use async_nats::jetstream::{self, consumer::Info};
use es_core::{Begin, Consumer, StoreErrorKind};
use es_testkit::servers::containing;
use futures_util::TryStreamExt;
use tokio::sync::Notify;

use crate::site::{Site, asks, message, next, publish, take};

/// Waits until the server has sent all up to this number to one of those who read.
async fn sent(site: &Site, last: u64, to: impl Fn(&Info) -> bool) {
    let client = async_nats::connect(&site.url).await.expect("a server");
    let stream = jetstream::new(client).get_stream(&site.prefix).await.expect("a stream");
    loop {
        let readers: Vec<Info> = stream.consumers().try_collect().await.expect("a list");
        let mut readers = readers.iter().filter(|reader| to(reader));
        if readers.any(|reader| reader.delivered.stream_sequence >= last) {
            return;
        }
    }
}

/// Nothing follows that could show the gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_on_the_way_comes_though_nothing_comes_after_it() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut member = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![message("before")]).await;
        assert_eq!(take(&mut member).await, "before");
        proxy.swallow();
        publish(&other, "orders", vec![message("lost")]).await;
        sent(site, 2, |_| true).await;
        proxy.pass();
        proxy.cut();
        assert_eq!(take(&mut member).await, "lost");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_there_before_is_not_taken_for_copied_when_some_of_it_was_lost() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        // So large that they are still on their way when the test hears that they are.
        let large = |at| {
            let mut message = message(at);
            message.payload = vec![0; 500_000].into();
            message
        };
        publish(&other, "payments", (0..20).map(large).collect()).await;
        let mut member = other.consume(asks("orders")).await.expect("a member");
        let asked = Arc::new(Notify::new());
        proxy.cut_before(1, {
            let (asked, asks) = (Arc::clone(&asked), containing("CONSUMER.MSG.NEXT"));
            move |said| {
                if asks(said) {
                    asked.notify_one();
                }
                false
            }
        });
        let late = || asks("payments").begin(Begin::Earliest);
        let loses = async {
            asked.notified().await;
            proxy.swallow();
            let is_copying = |reader: &Info| reader.config.filter_subject.ends_with("payments");
            sent(site, 20, is_copying).await;
            proxy.pass();
            proxy.cut();
        };
        let (refused, ()) = tokio::join!(lonely.consume(late()), loses);
        let refused = refused.err().expect("it is noticed");
        assert_eq!(refused.kind(), StoreErrorKind::Unavailable, "{refused}");
        let mut late = lonely.consume(late()).await.expect("a member");
        let mut seen = BTreeSet::new();
        while seen.len() < 20 {
            let delivery = tokio::select! {
                delivery = next(&mut member) => delivery,
                delivery = next(&mut late) => delivery,
            };
            seen.insert(delivery.message.id.clone());
            delivery.ack().await.expect("an answer that arrives");
        }
    })
    .await;
}
