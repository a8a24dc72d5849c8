use std::{fmt, time::Duration};

use es_core::{StoreError, World};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, FromRedisValue, RedisError,
    RedisResult, ServerErrorKind,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};

use crate::{
    error::{silent, store_error, too_much, unanswered, write_error},
    scripts::Script,
};

/// How often a connection is tried before a request fails; the next one tries again.
const ATTEMPTS: usize = 1;
/// Most words of a request: a server takes no more.
const WORDS: usize = 1_000_000;

/// A connection that all clones share, and that is made when it is needed.
pub(crate) struct Connection {
    client: Client,
    pub(crate) within: Duration,
    pub(crate) world: World,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    manager: Option<ConnectionManager>,
    /// How many there were.
    made: u64,
    /// The node of a cluster to which another one has sent us.
    moved: Option<Client>,
}

/// Why there is no answer.
enum Failure {
    /// It was not asked for, being more words than that.
    TooMuch(usize),
    /// Or it is one that says so.
    Failed(RedisError),
    /// Nobody has said anything for as long as that.
    Silent(Duration),
}

impl Failure {
    fn told(
        self,
        failed: fn(RedisError) -> StoreError,
        silent: fn(Duration) -> StoreError,
    ) -> StoreError {
        match self {
            Self::TooMuch(words) => too_much(words, WORDS),
            Self::Failed(error) => failed(error),
            Self::Silent(within) => silent(within),
        }
    }
}

impl Connection {
    pub(crate) fn new(client: Client, within: Duration, world: World) -> Self {
        Self { client, within, world, current: Mutex::default() }
    }

    /// Asks the server, and waits no longer than allowed.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.answer(command).await.map_err(|failure| failure.told(store_error, silent))
    }

    /// The same for what changes something: if there is no answer nobody knows whether it
    /// was done.
    pub(crate) async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.answer(command).await.map_err(|failure| failure.told(write_error, unanswered))
    }

    /// Runs a script that only reads.
    pub(crate) async fn look<T: FromRedisValue>(
        &self,
        script: &Script,
        words: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, StoreError> {
        let said = self.said(script, words).await;
        said.map_err(|failure| failure.told(store_error, silent))
    }

    /// Runs a script that changes something.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        words: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, StoreError> {
        let said = self.said(script, words).await;
        said.map_err(|failure| failure.told(write_error, unanswered))
    }

    /// Names the script, and tells all of it only to a server that does not know it.
    async fn said<T: FromRedisValue>(
        &self,
        script: &Script,
        words: impl Fn(&mut Cmd) + Send + Sync,
    ) -> Result<T, Failure> {
        let mut named = redis::cmd("EVALSHA");
        words(named.arg(self.sum(script).await?));
        match self.answer(&named).await {
            // As another node of a cluster, which has the keys, or one that was restarted.
            Err(Failure::Failed(error)) if is_unknown_script(&error) => {
                let mut told = redis::cmd("EVAL");
                words(told.arg(script.text));
                self.answer(&told).await
            }
            answer => answer,
        }
    }

    async fn sum<'a>(&self, script: &'a Script) -> Result<&'a str, Failure> {
        if let Some(sum) = script.sum.get() {
            return Ok(sum);
        }
        let mut load = redis::cmd("SCRIPT");
        let sum: String = self.answer(load.arg("LOAD").arg(script.text)).await?;
        Ok(script.sum.get_or_init(|| sum))
    }

    async fn answer<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let words = command.args_iter().len();
        if words > WORDS {
            return Err(Failure::TooMuch(words));
        }
        match self.answer_of_node(command).await {
            Err(Failure::Failed(error)) if self.follows(&error) => {
                self.answer_of_node(command).await
            }
            answer => answer,
        }
    }

    async fn answer_of_node<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let (mut manager, made) = self.current().map_err(Failure::Failed)?;
        tokio::select! {
            biased;
            answer = command.query_async::<T>(&mut manager) => answer.map_err(|error| {
                if error.kind() == ErrorKind::Io {
                    self.give_up(made);
                }
                Failure::Failed(error)
            }),
            () = self.world.sleep(self.within) => {
                self.give_up(made);
                Err(Failure::Silent(self.within))
            }
        }
    }

    fn current(&self) -> RedisResult<(ConnectionManager, u64)> {
        let mut current = self.current.lock();
        if let Some(manager) = &current.manager {
            return Ok((manager.clone(), current.made));
        }
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(ATTEMPTS)
            .set_connection_timeout(Some(self.within))
            .set_response_timeout(Some(self.within));
        let client = current.moved.as_ref().unwrap_or(&self.client);
        let manager = client.get_connection_manager_lazy(config)?;
        current.made += 1;
        current.manager = Some(manager.clone());
        Ok((manager, current.made))
    }

    /// A connection that is silent may be dead without knowing it, and one that broke takes
    /// its time to come back: the next request gets another one. It asks the first address
    /// again, as the node that we were sent to may be gone, and the others know its heir.
    fn give_up(&self, made: u64) {
        let mut current = self.current.lock();
        if current.made == made {
            (current.manager, current.moved) = (None, None);
        }
    }

    /// Whether a node of a cluster says who has our keys, all of which are in one slot.
    fn follows(&self, error: &RedisError) -> bool {
        let moved = error.kind() == ErrorKind::Server(ServerErrorKind::Moved);
        let node = error.redirect_node().filter(|_| moved);
        let address = node.and_then(|(node, _)| {
            let (host, port) = node.rsplit_once(':')?;
            Some(ConnectionAddr::Tcp(host.to_owned(), port.parse().ok()?))
        });
        let home = self.client.get_connection_info().clone();
        let client = address.and_then(|address| Client::open(home.set_addr(address)).ok());
        let is_known = client.is_some();
        if is_known {
            let mut current = self.current.lock();
            (current.manager, current.moved) = (None, client);
        }
        is_known
    }

    /// A connection for requests that make the server wait for so long.
    pub(crate) async fn patient(
        &self,
        wait: Duration,
    ) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.within))
            .set_response_timeout(Some(wait + self.within));
        let moved = self.current.lock().moved.clone();
        let client = moved.as_ref().unwrap_or(&self.client);
        let connection = client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map_err(store_error)
    }
}

fn is_unknown_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Without the address, which may hold a password.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("within", &self.within).finish_non_exhaustive()
    }
}
