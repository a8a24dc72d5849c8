use std::{fmt, sync::Arc, time::Duration};

use es_core::{StoreError, World};
use redis::Client;

use crate::{RedisCache, connection::Connection, error::store_error, keys::Keys};

/// How long a request may take.
const WITHIN: Duration = Duration::from_millis(100);

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
    within: Duration,
    world: World,
}

impl RedisOptions {
    /// The server at this address, `redis://[user[:password]@]host[:port][/database]`,
    /// with keys that begin with `gesta`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: "gesta".into(), within: WITHIN, world: World::real() }
    }

    /// Sets what every key begins with: programs that share a server, and not their
    /// answers, have one each.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long a request may take, 100 milliseconds by default; then the
    /// connection counts as dead and the next request makes another one.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Sets where chance, and the time between two attempts, come from. How long an
    /// answer is kept is told by the server's clock.
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
        let client = Client::open(self.url).map_err(store_error)?;
        let connection = Connection::new(client, self.within, self.world);
        Ok(RedisCache::new(Arc::new(connection), Arc::new(Keys::new(&self.prefix))))
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
