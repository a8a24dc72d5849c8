//! Read models in a Redis server: what a transaction takes back, what is left behind, and
//! which server is trusted.

mod builds;
#[path = "../raw/mod.rs"]
mod raw;
mod servers;
mod steps;

use std::{collections::BTreeMap, time::Duration};

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, StoreErrorKind, Tenant, Views,
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
    raw::connect(server.url()).await
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
