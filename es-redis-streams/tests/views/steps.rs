//! What a transaction does, and takes back.

use es_core::{Checkpoint, Position, StoreErrorKind};
use es_redis_streams::RedisTx;

use super::{begun, command, commit, every, everything, raw, row, said, server, views};

#[tokio::test]
async fn commands_are_done_with_the_checkpoint_in_their_order() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    begun(&views, 1).await;
    let done = commit(&views, |tx| {
        for words in ["SET @n 5", "INCRBY @n 2", "RPUSH @l a b", "LTRIM @l 1 1"] {
            tx.run(command(tx, words));
        }
    });
    assert_eq!(done.await, Ok(Checkpoint::default().at(Position::new(1))));
    assert_eq!(said::<u64>(&mut raw, &["GET", &views.key("n")]).await, 7);
    assert_eq!(said::<Vec<String>>(&mut raw, &["LRANGE", &views.key("l"), "0", "9"]).await, ["b"]);
    assert_eq!(every(&views).await, [row("a")]);
}

/// Whatever a command does is taken back if a later one fails; also if all of them have
/// done something to the same keys.
#[tokio::test]
async fn each_command_is_taken_back_if_a_later_one_fails() {
    const BEFORE: [&str; 9] = [
        "HSET @hash a 1 b 2",
        "HSET @lone a 1",
        "PEXPIRE @lone 1000000",
        "SADD @set a b",
        "ZADD @scores 1.5 a 0.1 b",
        "RPUSH @list a b",
        "SET @text 1",
        "PEXPIRE @text 1000000",
        "SET @gone 1",
    ];
    const THEN: [&str; 27] = [
        "HSET @hash a 7 c 8",
        "hset @new a 7 c 8",
        "HMSET @hash a 9",
        "HSETNX @hash d 9",
        "HINCRBY @hash a 9",
        "HINCRBYFLOAT @hash b 0.5",
        "HDEL @lone a",
        "HDEL @hash a b",
        "SADD @set b c",
        "SADD @newset b c",
        "SREM @set a b",
        "ZADD @scores 7 a 8 c",
        "zadd @scores xx ch 9 a 8 d",
        "ZADD @scores INCR 1 a",
        "ZINCRBY @scores 9 b",
        "ZINCRBY @newscores 9 b",
        "ZREM @scores a b",
        "RPUSH @list c",
        "RPOP @list",
        "LPUSH @newlist c",
        "APPEND @text 7",
        "PERSIST @text",
        "SET @newtext 1",
        "DEL @set @scores @text",
        "SET @set 1",
        "RENAME @gone @went",
        "HINCRBY @lone b 1",
    ];
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    begun(&views, 1).await;
    let all = |tx: &mut RedisTx, words: &[&str]| {
        words.iter().for_each(|words| tx.run(command(tx, words)));
    };
    commit(&views, |tx| all(tx, &BEFORE)).await.expect("commands that can be done");
    let before = everything(&mut raw).await;
    for one in THEN {
        let failed = commit(&views, |tx| all(tx, &[one, "INCR @list"])).await;
        assert_eq!(failed, Err(StoreErrorKind::Other), "{one}");
        assert_eq!(everything(&mut raw).await, before, "{one}");
    }
    let together: Vec<_> = THEN.into_iter().chain(["HINCRBY @hash c nothing"]).collect();
    assert_eq!(commit(&views, |tx| all(tx, &together)).await, Err(StoreErrorKind::Other));
    assert_eq!(everything(&mut raw).await, before);
    // None of them fails by itself.
    commit(&views, |tx| all(tx, &THEN)).await.expect("commands that can be done");
}

#[tokio::test]
async fn a_command_without_a_key_is_refused_wherever_it_stands() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    begun(&views, 1).await;
    let before = everything(&mut raw).await;
    for words in ["PUBLISH news a", "FLUSHALL", "NONSENSE @a", "HSET @a", "SELECT 1"] {
        for both in [[words, "SET @a 1"], ["SET @a 1", words]] {
            let refused = commit(&views, |tx| {
                both.iter().for_each(|words| tx.run(command(tx, words)));
            });
            let refused = refused.await;
            assert_eq!(refused, Err(StoreErrorKind::Other), "{words}");
            assert_eq!(everything(&mut raw).await, before, "{words}");
        }
    }
}
