//! Which servers are trusted, and how the others fail.

use std::time::Duration;

use es_core::{BuildChange, Builds, Lookup, Name, Rows, StoreErrorKind, Views, World};
use es_redis_streams::{RedisOptions, RedisTx, cmd};
use es_testkit::servers::PrivateRedis;

use super::{
    HOUR, begun, command, commit, every, everything, model, part, private, raw, row, said, server,
    views,
};

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
    let these = Rows::These(vec![row("a").id; 1_000_000]);
    let much = views.rows(Lookup::new(model(), these)).await.map_err(|error| error.kind());
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
