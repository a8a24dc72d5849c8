use std::{fmt, sync::Arc, time::Duration};

use es_core::{StoreError, StoreErrorKind, World};
use redis::Client;

use crate::{
    RedisCache, RedisViews, connection::Connection, error::store_error, keys::Keys, server,
};

/// How long a request of the cache may take.
const CACHE_WITHIN: Duration = Duration::from_millis(100);
/// How long a request of read models may take: a commit may have thousands of rows.
const VIEWS_WITHIN: Duration = Duration::from_secs(5);

/// Where the server is, and how it is used.
///
/// ```
/// use std::time::Duration;
/// use es_redis_streams::RedisOptions;
///
/// let options = RedisOptions::new("redis://127.0.0.1:6379")
///     .prefix("bank")
///     .within(Duration::from_millis(50));
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    url: String,
    prefix: String,
    within: Option<Duration>,
    world: World,
}

impl RedisOptions {
    /// The server at this address, `redis://[user[:password]@]host[:port][/database]`,
    /// with keys that begin with `gesta`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "gesta".into(), within: None, world: World::real() }
    }

    /// Sets what every key begins with: programs that share a server, and not their
    /// answers and read models, have one each.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a request may take, by default 100 milliseconds for the cache and 5
    /// seconds for read models; then the connection counts as dead and the next request
    /// makes another one.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
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
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            let message =
                format!("{:?} holds not all keys together, take another prefix", self.prefix);
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        let (connection, keys) = self.connect(VIEWS_WITHIN)?;
        server::check(&connection).await?;
        Ok(RedisViews::new(connection, keys))
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
