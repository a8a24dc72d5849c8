//! Processes that die without a word.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    thread,
};

use es_core::Consumer;
use es_nats::NatsOptions;
use tokio::sync::mpsc;

use crate::site::{LEASE, Seen, Site, asks, in_turns, next, publish};

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
        while seen.count < 6_000 {
            let delivery = next(&mut member).await;
            seen.see(&delivery.message.id);
            delivery.ack().await.expect("an answer that arrives");
        }
    })
    .await;
}
