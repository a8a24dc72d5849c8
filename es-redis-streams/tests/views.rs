//! Read models in a Redis server: what a transaction takes back, what is left behind, and
//! which server is trusted.

use std::{collections::BTreeMap, time::Duration};

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, StoreErrorKind, Taking, Tenant, Views, World,
};
use es_redis_streams::{Cmd, RedisOptions, RedisTx, RedisViews, cmd};
use es_testkit::{
    not_run,
    servers::{PrivateRedis, ServerError},
};
use redis::aio::MultiplexedConnection;

const HOUR: Duration = Duration::from_secs(3_600);

fn private(started: Result<PrivateRedis, ServerError>) -> Option<PrivateRedis> {
    match started {
        Err(error @ ServerError::Unsupported(_)) => {
            not_run(&format!("read models on a private Redis: {error}"));
            None
        }
        started => Some(started.expect("a server that starts")),
    }
}

fn server() -> Option<PrivateRedis> {
    private(PrivateRedis::start())
}

async fn views(server: &PrivateRedis) -> RedisViews {
    RedisOptions::new(server.url()).views().await.expect("a server that can be trusted")
}

async fn raw(server: &PrivateRedis) -> MultiplexedConnection {
    let client = redis::Client::open(server.url()).expect("an address");
    client.get_multiplexed_async_connection().await.expect("a server")
}

async fn said<T: redis::FromRedisValue>(raw: &mut MultiplexedConnection, words: &[&str]) -> T {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async(raw).await.expect("an answer")
}

fn model() -> Name {
    Name::from_static("m")
}

fn part(build: u64) -> Part {
    Part::new(model(), build, Slices::ALL)
}

fn row(key: impl ToString) -> Row {
    let id = RowId::new(Tenant::default(), key.to_string());
    Row { id, value: Some(key.to_string().into()) }
}

async fn begun(views: &RedisViews, build: u64) -> Part {
    views.change(BuildChange::begin(model(), build)).await.expect("a build");
    part(build)
}

async fn every(views: &RedisViews) -> Vec<Row> {
    let lookup = Lookup::new(model(), Rows::Every { after: None, limit: 1_000 });
    views.rows(lookup).await.expect("rows")
}

/// Commits these commands with a row.
async fn commit(
    views: &RedisViews,
    commands: impl FnOnce(&mut RedisTx),
) -> Result<Checkpoint, StoreErrorKind> {
    let (mut tx, seen) = views.begin(&part(1)).await.expect("a transaction");
    commands(&mut tx);
    let next = seen.at(Position::new(seen.position.get() + 1));
    let changes = Changes::rows([row("a")]).parked([row("x")]);
    let done = views.commit(&part(1), tx, changes, seen, next).await;
    done.map(|()| next).map_err(|error| error.kind())
}

/// Every key with what it holds, and how it expires.
async fn everything(raw: &mut MultiplexedConnection) -> BTreeMap<String, (Vec<String>, i64)> {
    let mut all = BTreeMap::new();
    for key in said::<Vec<String>>(raw, &["KEYS", "*"]).await {
        let kind: String = said(raw, &["TYPE", &key]).await;
        let mut held: Vec<String> = match kind.as_str() {
            "hash" => said(raw, &["HGETALL", &key]).await,
            "set" => said(raw, &["SMEMBERS", &key]).await,
            "zset" => said(raw, &["ZRANGE", &key, "0", "-1", "WITHSCORES"]).await,
            "list" => said(raw, &["LRANGE", &key, "0", "-1"]).await,
            _ => vec![said(raw, &["GET", &key]).await],
        };
        // Fields and members are in no order: what is put back may stand elsewhere.
        match kind.as_str() {
            "hash" => held = held.chunks(2).map(|pair| pair.join("=")).collect(),
            "set" => {}
            _ => held = vec![held.join(" ")],
        }
        held.sort_unstable();
        let expires = said(raw, &["PEXPIRETIME", &key]).await;
        all.insert(key, (held, expires));
    }
    all
}

/// Words of a command whose keys are those of a projection.
fn command(tx: &RedisTx, words: &str) -> Cmd {
    let words = words.split(' ').map(|word| match word.strip_prefix('@') {
        Some(key) => tx.key(key),
        None => word.to_owned(),
    });
    let mut words = words.collect::<Vec<_>>().into_iter();
    let mut command = cmd(&words.next().expect("a command"));
    command.arg(words.collect::<Vec<_>>());
    command
}

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

#[tokio::test]
async fn what_is_discarded_or_removed_leaves_no_row_behind() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    for build in [1, 2] {
        let part = begun(&views, build).await;
        let (tx, seen) = views.begin(&part).await.expect("a transaction");
        let changes = Changes::rows((0..2_000).map(row)).parked((0..2_000).map(row));
        views.commit(&part, tx, changes, seen, seen).await.expect("a commit");
    }
    assert_eq!(everything(&mut raw).await.len(), 9);
    views.change(BuildChange::discard(model(), 2)).await.expect("it goes");
    assert_eq!(everything(&mut raw).await.len(), 5);
    views.change(BuildChange::remove(model())).await.expect("it goes");
    let left: Vec<String> = said(&mut raw, &["HKEYS", "{gesta}:model:m"]).await;
    assert_eq!((everything(&mut raw).await.len(), left.len()), (1, 2), "{left:?}");
}

/// The model that the server has forgotten and its successor look alike: the same build,
/// part, epoch and position.
#[tokio::test]
async fn who_began_before_the_server_forgot_everything_is_fenced() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    let owner = Name::from_static("one");
    let mut late = None;
    for _ in 0..2 {
        let part = begun(&views, 1).await;
        let taken = views.take(&part, &owner, HOUR, Taking::IfFree).await.expect("an answer");
        let (tx, seen) = views.begin(&part).await.expect("a transaction");
        assert_eq!(taken, Some(seen));
        let Some((late, earlier)) = late.replace((tx, seen)) else {
            said::<String>(&mut raw, &["FLUSHALL"]).await;
            continue;
        };
        assert_eq!(earlier, seen);
        let rows = Changes::rows([row("late")]);
        let fenced = views.commit(&part, late, rows, seen, seen.at(Position::new(9))).await;
        assert_eq!(fenced.map_err(|error| error.kind()), Err(StoreErrorKind::Fenced));
        assert_eq!(every(&views).await, []);
    }
    let now = late.expect("a transaction of the second model");
    views.commit(&part(1), now.0, Changes::rows([row("b")]), now.1, now.1).await.expect("a commit");
    assert_eq!(every(&views).await, [row("b")]);
}

#[tokio::test]
async fn a_server_that_throws_away_single_rows_is_refused() {
    let Some(server) = server() else { return };
    let mut raw = raw(&server).await;
    for (policy, is_trusted) in [
        ("allkeys-lru", false),
        ("allkeys-lfu", false),
        ("allkeys-random", false),
        ("volatile-lru", true),
        ("noeviction", true),
    ] {
        said::<String>(&mut raw, &["CONFIG", "SET", "maxmemory-policy", policy]).await;
        let opened = RedisOptions::new(server.url()).views().await;
        let refusal = opened.map(drop).map_err(|error| (error.kind(), error.to_string()));
        assert_eq!(refusal.is_ok(), is_trusted, "{policy}");
        if let Err((kind, why)) = refusal {
            assert_eq!(kind, StoreErrorKind::Unsupported);
            assert!(why.contains(policy) && why.contains("noeviction"), "{why}");
        }
    }
}

/// A server that does not tell is not refused.
#[tokio::test]
async fn a_server_that_does_not_tell_is_taken() {
    let Some(server) = server() else { return };
    let mut raw = raw(&server).await;
    let setuser = ["ACL", "SETUSER", "app", "on", ">word", "~*", "+@all", "-info"];
    said::<String>(&mut raw, &setuser).await;
    let url = server.url().replace("redis://", "redis://app:word@");
    let views = RedisOptions::new(url).views().await.expect("a server");
    begun(&views, 1).await;
}

#[tokio::test]
async fn a_full_server_takes_no_half_of_a_commit_and_lets_builds_be_discarded() {
    let Some(server) = server() else { return };
    let (views, mut raw) = (views(&server).await, raw(&server).await);
    begun(&views, 1).await;
    begun(&views, 2).await;
    let commands = |tx: &mut RedisTx| tx.run(command(tx, "HSET @a b 1"));
    commit(&views, commands).await.expect("there is room");
    said::<String>(&mut raw, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let before = everything(&mut raw).await;
    assert_eq!(commit(&views, commands).await, Err(StoreErrorKind::Full));
    assert_eq!(everything(&mut raw).await, before);
    assert_eq!(every(&views).await, [row("a")]);
    views.change(BuildChange::discard(model(), 2)).await.expect("it goes");
    said::<String>(&mut raw, &["CONFIG", "SET", "maxmemory", "0"]).await;
    commit(&views, commands).await.expect("there is room");
}

#[tokio::test]
async fn a_prefix_that_does_not_hold_all_keys_together_is_refused() {
    for prefix in ["", "}", "{", "a{b}"] {
        let options = RedisOptions::new("redis://127.0.0.1:1").prefix(prefix);
        let refusal = options.views().await.map(drop).expect_err("no prefix");
        assert_eq!(refusal.kind(), StoreErrorKind::Invalid, "{prefix:?}");
    }
}

#[tokio::test]
async fn more_than_a_server_takes_at_once_is_refused_before_it_is_sent() {
    let Some(server) = server() else { return };
    let views = views(&server).await;
    begun(&views, 1).await;
    let much = commit(&views, |tx| tx.run(cmd("SADD").arg(vec!["a"; 1_000_000]).take())).await;
    assert_eq!(much, Err(StoreErrorKind::Invalid));
    commit(&views, |_| ()).await.expect("a commit");
}

/// Of two nodes one has all slots, and the other is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_a_cluster_says_who_has_the_keys() {
    let Some(other) = private(PrivateRedis::start_node()) else { return };
    let Some(owner) = private(PrivateRedis::start_node()) else { return };
    let mut raw = [raw(&other).await, raw(&owner).await];
    said::<String>(&mut raw[1], &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    let about: String = said(&mut raw[1], &["CLUSTER", "NODES"]).await;
    let bus = about.split(['@', ' ', ',']).nth(2).expect("the port of its bus").to_owned();
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &owner.port().to_string(), &bus];
    said::<String>(&mut raw[0], &meet).await;
    let agree = async {
        for node in &mut raw {
            while !said::<String>(node, &["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
                World::real().sleep(Duration::from_millis(10)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), agree).await.expect("they agree");

    let views = views(&other).await;
    begun(&views, 1).await;
    commit(&views, |tx| {
        tx.run(command(tx, "SET @a 1"));
        tx.run(command(tx, "HSET @b a 1"));
    })
    .await
    .expect("all keys are in one slot");
    let elsewhere = commit(&views, |tx| {
        tx.run(command(tx, "SET @a 2"));
        tx.run(command(tx, "SET elsewhere 1"));
    });
    // In a cluster of one master every slot is at home; it is the script that is held to one.
    assert_eq!(elsewhere.await, Err(StoreErrorKind::Other));
    assert_eq!(said::<u64>(&mut raw[1], &["GET", &views.key("a")]).await, 1);
    views.change(BuildChange::begin(model(), 2)).await.expect("a build");
    views.change(BuildChange::discard(model(), 2)).await.expect("it goes");
    let held = [(part(1), 0)];
    views.renew(&Name::from_static("one"), &held, HOUR).await.expect("an answer");
    views.change(BuildChange::remove(model())).await.expect("it goes");
    assert_eq!(every(&views).await, []);
}
