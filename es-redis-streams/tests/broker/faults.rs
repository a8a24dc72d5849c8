//! A network and a server that fail.

use std::time::Duration;

use es_core::{Consumer, Deliveries, Publisher, StoreErrorKind, TopicPattern, World};
use es_redis_streams::{RedisBroker, RedisOptions};
use es_testkit::servers::{PrivateRedis, Proxy, containing};

use super::{
    SHORT, SOON, ack, asks, assert_in_order, broker, coming, consume, join, keyed, message, next,
    of_ada, options, orders, private, publish, raw, said, server, soon, take,
};

/// How long a request may take if nobody is to answer it.
const WITHIN: Duration = Duration::from_millis(200);

/// The lane of which a turn tells that something of it is handled.
const ADA: &str = "ada";

fn proxy(server: &PrivateRedis) -> Proxy {
    Proxy::new(([127, 0, 0, 1], server.port()).into()).expect("a port")
}

fn behind(proxy: &Proxy) -> RedisOptions {
    options(format!("redis://{}", proxy.address()))
}

/// A broker that soon gives up waiting, and with that is too hasty for a busy machine: it
/// takes part as soon as it is answered in time.
async fn impatient(options: RedisOptions) -> (RedisBroker, Deliveries) {
    let options = options.within(WITHIN);
    let broker = soon(async || options.clone().broker().await.ok()).await;
    let member = soon(async || broker.consume(asks()).await.ok()).await;
    (broker, member)
}

/// Lets this come about by the end of a lease: that of the one who takes part already and has
/// fallen silent, although something of it may still be on its way.
async fn bereft<T>(server: &PrivateRedis, comes: impl Future<Output = T>) -> T {
    const SESSIONS: &[u8] = b"{test}:group:billing:sessions";
    const BELL: &[u8] = b"{test}:group:billing:bell";
    let mut raw = raw(server).await;
    let silent: Vec<Vec<u8>> = said(&mut raw, &[b"ZRANGE", SESSIONS, b"0", b"-1"]).await;
    let [silent] = &silent[..] else { panic!("not one takes part, but {silent:?}") };
    let lapses = async {
        loop {
            said::<usize>(&mut raw, &[b"ZADD", SESSIONS, b"XX", b"0", silent]).await;
            said::<String>(&mut raw, &[b"XADD", BELL, b"MAXLEN", b"1", b"*", b"r", b"1"]).await;
            World::real().sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        come = comes => come,
        () = lapses => unreachable!("it never ends"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_silent_for_too_long_is_fenced_and_takes_part_again() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let (_silent, mut member) = impatient(behind(&proxy)).await;
    let other = broker(options(server.url())).await;
    publish(&other, (1..=3).map(of_ada).collect()).await;
    let held = next(&mut member).await;
    proxy.swallow();
    let (mut heir, again) = bereft(&server, async {
        let mut heir = join(&other).await;
        let again = next(&mut heir).await;
        (heir, again)
    })
    .await;
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
    assert_eq!(next(&mut member).await.message.id, "4");
}

/// It is fenced by what it says, not by what it hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_before_a_lease_was_over_cannot_be_settled_after_it() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let silent = broker(behind(&proxy)).await;
    let other = broker(options(server.url())).await;
    let mut member = join(&silent).await;
    publish(&other, vec![of_ada(1)]).await;
    let held = next(&mut member).await;
    proxy.swallow();
    let (heir, again) = bereft(&server, async {
        let mut heir = join(&other).await;
        let again = next(&mut heir).await;
        (heir, again)
    })
    .await;
    proxy.pass();
    proxy.cut();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_before_a_lease_was_over_is_not_handed_out_after_it() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let silent = broker(behind(&proxy)).await;
    let other = broker(options(server.url())).await;
    let mut raw = raw(&server).await;
    let mut member = join(&silent).await;
    publish(&other, (0..5).map(message).collect()).await;
    let held = next(&mut member).await;
    proxy.swallow();
    let heir = bereft(&server, async {
        let mut heir = join(&other).await;
        take(&mut heir, 5).await;
        heir
    })
    .await;
    proxy.pass();
    proxy.cut();
    soon(async || {
        let both: usize = said(&mut raw, &[b"ZCARD", b"{test}:group:billing:sessions"]).await;
        (both == 2).then_some(())
    })
    .await;
    drop(heir);
    publish(&other, vec![message("end")]).await;
    assert_eq!(take(&mut member, 1).await, ["end"]);
    assert_eq!(held.ack().await.expect_err("it is too late").kind(), StoreErrorKind::Fenced);
}

/// Handles what comes, whatever fails; what was not told comes again. This happens before each
/// answer, by how many came.
async fn handle(member: &mut Deliveries, count: usize, happens: impl Fn(usize)) -> Vec<String> {
    let (mut seen, mut done) = (Vec::new(), std::collections::BTreeSet::new());
    while done.len() < count {
        let delivery = coming(member).await.expect("failures are none of ours");
        let id = delivery.message.id.clone();
        seen.push(id.clone());
        happens(seen.len());
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
    // A lease that is not over, so that nothing else brings back what is lost.
    let ours = broker(behind(&proxy)).await;
    let theirs = broker(options(server.url())).await;
    let mut member = consume(&ours, asks().window(20)).await;
    publish(&theirs, keyed(10, 30)).await;
    let cuts = |came| {
        if came % 10 == 0 {
            proxy.cut();
        }
    };
    let seen = tokio::time::timeout(SOON, handle(&mut member, 300, cuts)).await;
    let seen = seen.expect("all is handled");
    assert!(proxy.cuts() > 5, "it was {} cuts", proxy.cuts());
    assert_in_order(&seen, 10, 30);
}

/// Nobody but the server knows what it was to hand out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_by_an_answer_that_is_lost_comes_nevertheless() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let ours = broker(behind(&proxy)).await;
    let theirs = broker(options(server.url())).await;
    let mut member = join(&ours).await;
    for n in 0..5 {
        publish(&theirs, vec![of_ada(format!("first {n}"))]).await;
        let held = next(&mut member).await;
        publish(&theirs, vec![of_ada(n), message("other").with_key("bob")]).await;
        let other = next(&mut member).await;
        proxy.cut_after(1, containing(ADA));
        assert!(held.ack().await.expect_err("the answer is lost").is_transient());
        assert_eq!(take(&mut member, 1).await, [n.to_string()]);
        ack(other).await;
    }
    assert_eq!(proxy.cuts(), 5);
}

/// The first turn arrives after the second one, by which the server has heard that the first
/// is not believed in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrives_too_late_is_not_done() {
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let (ours, mut raw) = (broker(behind(&proxy)).await, raw(&server).await);
    let theirs = broker(options(server.url())).await;
    let mut member = join(&ours).await;
    publish(&theirs, vec![of_ada(1), of_ada(2)]).await;
    let held = next(&mut member).await;
    proxy.cut_and_hold(1, containing(ADA));
    assert!(held.ack().await.expect_err("it is not there yet").is_transient());
    let again = next(&mut member).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    // Nothing can be seen of what is not done, but that it was asked for.
    said::<String>(&mut raw, &[b"CONFIG", b"RESETSTAT"]).await;
    proxy.release();
    soon(async || {
        let done: String = said(&mut raw, &[b"INFO", b"commandstats"]).await;
        done.contains("evalsha").then_some(())
    })
    .await;
    assert_eq!(ack(again).await, "1");
    assert_eq!(take(&mut member, 1).await, ["2"]);
}

/// What does not pass by itself is told, and when it has passed all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_only_be_read_is_told_of_and_used_again() {
    let Some(server) = server() else { return };
    let ours = broker(options(server.url()).lease(SHORT)).await;
    let mut raw = raw(&server).await;
    let mut member = join(&ours).await;
    said::<String>(&mut raw, &[b"REPLICAOF", b"127.0.0.1", b"1"]).await;
    let told = coming(&mut member).await.expect_err("nothing can be taken");
    assert_eq!(told.kind(), StoreErrorKind::ReadOnly, "{told}");
    said::<String>(&mut raw, &[b"REPLICAOF", b"NO", b"ONE"]).await;
    publish(&ours, vec![of_ada(1)]).await;
    let delivery = soon(async || coming(&mut member).await.ok()).await;
    assert_eq!(ack(delivery).await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_whose_runtime_has_ended_are_told_so_and_others_go_on() {
    let Some(server) = server() else { return };
    let url = server.url();
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let ours = runtime.block_on(broker(options(url).lease(SHORT)));
        let mut member = runtime.block_on(join(&ours));
        runtime.block_on(publish(&ours, vec![of_ada(1), of_ada(2)]));
        let held = runtime.block_on(next(&mut member));
        runtime.shutdown_background();
        (ours, member, held)
    });
    let (ours, mut member, held) = elsewhere.join().expect("no panic");
    let end = coming(&mut member).await.expect_err("nobody is there to ask");
    assert_eq!(end.kind(), StoreErrorKind::Closed);
    assert_eq!(held.ack().await.expect_err("nobody can be told").kind(), StoreErrorKind::Closed);
    // The connection is gone with the runtime, and the next one is made here.
    let mut anew = soon(async || ours.consume(asks()).await.ok()).await;
    assert_eq!(take(&mut anew, 2).await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_in_between_has_lost_nothing() {
    let keeps = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(mut server) = private(PrivateRedis::start_with(&keeps)) else { return };
    let ours = broker(options(server.url()).within(SOON)).await;
    let mut member = consume(&ours, asks().window(20)).await;
    publish(&ours, keyed(5, 40)).await;
    let mut seen = handle(&mut member, 70, |_| {}).await;
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

/// Whoever comes back first makes the group anew, and knows nothing of what others listen to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_another_process_has_made_anew_listens_as_before() {
    const TURNS: &[u8] = b"{test}:group:billing:turns";
    let Some(server) = server() else { return };
    let proxy = proxy(&server);
    let (_silent, member_of_silent) = impatient(behind(&proxy).lease(SHORT)).await;
    // It lives, whoever stands still for a moment, and soon looks whether the group is there.
    let other = broker(options(server.url()).lease(Duration::from_secs(3))).await;
    let mut raw = raw(&server).await;
    let audits = TopicPattern::new("audit.*").expect("a pattern");
    let mut elsewhere = asks();
    elsewhere.patterns = vec![audits];
    let mut member = consume(&other, elsewhere).await;
    proxy.swallow();
    said::<String>(&mut raw, &[b"FLUSHALL"]).await;
    soon(async || (said::<usize>(&mut raw, &[b"HLEN", TURNS]).await == 1).then_some(())).await;
    proxy.pass();
    let listens = soon(async || {
        let listens: String = said(&mut raw, &[b"HGET", b"{test}:groups", b"billing"]).await;
        listens.contains(' ').then_some(listens)
    });
    assert_eq!(listens.await, "audit.* orders");
    publish(&other, vec![of_ada(1)]).await;
    drop(member_of_silent);
    assert_eq!(take(&mut member, 1).await, ["1"]);
}

/// As after a failover: numbers that were given are given once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_before_the_server_lost_its_latest_writes_is_not_settled() {
    const TURNS: &[u8] = b"{test}:group:billing:turns";
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url())).await, raw(&server).await);
    let mut member = join(&one).await;
    publish(&one, vec![of_ada(1)]).await;
    let held = next(&mut member).await;
    let session: Vec<Vec<u8>> = said(&mut raw, &[b"HKEYS", TURNS]).await;
    said::<usize>(&mut raw, &[b"HSET", TURNS, &session[0], b"0"]).await;
    assert_eq!(held.ack().await.expect_err("it may be another").kind(), StoreErrorKind::Fenced);
    let again = next(&mut member).await;
    assert_eq!((again.message.id.as_str(), again.attempt), ("1", 2));
    ack(again).await;
}

/// What it held is gone, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_empty_is_used_again() {
    let Some(mut server) = server() else { return };
    let ours = broker(options(server.url()).lease(SHORT).within(SOON)).await;
    let mut member = join(&ours).await;
    publish(&ours, vec![of_ada(1)]).await;
    let held = next(&mut member).await;
    server.kill().expect("it can be killed");
    server.restart().expect("it comes up again");
    assert!(held.ack().await.is_err(), "nobody knows of it");
    // Until the group is there again nobody listens.
    let heard = async {
        loop {
            let sent = ours.publish(&orders(), vec![of_ada(2)]).await;
            drop(sent);
            World::real().sleep(Duration::from_millis(20)).await;
        }
    };
    let delivery = tokio::select! {
        delivery = next(&mut member) => delivery,
        () = heard => unreachable!("it never ends"),
    };
    assert_eq!(ack(delivery).await, "2");
    soon(async || ours.publish(&orders(), vec![message("end")]).await.ok()).await;
    while take(&mut member, 1).await != ["end"] {}
}
