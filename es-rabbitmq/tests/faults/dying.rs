//! Processes that die without a word.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
};

use es_core::{Consumer, DeadLetterQuery, DeadLetters, Fault, FaultKind};
use es_testkit::servers::containing;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::site::{Seen, Site, asks, group, hold, in_turns, keyed, next, publish, take};

/// Tells the other program of this file that it is one, and at which prefix.
const PREFIX: &str = "GESTA_TEST_RABBITMQ_PREFIX";
const URL: &str = "GESTA_TEST_RABBITMQ_URL";

/// Not a test, but the process that is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_member_that_is_killed() {
    let (Ok(prefix), Ok(url)) = (std::env::var(PREFIX), std::env::var(URL)) else { return };
    let broker = Site { prefix, url }.broker().await;
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
        let mut seen = Seen::default();
        publish(&broker, "orders", in_turns(30, 1..=200)).await;
        // Each has only a part of what the one before has left.
        for _ in 0..3 {
            let (mut child, mut told) = child(site);
            let enough = seen.count + 400;
            while seen.count < enough {
                seen.see(&told.recv().await.expect("it works"));
            }
            child.kill().expect("it can be killed");
            child.wait().expect("it can be killed");
            // What it had handled before.
            while let Some(id) = told.recv().await {
                seen.see(&id);
            }
        }
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        seen.until(6_000, vec![&mut member]).await;
    })
    .await;
}

/// Whoever takes over has at first more in hand than it hands out: nothing gets in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_in_parts_is_put_in_order() {
    Site::run(async |site| {
        let server = lapin::Connection::connect(&site.url, Default::default()).await;
        let server = server.expect("a server");
        let broker = site.broker().await;
        drop(broker.consume(asks("orders")).await.expect("a member"));
        publish(&broker, "orders", in_turns(1, 1..=60)).await;
        // Those who take only a part, and go with it; the queue with the key has all.
        for part in [40, 7, 11, 50, 3] {
            for partition in 0..crate::site::PARTITIONS {
                let channel = server.create_channel().await.expect("a channel");
                let queue = format!("{}.g.{partition}.billing", site.prefix);
                channel.basic_qos(part, Default::default()).await.expect("a bound");
                let options = Default::default();
                let consumer =
                    channel.basic_consume(queue.into(), "".into(), options, Default::default());
                let mut consumer = consumer.await.expect("a consumer");
                let some = consumer.by_ref().take(part.into()).collect::<Vec<_>>();
                let within = std::time::Duration::from_millis(300);
                let _ = tokio::time::timeout(within, some).await;
                channel.close(200, "".into()).await.expect("it is closed");
            }
        }
        let mut member = broker.consume(asks("orders")).await.expect("a member");
        let mut seen = Seen::default();
        seen.until(60, vec![&mut member]).await;
        assert_eq!(seen.repeated, 0);
    })
    .await;
}

/// It says that a message is dead, and goes before the message has left the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_was_written_and_has_not_left_is_not_handed_out_again() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let held = next(&mut first).await;
        // Its acknowledgement, or that of the record, which comes before it.
        let (is_record, mut is_written) = (containing("no such order"), false);
        proxy.cut_before(1, move |said| {
            is_written |= is_record(said);
            is_written && is_ack(said)
        });
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        let _ = held.dead_letter(fault).await;
        drop(first);
        let mut second = other.consume(asks("orders")).await.expect("a member");
        assert_eq!(take(&mut second).await, "0/2");
        assert!(proxy.cuts() > 0, "nothing was cut");
        let letters = other.dead_letters(DeadLetterQuery::of(group())).await.expect("a list");
        let ids: Vec<_> = letters.iter().map(|letter| letter.message.id.as_str()).collect();
        assert_eq!(ids, ["0/1"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_was_not_written_comes_again() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![keyed(0, 1), keyed(0, 2)]).await;
        let held = next(&mut first).await;
        proxy.cut_before(1, containing("no such order"));
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        held.dead_letter(fault).await.expect_err("the record is lost");
        assert_eq!(proxy.cuts(), 1);
        assert_eq!([take(&mut first).await, take(&mut first).await], ["0/1", "0/2"]);
    })
    .await;
}

/// A frame with a method, of class 60 and number 80.
fn is_ack(said: &[u8]) -> bool {
    const ACK: &[u8] = &[0, 0, 0, 13, 0, 60, 0, 80];
    said.windows(ACK.len()).any(|part| part == ACK)
}

/// What was given back and not handled is with the group, whoever dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_survives_whoever_has_it() {
    Site::run(async |site| {
        let ((proxy, lonely), other) = (site.behind_a_proxy().await, site.broker().await);
        let mut first = lonely.consume(asks("orders")).await.expect("a member");
        publish(&other, "orders", vec![keyed(0, 1)]).await;
        let fault = Fault::new(FaultKind::Permanent, "no such order");
        next(&mut first).await.dead_letter(fault).await.expect("an answer that arrives");
        let letters = other.dead_letters(DeadLetterQuery::of(group())).await.expect("a list");
        assert!(other.give_back(&group(), letters[0].id, None).await.expect("it is given back"));
        let held = hold(&mut first, 1).await;
        proxy.refuse();
        proxy.cut();
        let mut second = other.consume(asks("orders")).await.expect("a member");
        assert_eq!(take(&mut second).await, "0/1");
        drop((held, first));
    })
    .await;
}
