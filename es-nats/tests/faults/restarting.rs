//! A server that goes away and comes back.

use es_core::{Consumer, Publisher, World};
use es_nats::NatsBroker;
use es_testkit::{
    not_run,
    servers::{PrivateNats, ServerError},
};
use futures_util::{StreamExt, TryStreamExt};
use tokio::task::JoinSet;

use crate::site::{HELD, LEASE, SOON, Seen, Site, asks, hold, in_turns, topic};

fn server() -> Option<PrivateNats> {
    match PrivateNats::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("es-nats on a private server: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

/// Publishes one after the other, each until the server has it.
async fn publish_all(broker: NatsBroker, numbers: std::ops::RangeInclusive<usize>) {
    for message in in_turns(4, numbers) {
        // It waits for the server by itself, as long as that is away.
        while broker.publish(&topic("orders").into(), vec![message.clone()]).await.is_err() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_between_loses_nothing_and_turns_nothing_round() {
    let Some(mut server) = server() else { return };
    let broker = Site::on(&server, LEASE).broker().await;
    let mut member = broker.consume(asks("orders")).await.expect("a member");
    let (mut seen, mut tasks) = (Seen::default(), JoinSet::new());
    tasks.spawn(publish_all(broker.clone(), 1..=500));
    let mut kills = [100, 700, 1_300].into_iter().peekable();
    let all = async {
        while seen.count < 2_000 {
            // What is acknowledged while nobody listens may come again, and does not end it.
            let delivery = member.try_next().await.expect("no end").expect("no end");
            seen.see(&delivery.message.id);
            let _ = delivery.ack().await;
            if kills.next_if(|kill| *kill <= seen.count).is_some() {
                server.kill().expect("it can be killed");
                server.restart().expect("it comes up again");
            }
        }
    };
    tokio::time::timeout(2 * SOON, all).await.expect("it goes on");
    while let Some(ended) = tasks.join_next().await {
        ended.expect("all is published");
    }
}

/// The server is away for longer than the lease, so that no process can say that it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_for_long_takes_nothing_away_from_anybody() {
    let Some(mut server) = server() else { return };
    let site = Site::on(&server, HELD);
    let (one, two) = (site.broker().await, site.broker().await);
    let mut first = one.consume(asks("orders")).await.expect("a member");
    publish_all(one.clone(), 1..=1).await;
    let held = hold(&mut first, 4).await;
    let mut second = two.consume(asks("orders")).await.expect("a member");
    server.kill().expect("it can be killed");
    World::real().sleep(HELD * 11 / 10).await;
    server.restart().expect("it comes up again");
    publish_all(two.clone(), 2..=2).await;
    tokio::select! {
        taken = second.next() => panic!("all keys are in hand, but {taken:?}"),
        () = site.both_live_on() => {}
    }
    let mut seen = Seen::default();
    seen.ack_all(held).await;
    seen.until(8, vec![&mut first, &mut second]).await;
    assert_eq!(seen.repeated, 0);
}
