//! Processes that die without a word.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use es_core::{Consumer, DeadLetterQuery, DeadLetters, Fault, FaultKind, StoreErrorKind};
use es_nats::{NatsBroker, NatsOptions};
use es_testkit::servers::containing;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::join_all};
use tokio::sync::mpsc;

use crate::site::{
    HELD, LEASE, SOON, Seen, Site, asks, group, hold, in_turns, keyed, message, next, publish, take,
};

/// Tells the other program of this file that it is one, and at which prefix.
const PREFIX: &str = "GESTA_TEST_NATS_PREFIX";
const URL: &str = "GESTA_TEST_NATS_URL";

/// Not a test, but the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_that_is_killed() {
    let (Ok(prefix), Ok(url)) = (std::env::var(PREFIX), std::env::var(URL)) else { return };
    let broker = NatsOptions::new(url).prefix(prefix).lease(LEASE).connect().await;
    let broker = broker.expect("a server");
    let mut member = broker.consume(asks("orders")).await.expect("a member");
    loop {
        let delivery = next(&mut member).await;
        let mut said = std::io::stdout();
        writeln!(said, "\nhandled {}", delivery.message.id).expect("somebody who listens");
        said.flush().expect("somebody who listens");
        delivery.ack().await.expect("an answer that arrives");
    }
}

/// A child, and what it says that it handled.
fn child(site: &Site) -> (Child, mpsc::Receiver<String>) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "dying::the_member_that_is_killed", "--nocapture"]);
    child.env(PREFIX, &site.prefix).env(URL, &site.url);
    let mut child = child.stdout(Stdio::piped()).spawn().expect("a process");
    let said = BufReader::new(child.stdout.take().expect("a pipe"));
    let (tell, told) = mpsc::channel(10_000);
    thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            if let Some(id) = line.strip_prefix("handled ") {
                tell.blocking_send(id.to_owned()).expect("somebody who listens");
            }
        }
    });
    (child, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_is_taken_over_without_loss_and_in_order() {
    Site::run(async |site| {
        let broker = site.broker().await;
        // So that it begins before the child.
        drop(broker.consume(asks("orders")).await.expect("a member"));
        let (mut child, mut told) = child(site);
        publish(&broker, "orders", in_turns(30, 1..=200)).await;
        let mut seen = Seen::default();
        for _ in 0..500 {
            seen.see(&told.recv().await.expect("it works"));
        }
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be killed");
        // What it had handled before.
        while let Some(id) = told.recv().await {
            seen.see(&id);
        }
        seen.until(6_000, vec![&mut member]).await;
    })
    .await;
}

/// It lives, but nobody hears of it: what it has is given to others, and it must know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_cut_off_hands_out_nothing_that_others_have() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", in_turns(40, 1..=3)).await;
        let mut held = hold(&mut first, 40).await;
        let mut seen = Seen::default();
        held.iter().for_each(|delivery| seen.see(&delivery.message.id));
        proxy.swallow();
        let mut second = other.consume(asks("orders")).await.expect("a member");
        seen.until(120, vec![&mut second]).await;
        // What it settles now is written by nobody, also later.
        for delivery in held.drain(..20) {
            let _ = delivery.ack().await;
        }
        drop(held);
        assert!(first.next().now_or_never().is_none(), "it does not know whether it lives");
        proxy.pass();
        proxy.cut();
        publish(&other, "orders", in_turns(40, 4..=4)).await;
        while seen.count < 160 {
            let delivery = tokio::select! {
                delivery = next(&mut first) => delivery,
                delivery = next(&mut second) => delivery,
            };
            seen.see(&delivery.message.id);
            // What it was handed just before it was taken over may be settled by nobody.
            let _ = delivery.ack().await;
        }
        assert_eq!(seen.repeated, 40, "what was held when it was cut off");
    })
    .await;
}

/// Whoever had its share meanwhile has left again: nobody holds what it still has waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_back_does_not_go_on_with_what_it_had() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", in_turns(40, 1..=3)).await;
        let mut seen = Seen::default();
        let held = next(&mut first).await;
        seen.see(&held.message.id);
        proxy.swallow();
        let mut second = other.consume(asks("orders")).await.expect("a member");
        seen.until(120, vec![&mut second]).await;
        drop((held, second));
        proxy.pass();
        proxy.cut();
        publish(&other, "orders", in_turns(40, 4..=4)).await;
        seen.until(160, vec![&mut first]).await;
        assert_eq!(seen.repeated, 1, "what was held when it was cut off");
    })
    .await;
}

/// What it could not handle, another one could.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_cut_off_keeps_nothing_apart_that_others_have_handled() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![keyed(0, 1)]).await;
        let held = next(&mut first).await;
        proxy.swallow();
        let mut second = other.consume(asks("orders")).await.expect("a member");
        assert_eq!(take(&mut second).await, "0/1");
        proxy.pass();
        proxy.cut();
        let refused = held.dead_letter(fault()).await.expect_err("another one has it");
        assert_eq!(refused.kind(), StoreErrorKind::Fenced, "{refused}");
        assert_eq!(letters(&other).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_nobody_confirmed_goes_when_its_message_is_handled() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut member = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![keyed(0, 1)]).await;
        let held = next(&mut member).await;
        proxy.cut_after(1, containing(".s.d."));
        held.dead_letter(fault()).await.expect_err("nobody answers");
        assert_eq!(letters(&other).await, 1);
        assert_eq!(take(&mut member).await, "0/1");
        assert_eq!(letters(&other).await, 0);
    })
    .await;
}

/// It reads all dead letters before it begins, to know which keys stand still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_needs_long_to_begin_is_not_taken_for_dead() {
    const LETTERS: usize = 600;
    Site::run_for(HELD, async |site| {
        let ((proxy, slow), other) = (site.behind_a_proxy().await, site.broker().await);
        let asks = || asks("orders").parking();
        let mut first = other.consume(asks()).await.expect("a member");
        publish(&other, "orders", (0..LETTERS).map(message).collect()).await;
        let held = hold(&mut first, LETTERS).await;
        let buried = join_all(held.into_iter().map(|delivery| delivery.dead_letter(fault())));
        assert!(buried.await.into_iter().all(|buried| buried.is_ok()));
        proxy.delay(Duration::from_millis(40));
        let mut second = slow.consume(asks()).await.expect("a member");
        for round in 1.. {
            publish(&other, "orders", in_turns(40, round..=round)).await;
            for _ in 0..40 {
                tokio::select! {
                    delivery = next(&mut first) => delivery.ack().await.expect("an answer"),
                    _ = next(&mut second) => return,
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_whose_runtime_has_ended_are_told_so_and_others_go_on() {
    Site::run(async |site| {
        let broker = site.broker().await;
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let joined = runtime.spawn({
            let broker = broker.clone();
            async move { broker.consume(asks("orders")).await.expect("a member") }
        });
        let mut member = joined.await.expect("a member");
        publish(&broker, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let held = next(&mut member).await;
        runtime.shutdown_background();
        let told = tokio::time::timeout(SOON, member.try_next()).await.expect("in time");
        assert_eq!(told.expect_err("nobody works").kind(), StoreErrorKind::Closed);
        let lost = held.ack().await.expect_err("nobody writes it");
        assert_eq!(lost.kind(), StoreErrorKind::Closed);
        let mut anew = broker.consume(asks("orders")).await.expect("a member");
        assert_eq!([take(&mut anew).await, take(&mut anew).await], ["0/1", "0/2"]);
    })
    .await;
}

fn fault() -> Fault {
    Fault::new(FaultKind::Permanent, "no such order")
}

/// How many dead letters there are.
async fn letters(broker: &NatsBroker) -> usize {
    let letters = broker.dead_letters(DeadLetterQuery::of(group())).await;
    letters.expect("a list").len()
}
