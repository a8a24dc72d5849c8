use std::{fmt, sync::Arc, time::Duration};

use es_core::{StoreError, StoreErrorKind, World};
use redis::Client;

use crate::{
    RedisBroker, RedisCache, RedisViews, broker::Limits, connection::Connection,
    error::store_error, keys::Keys, server,
};

/// How long a request of the cache may take.
const CACHE_WITHIN: Duration = Duration::from_millis(100);
/// How long a request of read models may take: a commit may have thousands of rows.
const VIEWS_WITHIN: Duration = Duration::from_secs(5);
/// How long a request of a broker may take: large messages take their time.
const BROKER_WITHIN: Duration = Duration::from_secs(5);
/// The shortest lease: whoever lives has to ask the server some times within it.
const SHORTEST_LEASE: Duration = Duration::from_millis(100);

/// Where the server is, and how it is used.
///
/// ```
/// use std::time::Duration;
/// use es_redis_streams::RedisOptions;
///
/// let options = RedisOptions::new("redis://127.0.0.1:6379")
///     .prefix("bank")
///     .within(Duration::from_millis(50));
/// // For a broker there is more to say.
/// let options = options.lease(Duration::from_secs(30)).backlog(100_000).history(0);
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    url: String,
    prefix: String,
    within: Option<Duration>,
    limits: Limits,
    world: World,
}

impl RedisOptions {
    /// The server at this address, `redis://[user[:password]@]host[:port][/database]`,
    /// with keys that begin with `gesta`.
    pub fn new(url: impl Into<String>) -> Self {
        let (url, prefix, limits) = (url.into(), "gesta".into(), Limits::default());
        Self { url, prefix, within: None, limits, world: World::real() }
    }

    /// Sets what every key begins with: programs that share a server, and not their
    /// answers and read models, have one each.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a request may take, by default 100 milliseconds for the cache and 5
    /// seconds for read models and the broker; then the connection counts as dead and the next request
    /// makes another one.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Sets after what time without a sign of life what a process has in hand of a broker's
    /// messages is given to others, by default 10 seconds, and 100 milliseconds at least.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.limits.lease = lease.max(SHORTEST_LEASE);
        self
    }

    /// Sets how many messages that were published to topics a broker keeps for groups that
    /// begin with the earliest, by default 1,000.
    #[must_use]
    pub fn history(mut self, messages: usize) -> Self {
        self.limits.history = messages;
        self
    }

    /// Sets how many unsettled messages each group of a broker keeps, by default a million.
    /// Whoever publishes while one of its groups has no room waits as long as a request
    /// [may take](Self::within), and then fails with [`Full`](StoreErrorKind::Full).
    #[must_use]
    pub fn backlog(mut self, messages: usize) -> Self {
        self.limits.backlog = messages.max(1);
        self
    }

    /// Sets how many dead letters each group of a broker keeps, by default 10,000. With more,
    /// a dead letter fails and the message comes again; what should be parked waits for room,
    /// and its lane with it.
    #[must_use]
    pub fn dead_letters(mut self, messages: usize) -> Self {
        self.limits.dead_letters = messages;
        self
    }

    /// Sets where chance, and the time between two attempts, come from. How long an
    /// answer is kept, and how long a lease lasts, is told by the server's clock.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// The cache. Nothing is connected yet: a server that is not there is none of
    /// its errors.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the address is not valid.
    pub fn cache(self) -> Result<RedisCache, StoreError> {
        let (connection, keys) = self.connect(CACHE_WITHIN)?;
        Ok(RedisCache::new(connection, keys))
    }

    /// The place for read models. The server is asked whether it can be trusted with them:
    /// it has to be of version 7.0 or newer, and its `maxmemory-policy` must not let it
    /// throw away single keys, as every policy does that begins with `allkeys-`. If it does
    /// not tell, that is a warning in the log.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the address is not valid or the server cannot be reached;
    /// [`Unsupported`](StoreErrorKind::Unsupported) if it cannot be trusted;
    /// [`Invalid`](StoreErrorKind::Invalid) if the prefix is empty or has a brace in it.
    pub async fn views(self) -> Result<RedisViews, StoreError> {
        let (connection, keys) = self.trusted(VIEWS_WITHIN).await?;
        Ok(RedisViews::new(connection, keys))
    }

    /// The broker. The server has to be one that can be trusted, as for
    /// [read models](Self::views).
    ///
    /// # Errors
    ///
    /// As those of [`views`](Self::views).
    pub async fn broker(self) -> Result<RedisBroker, StoreError> {
        let limits = self.limits;
        let (connection, keys) = self.trusted(BROKER_WITHIN).await?;
        Ok(RedisBroker::new(connection, keys, limits))
    }

    async fn trusted(self, within: Duration) -> Result<(Arc<Connection>, Arc<Keys>), StoreError> {
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            let message =
                format!("{:?} holds not all keys together, take another prefix", self.prefix);
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let (connection, keys) = self.connect(within)?;
        server::check(&connection).await?;
        Ok((connection, keys))
    }

    fn connect(self, within: Duration) -> Result<(Arc<Connection>, Arc<Keys>), StoreError> {
        let client = Client::open(self.url).map_err(store_error)?;
        let connection = Connection::new(client, self.within.unwrap_or(within), self.world);
        Ok((Arc::new(connection), Arc::new(Keys::new(&self.prefix))))
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("prefix", &self.prefix)
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}
