//! The same runs with a bug put in: the check has something to tell.

use es_testkit::mutants::BrokerBug;

use crate::{kills::kills, place::Place, restarts, server::Server};

/// Kills of a run.
const KILLS: u64 = 9;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_messages_that_are_acknowledged_before_they_are_handled() {
    let Some(server) = Server::redis() else { return };
    let place = Place::new(server, &["ack-first"], Some(BrokerBug::AckBeforeHandling)).await;
    let (_, verdict) = kills(&place, KILLS).await;
    assert!(!verdict.lost.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_a_broker_that_keeps_no_order() {
    let Some(server) = Server::nats() else { return };
    let place = Place::new(server, &["no-order"], Some(BrokerBug::OrderIgnored)).await;
    let (_, verdict) = kills(&place, KILLS).await;
    assert!(!verdict.turned.is_empty(), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_handlers_that_ask_no_inbox() {
    let Some(server) = Server::redis() else { return };
    let place = Place::new(server, &["no-inbox"], None).await;
    let (_, verdict) = kills(&place, KILLS).await;
    assert!(!verdict.doubled.is_empty(), "{verdict}");
    assert!(verdict.lost.is_empty(), "{verdict}");
}

/// What it had confirmed is in no file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_notices_a_server_that_forgets_when_it_is_killed() {
    let Some(server) = Server::redis() else { return };
    let verdict = restarts::restarts(server, 1).await;
    assert!(!verdict.lost.is_empty(), "{verdict}");
}
