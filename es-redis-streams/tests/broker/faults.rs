//! A network and a server that fail.

use std::time::Duration;

use es_core::{Deliveries, StoreErrorKind, World};
use es_redis_streams::RedisBroker;
use es_testkit::servers::{PrivateRedis, Proxy};

use super::{
    SHORT, SOON, ack, asks, assert_in_order, broker, coming, consume, join, keyed, message, next,
    of_ada, options, orders, private, publish, server, soon, take,
};

/// How long a request of these tests may take.
const WITHIN: Duration = Duration::from_millis(200);

fn proxy(server: &PrivateRedis) -> Proxy {
    Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port")
}

async fn behind(proxy: &Proxy) -> RedisBroker {
    let url = format!("redis://{}", proxy.address());
    broker(options(url).lease(SHORT).within(WITHIN)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_silent_for_too_long_is_fenced_and_takes_part_again() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let silent = behind(&proxy).await;
    let other = broker(options(server.url()).lease(SHORT)).await;
    let mut member = join(&silent).await;
    publish(&other, (1..=3).map(of_ada).collect()).await;
    let held = next(&mut member).await;
    proxy.swallow();
    let mut heir = join(&other).await;
    let again = next(&mut heir).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    ack(again).await;
    let second = next(&mut heir).await;
    proxy.pass();
    let late = held.ack().await.expect_err("others were given it");
    assert!(
        matches!(
            late.kind(),
            StoreErrorKind::Fenced | StoreErrorKind::Unavailable | StoreErrorKind::Unknown
        ),
        "{late}"
    );
    assert_eq!(ack(second).await, "2");
    assert_eq!(take(&mut heir, 1).await, ["3"]);
    drop(heir);
    publish(&other, vec![of_ada(4)]).await;
    assert_eq!(take(&mut member, 1).await, ["4"]);
}

/// It is fenced by what it says, not by what it hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_before_a_lease_was_over_cannot_be_settled_after_it() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let silent = behind(&proxy).await;
    let other = broker(options(server.url()).lease(SHORT)).await;
    let mut member = join(&silent).await;
    publish(&other, vec![of_ada(1)]).await;
    let held = next(&mut member).await;
    proxy.swallow();
    let mut heir = join(&other).await;
    let again = next(&mut heir).await;
    proxy.pass();
    // Its own next message tells that it is there again.
    publish(&other, vec![message("a"), message("b")]).await;
    drop(heir);
    take(&mut member, 2).await;
    let late = held.ack().await.expect_err("others were given it");
    assert_eq!(late.kind(), StoreErrorKind::Fenced);
    publish(&other, vec![of_ada(2), message("end")]).await;
    assert_eq!(take(&mut member, 1).await, ["end"], "1 is still in hand");
    ack(again).await;
    assert_eq!(take(&mut member, 1).await, ["2"]);
}

/// Handles what comes, whatever fails; what was not told comes again.
async fn handle(member: &mut Deliveries, count: usize) -> Vec<String> {
    let (mut seen, mut done) = (Vec::new(), std::collections::BTreeSet::new());
    while done.len() < count {
        let delivery = coming(member).await.expect("failures are none of ours");
        let id = delivery.message.id.clone();
        seen.push(id.clone());
        match delivery.ack().await {
            Ok(()) => drop(done.insert(id)),
            // It may be done, and then it does not come again.
            Err(error) if error.is_transient() => drop(done.insert(id)),
            Err(error) => panic!("{error}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_break_lose_nothing_and_keep_the_order() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let url = format!("redis://{}", proxy.address());
    // A lease that is not over, so that nothing else brings back what is lost.
    let ours = broker(options(url).within(WITHIN)).await;
    let theirs = broker(options(server.url())).await;
    let mut member = consume(&ours, asks().window(20)).await;
    publish(&theirs, keyed(10, 30)).await;
    let breaks = async {
        loop {
            World::real().sleep(Duration::from_millis(15)).await;
            proxy.cut();
        }
    };
    let seen = tokio::select! {
        seen = tokio::time::timeout(SOON, handle(&mut member, 300)) => seen.expect("all is handled"),
        () = breaks => unreachable!("it never ends"),
    };
    assert!(proxy.cuts() > 5, "it was {} cuts", proxy.cuts());
    assert_in_order(&seen, 10, 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_in_between_has_lost_nothing() {
    let keeps = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = private(PrivateRedis::start_with(&keeps)) else { return };
    let ours = broker(options(server.url()).within(WITHIN)).await;
    let mut member = consume(&ours, asks().window(20)).await;
    publish(&ours, keyed(5, 40)).await;
    let mut seen = handle(&mut member, 70).await;
    server.kill().expect("it can be killed");
    server.restart().expect("it comes up again");
    let mut rest = std::collections::BTreeSet::new();
    while seen.iter().chain(&rest).collect::<std::collections::BTreeSet<_>>().len() < 200 {
        let delivery = coming(&mut member).await.expect("failures are none of ours");
        seen.push(delivery.message.id.clone());
        rest.insert(delivery.message.id.clone());
        let _ = delivery.ack().await;
    }
    assert_in_order(&seen, 5, 40);
}

/// What it held is gone, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_used_again() {
    let Some(mut server) = server() else { return };
    let ours = broker(options(server.url()).lease(SHORT).within(WITHIN)).await;
    let mut member = join(&ours).await;
    publish(&ours, vec![of_ada(1)]).await;
    let held = next(&mut member).await;
    server.kill().expect("it can be killed");
    server.restart().expect("it comes up again");
    assert!(held.ack().await.is_err(), "nobody knows of it");
    // Until the group is there again nobody listens.
    let heard = async {
        loop {
            let sent = es_core::Publisher::publish(&ours, &orders(), vec![of_ada(2)]).await;
            drop(sent);
            World::real().sleep(Duration::from_millis(20)).await;
        }
    };
    let delivery = tokio::select! {
        delivery = next(&mut member) => delivery,
        () = heard => unreachable!("it never ends"),
    };
    assert_eq!(ack(delivery).await, "2");
    soon(async || es_core::Publisher::publish(&ours, &orders(), vec![message("end")]).await.ok())
        .await;
    while take(&mut member, 1).await != ["end"] {}
}
