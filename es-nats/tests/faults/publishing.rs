//! Connections that break while messages are on their way.

use es_core::{Consumer, Publisher};
use es_testkit::servers::containing;

use crate::site::{Seen, Site, asks, keyed, take, topic};

/// More than the client writes at once.
const MESSAGES: usize = 500;

/// What waits in the client when the connection breaks is sent over the next one, also if
/// what stood before it was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_again_after_a_connection_broke_keeps_the_order_of_its_key() {
    Site::run(async |site| {
        let ((proxy, ours), theirs) = (site.behind_a_proxy().await, site.broker().await);
        let mut member = theirs.consume(asks("orders")).await.expect("a member");
        let messages: Vec<_> = (1..=MESSAGES).map(|number| keyed(0, number)).collect();
        proxy.cut_before(1, containing("customer-0"));
        while ours.publish(&topic("orders").into(), messages.clone()).await.is_err() {}
        assert_eq!(proxy.cuts(), 1);
        let mut seen = Seen::default();
        while seen.count < MESSAGES {
            seen.see(&take(&mut member).await);
        }
    })
    .await;
}
