//! Notices what other processes write.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use es_core::{Position, StoreError};
use rusqlite::Connection;
use tokio::sync::{mpsc, watch};

use crate::{SqliteOptions, append, connection::open_reader, error::store_error, writer::advance};

/// Ends the watching thread when it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    _stop: SyncSender<()>,
}

impl Watcher {
    pub(crate) fn start(
        options: &SqliteOptions,
        head: watch::Sender<Position>,
        alive: mpsc::Sender<()>,
    ) -> Result<Self, StoreError> {
        let connection = open_reader(options)?;
        let (stop, stopped) = sync_channel(0);
        let poll = options.poll;
        thread::spawn(move || {
            watch(connection, poll, &stopped, &head);
            drop(alive);
        });
        Ok(Self { _stop: stop })
    }
}

/// Owns the connection, so that it is closed before the thread counts as ended.
fn watch(
    connection: Connection,
    poll: Duration,
    stopped: &Receiver<()>,
    head: &watch::Sender<Position>,
) {
    let mut seen = 0;
    while stopped.recv_timeout(poll) == Err(RecvTimeoutError::Timeout) {
        // A failure here only delays a wake-up: the next look makes up for it.
        seen = look(&connection, seen, head).unwrap_or(seen);
    }
}

/// `data_version` changes when another connection has committed; asking for it
/// costs no I/O.
fn look(
    connection: &Connection,
    seen: i64,
    head: &watch::Sender<Position>,
) -> Result<i64, StoreError> {
    let version = connection
        .prepare_cached("PRAGMA data_version")
        .and_then(|mut pragma| pragma.query_row([], |row| row.get(0)))
        .map_err(store_error)?;
    if version != seen {
        advance(head, append::head(connection)?);
    }
    Ok(version)
}
