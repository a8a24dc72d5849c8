//! Waiting for something to do, on a connection that nobody else waits for.

use std::{sync::Arc, time::Duration};

use es_core::StoreError;
use futures_util::future::{BoxFuture, FutureExt};
use redis::{aio::MultiplexedConnection, streams::StreamReadReply};
use tracing::warn;

use crate::{connection::Connection, error::store_error};

/// How long the server waits for the bell; and with that how soon a dead connection is
/// noticed.
const WAIT: Duration = Duration::from_secs(2);
/// How long nothing is heard after a failure.
const PAUSE: Duration = Duration::from_millis(100);

/// The bell of one group.
pub(super) struct Bell {
    connection: Arc<Connection>,
    key: String,
    line: Option<MultiplexedConnection>,
    /// Goes on while its owner does something else: an answer that nobody takes would hold
    /// up the next one.
    listening: Option<BoxFuture<'static, Option<MultiplexedConnection>>>,
}

impl Bell {
    pub(super) fn new(connection: Arc<Connection>, key: String) -> Self {
        Self { connection, key, line: None, listening: None }
    }

    /// Waits until it rings, or has rung after `heard`; also ends when the server cannot be
    /// heard. May be dropped and called again.
    pub(super) async fn rung(&mut self, heard: &str) {
        let listening = match &mut self.listening {
            Some(listening) => listening,
            free => {
                let (connection, key) = (Arc::clone(&self.connection), self.key.clone());
                let listens = listen(connection, self.line.take(), key, heard.to_owned());
                free.insert(listens.boxed())
            }
        };
        self.line = listening.await;
        self.listening = None;
    }
}

async fn listen(
    connection: Arc<Connection>,
    line: Option<MultiplexedConnection>,
    key: String,
    heard: String,
) -> Option<MultiplexedConnection> {
    match wait(&connection, line, &key, &heard).await {
        Ok(line) => Some(line),
        Err(error) => {
            warn!(%error, "a group cannot be heard, trying again");
            connection.world.sleep(PAUSE).await;
            None
        }
    }
}

async fn wait(
    connection: &Connection,
    line: Option<MultiplexedConnection>,
    key: &str,
    heard: &str,
) -> Result<MultiplexedConnection, StoreError> {
    let mut line = match line {
        Some(line) => line,
        None => connection.patient(WAIT).await?,
    };
    let wait = u64::try_from(WAIT.as_millis()).expect("it is short");
    let mut read = redis::cmd("XREAD");
    read.arg("BLOCK").arg(wait).arg("STREAMS").arg(key).arg(heard);
    loop {
        let rung: Option<StreamReadReply> =
            read.query_async(&mut line).await.map_err(store_error)?;
        if rung.is_some() {
            return Ok(line);
        }
    }
}
