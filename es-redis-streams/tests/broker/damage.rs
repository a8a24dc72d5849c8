//! What is damaged is told, and stops nobody.

use es_core::{DeadLetters, StoreErrorKind};

use super::{
    ack, broker, bury, coming, group, join, letters, message, next, of_ada, options, publish, raw,
    said, server, soon, take,
};

const INCOMING: &[u8] = b"{test}:group:billing:incoming";
const MESSAGES: &[u8] = b"{test}:group:billing:messages";
const LETTERS: &[u8] = b"{test}:group:billing:letters";
const BROKEN: &[u8] = b"{test}:group:billing:broken";
/// A version, a lane as ada's messages have it, and nothing else.
const CUT_OFF: &[u8] = b"\x01\0\0\0\x0e\0\0\0\x07defaultadat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_put_aside_and_its_key_goes_on() {
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url())).await, raw(&server).await);
    drop(join(&one).await);
    publish(&one, vec![of_ada(1)]).await;
    for damaged in [&b""[..], b"junk", b"\x01\xff\xff\xff\xff", CUT_OFF] {
        said::<usize>(&mut raw, &[b"RPUSH", INCOMING, damaged]).await;
    }
    publish(&one, vec![of_ada(2), message(3)]).await;
    let mut member = join(&one).await;
    let (mut seen, mut damaged) = (Vec::new(), 0);
    while seen.len() < 3 {
        match coming(&mut member).await {
            Ok(delivery) => seen.push(ack(delivery).await),
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Corrupt);
                damaged += 1;
            }
        }
    }
    seen.retain(|id| id != "3");
    assert_eq!((seen, damaged), (vec!["1".to_owned(), "2".to_owned()], 4));
    let aside: usize = said(&mut raw, &[b"HLEN", BROKEN]).await;
    assert_eq!(aside, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_waits_if_there_is_no_room_for_it() {
    let Some(server) = server() else { return };
    let one = broker(options(server.url()).dead_letters(1)).await;
    let mut raw = raw(&server).await;
    drop(join(&one).await);
    for _ in 0..2 {
        said::<usize>(&mut raw, &[b"RPUSH", INCOMING, b"junk"]).await;
    }
    let mut member = join(&one).await;
    let mut told = async |times: usize| {
        for _ in 0..times {
            let told = coming(&mut member).await.err().map(|error| error.kind());
            assert_eq!(told, Some(StoreErrorKind::Corrupt));
        }
    };
    // Again and again, as long as there is no room.
    told(4).await;
    assert_eq!(said::<usize>(&mut raw, &[b"HLEN", BROKEN]).await, 1);
    assert_eq!(said::<usize>(&mut raw, &[b"HLEN", MESSAGES]).await, 1);
    said::<usize>(&mut raw, &[b"DEL", BROKEN]).await;
    told(1).await;
    soon(async || {
        let aside: usize = said(&mut raw, &[b"HLEN", BROKEN]).await;
        let left: usize = said(&mut raw, &[b"HLEN", MESSAGES]).await;
        ((aside, left) == (1, 0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_any_more_is_told_and_its_key_goes_on() {
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url())).await, raw(&server).await);
    let mut member = join(&one).await;
    publish(&one, (1..=3).map(of_ada).collect()).await;
    publish(&one, vec![message("end")]).await;
    let held = next(&mut member).await;
    assert_eq!(take(&mut member, 1).await, ["end"]);
    // The second waits behind the first.
    assert_eq!(said::<usize>(&mut raw, &[b"HDEL", MESSAGES, b"2"]).await, 1);
    ack(held).await;
    let lost = coming(&mut member).await.expect_err("it is lost");
    assert_eq!(lost.kind(), StoreErrorKind::Corrupt);
    assert!(lost.to_string().contains("message 2 "), "{lost}");
    assert_eq!(take(&mut member, 1).await, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_cannot_be_read_can_be_discarded() {
    let Some(server) = server() else { return };
    let (one, mut raw) = (broker(options(server.url())).await, raw(&server).await);
    let mut member = join(&one).await;
    publish(&one, vec![of_ada(1), of_ada(2)]).await;
    bury(&mut member).await.expect("there is room");
    let letter = letters(&one).await.expect("letters").remove(0);
    said::<usize>(&mut raw, &[b"HSET", LETTERS, b"1", b"junk"]).await;
    let unreadable = letters(&one).await.expect_err("it cannot be read");
    assert_eq!(unreadable.kind(), StoreErrorKind::Corrupt);
    assert!(one.discard(&group(), letter.id).await.expect("it goes"));
    assert!(letters(&one).await.expect("letters").is_empty());
    assert_eq!(take(&mut member, 1).await, ["2"]);
}
