use std::{fmt, time::Duration};

use es_core::{StoreError, World};
use parking_lot::Mutex;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};

use crate::error::{silent, store_error};

/// How often a connection is tried before a request fails; the next one tries again.
const ATTEMPTS: usize = 1;

/// A connection that all clones share, and that is made when it is needed.
pub(crate) struct Connection {
    client: Client,
    within: Duration,
    pub(crate) world: World,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    manager: Option<ConnectionManager>,
    /// How many there were.
    made: u64,
}

impl Connection {
    pub(crate) fn new(client: Client, within: Duration, world: World) -> Self {
        Self { client, within, world, current: Mutex::default() }
    }

    /// Asks the server, and waits no longer than allowed.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let (mut manager, made) = self.current()?;
        tokio::select! {
            biased;
            answer = command.query_async::<T>(&mut manager) => answer.map_err(store_error),
            () = self.world.sleep(self.within) => {
                self.give_up(made);
                Err(silent(self.within))
            }
        }
    }

    fn current(&self) -> Result<(ConnectionManager, u64), StoreError> {
        let mut current = self.current.lock();
        if let Some(manager) = &current.manager {
            return Ok((manager.clone(), current.made));
        }
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(ATTEMPTS)
            .set_connection_timeout(Some(self.within))
            .set_response_timeout(Some(self.within));
        let manager = self.client.get_connection_manager_lazy(config).map_err(store_error)?;
        current.made += 1;
        current.manager = Some(manager.clone());
        Ok((manager, current.made))
    }

    /// A connection that is silent may be dead without knowing it: the next request
    /// gets another one.
    fn give_up(&self, made: u64) {
        let mut current = self.current.lock();
        if current.made == made {
            current.manager = None;
        }
    }

    /// A connection for requests that make the server wait for so long.
    pub(crate) async fn patient(
        &self,
        wait: Duration,
    ) -> Result<MultiplexedConnection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.within))
            .set_response_timeout(Some(wait + self.within));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config);
        connection.await.map_err(store_error)
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("within", &self.within).finish_non_exhaustive()
    }
}
