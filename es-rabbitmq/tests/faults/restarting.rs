//! A server that goes away and comes back.

use es_core::{Consumer, DeadLetterQuery, DeadLetters, Fault, FaultKind, Publisher, World};
use es_rabbitmq::RabbitBroker;
use es_testkit::{
    not_run,
    servers::{PrivateRabbit, ServerError},
};
use futures_util::TryStreamExt;
use tokio::task::JoinSet;

use crate::site::{SOON, Seen, Site, asks, group, in_turns, keyed, next, publish, topic};

/// How long a publisher waits until it tries again.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// After how long the server has written down for sure that there is a queue: one that is
/// younger when the server is killed may never have a leader again.
const WRITTEN_DOWN: std::time::Duration = std::time::Duration::from_secs(8);

fn server() -> Option<PrivateRabbit> {
    match PrivateRabbit::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("es-rabbitmq on a private server: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

/// Publishes one after the other, each until the server has it.
async fn publish_all(broker: RabbitBroker, numbers: std::ops::RangeInclusive<usize>) {
    for message in in_turns(4, numbers) {
        while broker.publish(&topic("orders").into(), vec![message.clone()]).await.is_err() {
            World::real().sleep(PAUSE).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_in_between_loses_nothing_and_turns_nothing_round() {
    let Some(mut server) = server() else { return };
    let broker = Site::on(&server).broker().await;
    let mut member = broker.consume(asks("orders")).await.expect("a member");
    publish(&broker, "orders", vec![keyed(100, 1)]).await;
    let fault = Fault::new(FaultKind::Permanent, "no such order");
    next(&mut member).await.dead_letter(fault).await.expect("an answer that arrives");
    World::real().sleep(WRITTEN_DOWN).await;
    let (mut seen, mut tasks) = (Seen::default(), JoinSet::new());
    tasks.spawn(publish_all(broker.clone(), 1..=300));
    let mut kills = [100, 700].into_iter().peekable();
    while seen.count < 1_200 {
        // What is acknowledged while nobody listens may come again, and does not end it.
        let next = tokio::time::timeout(2 * SOON, member.try_next()).await;
        let delivery = next.expect("it goes on").expect("no end").expect("no end");
        seen.see(&delivery.message.id);
        let _ = delivery.ack().await;
        if kills.next_if(|kill| *kill <= seen.count).is_some() {
            tokio::task::block_in_place(|| {
                server.kill().expect("it can be killed");
                server.restart().expect("it comes up again");
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("all is published");
    }
    let letters = broker.dead_letters(DeadLetterQuery::of(group())).await.expect("a list");
    assert_eq!(letters[0].message.id, "100/1");
}
