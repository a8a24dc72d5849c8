//! What has no room.

use std::time::Duration;

use es_core::{Consumer, DeadLetters, Group, Publisher, StoreErrorKind, Subscription};
use futures_util::future::join_all;

use super::{
    SOON, asks, broker, bury, consume, group, join, letters, message, next, of_ada, options,
    orders, publish, raw, said, server, soon, take,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_waits_for_a_group_that_is_full_and_then_fails_for_all() {
    let Some(server) = server() else { return };
    let impatient = options(server.url()).backlog(10).within(Duration::from_millis(300));
    let impatient = soon(async || impatient.clone().broker().await.ok()).await;
    let patient = broker(options(server.url()).backlog(10)).await;
    let archive = Subscription::of(Group::new("archive").expect("a group"));
    let patterns = asks().patterns.remove(0);
    let mut archive = consume(&patient, archive.to(patterns)).await;
    let mut member = consume(&patient, asks().window(1)).await;
    publish(&patient, (0..10).map(message).collect()).await;
    assert_eq!(take(&mut archive, 10).await.len(), 10);
    // A server may be too slow for who is that impatient, and has refused nothing then.
    let refused = soon(async || {
        let refused = impatient.publish(&orders(), vec![message("refused")]).await;
        let refused = refused.expect_err("there is no room").kind();
        (refused != StoreErrorKind::Unknown).then_some(refused)
    });
    assert_eq!(refused.await, StoreErrorKind::Full);
    let waits = async { publish(&patient, vec![message("waits")]).await };
    let ((), seen) = futures_util::future::join(waits, take(&mut member, 11)).await;
    assert_eq!(seen[10], "waits");
    assert_eq!(take(&mut archive, 1).await, ["waits"], "nothing of what was refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_finds_no_room_comes_again() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url()).dead_letters(2)).await;
    let mut member = consume(&one, asks().parking()).await;
    publish(&one, (1..=3).map(of_ada).collect()).await;
    publish(&one, vec![message("x").with_key("x"), message("end")]).await;
    bury(&mut member).await.expect("there is room");
    assert_eq!(take(&mut member, 1).await, ["x"]);
    assert_eq!(take(&mut member, 1).await, ["end"]);
    let found = letters(&one).await.expect("letters");
    assert_eq!(found.len(), 2, "3 waits for room, 2 is behind 1");
    publish(&one, vec![message("dead")]).await;
    let refused = bury(&mut member).await.expect_err("there is no room");
    assert_eq!(refused.kind(), StoreErrorKind::Full);
    for letter in found {
        assert!(one.discard(&group(), letter.id).await.expect("it goes"));
    }
    // In whichever order: both wait for a while.
    let mut seen = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut member).await;
        seen.push((delivery.message.id.clone(), delivery.attempt));
        super::ack(delivery).await;
    }
    seen.sort();
    assert_eq!(seen, [("3".to_owned(), 1), ("dead".to_owned(), 2)]);
}

/// What stands behind a dead letter waits for room, and does not come before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_that_is_given_back_comes_before_what_found_no_room_behind_it() {
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url()).dead_letters(1)).await, raw(&server).await);
    let mut member = consume(&one, asks().parking()).await;
    publish(&one, vec![of_ada(1), of_ada(2)]).await;
    bury(&mut member).await.expect("there is room");
    let later: &[u8] = b"{test}:group:billing:later";
    soon(async || (said::<usize>(&mut raw, &[b"ZCARD", later]).await == 1).then_some(())).await;
    let letter = letters(&one).await.expect("letters").remove(0);
    assert!(one.give_back(&group(), letter.id, None).await.expect("it goes back"));
    assert_eq!(take(&mut member, 2).await, ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_takes_nothing_new_and_lets_the_rest_be_handled() {
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url())).await, raw(&server).await);
    let mut member = join(&one).await;
    publish(&one, (0..20).map(of_ada).collect()).await;
    said::<String>(&mut raw, &[b"CONFIG", b"SET", b"maxmemory", b"1"]).await;
    let refused = one.publish(&orders(), vec![message("refused")]).await;
    assert_eq!(refused.expect_err("there is no room").kind(), StoreErrorKind::Full);
    assert_eq!(take(&mut member, 19).await.len(), 19);
    bury(&mut member).await.expect("it is moved");
    one.forget(&group()).await.expect("that makes room");
}

/// More than is told in one turn, and nothing comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_answers_at_once_are_all_heard() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url())).await;
    let mut member = consume(&one, asks().window(3_000)).await;
    publish(&one, (0..3_000).map(message).collect()).await;
    let mut held = Vec::new();
    for _ in 0..2_000 {
        held.push(next(&mut member).await);
    }
    let all = join_all(held.into_iter().map(super::ack));
    assert_eq!(tokio::time::timeout(SOON, all).await.expect("all is heard").len(), 2_000);
    // What was taken for a member that leaves is given back in as many turns.
    drop(member);
    let two = broker(options(server.url())).await;
    assert_eq!(take(&mut join(&two).await, 1_000).await.len(), 1_000);
}

/// More than one script takes, and more bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_at_once_is_published_in_parts() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url())).await;
    let mut member = join(&one).await;
    publish(&one, (0..2_345).map(of_ada).collect()).await;
    let due: Vec<_> = (0..2_345).map(|n| n.to_string()).collect();
    assert_eq!(take(&mut member, 2_345).await, due);
    let large = |n: usize| {
        let mut large = message(n);
        large.payload = vec![7; 1_500_000].into();
        large
    };
    publish(&one, (0..10).map(large).collect()).await;
    for _ in 0..10 {
        let delivery = next(&mut member).await;
        assert_eq!(delivery.message.payload.len(), 1_500_000);
        super::ack(delivery).await;
    }
}
