use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use es_core::{
    CachePlace, CacheStamp, FoundAnswer, Invalidation, LookedUp, Position, SharedCache, StoreError,
    StoreErrorKind,
};
use futures_util::stream::BoxStream;
use redis::Cmd;

use crate::{connection::Connection, keys::Keys, listening, parts::digits};

/// How much longer than an answer its tags are remembered: as long as it may take to
/// make it. Whatever takes longer is not kept.
const MAKING: Duration = Duration::from_secs(60);
/// Invalidations that wait in the stream for processes that are slow to hear of them.
const TOLD: usize = 10_000;

const LOOK_UP: &str = include_str!("scripts/look_up.lua");
const PUT: &str = include_str!("scripts/put.lua");
const INVALIDATE: &str = include_str!("scripts/invalidate.lua");

/// A shared cache in a Redis server; clones share the connection.
///
/// Each tag that anybody has looked for lately has a stamp, a number drawn by lot;
/// an invalidation gives it another one. An answer is kept with the stamps that its
/// tags had before it was made, and is found as long as they are the same. A stamp
/// that the server has lost is drawn anew, and with that the answer is lost too.
///
/// ```no_run
/// use es_core::{CachePlace, SharedCache};
/// use es_redis_streams::RedisOptions;
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = RedisOptions::new("redis://127.0.0.1:6379").cache()?;
/// let place = CachePlace::new("balance_of ada", Duration::from_secs(300)).tag("accounts/ada");
/// assert!(cache.get(&place).await?.found.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RedisCache {
    connection: Arc<Connection>,
    keys: Arc<Keys>,
}

impl RedisCache {
    pub(crate) fn new(connection: Arc<Connection>, keys: Arc<Keys>) -> Self {
        Self { connection, keys }
    }

    /// A script over an answer and its tags.
    fn over(&self, script: &str, place: &CachePlace) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(place.tags.len() + 2).arg(self.keys.answer(&place.key));
        command.arg(self.keys.everything());
        for tag in &place.tags {
            command.arg(self.keys.tag(tag));
        }
        command
    }

    fn fresh_stamp(&self) -> String {
        format!("{:016x}", self.connection.world.random_u64())
    }
}

#[async_trait]
impl SharedCache for RedisCache {
    async fn get(&self, place: &CachePlace) -> Result<LookedUp, StoreError> {
        let mut command = self.over(LOOK_UP, place);
        command.arg(self.fresh_stamp()).arg(millis(place.ttl + MAKING));
        let looked: Vec<redis::Value> = self.connection.ask(&command).await?;
        looked_up(looked)
    }

    async fn put(
        &self,
        place: &CachePlace,
        stamp: &CacheStamp,
        as_of: Position,
        value: Bytes,
    ) -> Result<(), StoreError> {
        let mut command = self.over(PUT, place);
        command.arg(stamp.as_str()).arg(digits(as_of.get())).arg(&value[..]).arg(millis(place.ttl));
        self.connection.ask::<u8>(&command).await.map(drop)
    }

    async fn invalidate(&self, invalidation: &Invalidation) -> Result<(), StoreError> {
        let tags: Vec<_> = match invalidation {
            Invalidation::Everything => vec![self.keys.everything()],
            Invalidation::Tags { tags, .. } => tags.iter().map(|tag| self.keys.tag(tag)).collect(),
        };
        let mut command = redis::cmd("EVAL");
        command.arg(INVALIDATE).arg(tags.len() + 1).arg(self.keys.invalidations()).arg(tags);
        command.arg(self.fresh_stamp()).arg(listening::message(invalidation)?).arg(TOLD);
        self.connection.ask::<u8>(&command).await.map(drop)
    }

    fn listen(&self) -> BoxStream<'static, Invalidation> {
        listening::listen(Arc::clone(&self.connection), self.keys.invalidations())
    }
}

/// What `look_up.lua` says: the stamp, and if there is an answer its position, its
/// value, and how many milliseconds it has left.
fn looked_up(looked: Vec<redis::Value>) -> Result<LookedUp, StoreError> {
    let damaged =
        || StoreError::new(StoreErrorKind::Corrupt, "an answer is not written as ours are");
    let mut looked = looked.into_iter();
    let mut next = || looked.next();
    let stamp: String = next().and_then(read).ok_or_else(damaged)?;
    let stamp = CacheStamp::new(stamp);
    let Some(as_of) = next() else { return Ok(LookedUp { found: None, stamp }) };
    let as_of: String = read(as_of).ok_or_else(damaged)?;
    let as_of = as_of.parse().map_err(|_| damaged())?;
    let value: Vec<u8> = next().and_then(read).ok_or_else(damaged)?;
    let left: i64 = next().and_then(read).ok_or_else(damaged)?;
    let left = Duration::from_millis(left.max(0).unsigned_abs());
    Ok(LookedUp { found: Some(FoundAnswer { as_of, value: value.into(), left }), stamp })
}

fn read<T: redis::FromRedisValue>(value: redis::Value) -> Option<T> {
    redis::from_redis_value(value).ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}
