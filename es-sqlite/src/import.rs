//! Takes the events of another store as they are: on a thread and a connection
//! of its own, in one transaction. The writer and the watcher notice it as they
//! notice what another process writes.

use std::thread;

use async_trait::async_trait;
use es_core::{
    Import, ImportError, Imported, Pages, Position, RecordedEvent, StoreError, TOMBSTONED, Version,
    failpoint,
};
use futures_util::StreamExt;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use crate::{
    SqliteOptions, SqliteStore,
    append::signed,
    connection::open_writer,
    error::{closed, commit_error, store_error},
    inline::is_any_live,
    log::{Head, Log},
    writer::advance,
};

/// Pages on the way to the thread.
const AHEAD: usize = 4;

/// What the thread is sent: events, or the word that there are no more.
type Part = Option<Vec<RecordedEvent>>;

#[async_trait]
impl Import for SqliteStore {
    async fn import(&self, pages: Pages) -> Result<Imported, ImportError> {
        self.readers()?;
        let alone = self.importing().lock_owned().await;
        let (parts, taken) = mpsc::channel(AHEAD);
        let (answer, answered) = oneshot::channel();
        let options = self.options().clone();
        thread::spawn(move || {
            let outcome = run(&options, taken);
            drop(alone);
            let _ = answer.send(outcome);
        });
        let sent = send(pages, parts).await;
        // Until the thread has ended nothing is undone.
        let outcome = answered.await.map_err(|_| closed())?;
        sent.map_err(ImportError::Source)?;
        let imported = outcome?;
        advance(self.head(), imported.position);
        Ok(imported)
    }
}

/// Without the last word the thread undoes everything.
async fn send(mut pages: Pages, parts: mpsc::Sender<Part>) -> Result<(), StoreError> {
    while let Some(page) = pages.next().await {
        if parts.send(Some(page?.events)).await.is_err() {
            // The thread has ended, and says why.
            return Ok(());
        }
    }
    let _ = parts.send(None).await;
    Ok(())
}

fn run(options: &SqliteOptions, parts: mpsc::Receiver<Part>) -> Result<Imported, ImportError> {
    let connection = open_writer(options)?;
    let immediate = TransactionBehavior::Immediate;
    let tx = Transaction::new_unchecked(&connection, immediate).map_err(store_error)?;
    if !is_empty(&tx)? {
        return Err(ImportError::NotEmpty);
    }
    if is_any_live(&tx)? {
        return Err(ImportError::inline());
    }
    let imported = take_all(&tx, parts)?;
    failpoint!("sqlite.import_before_commit");
    tx.commit().map_err(commit_error)?;
    failpoint!("sqlite.import_after_commit");
    Ok(imported)
}

fn is_empty(connection: &Connection) -> Result<bool, StoreError> {
    const EMPTY: &str = "SELECT NOT EXISTS (SELECT * FROM events) \
         AND NOT EXISTS (SELECT * FROM appends) AND NOT EXISTS (SELECT * FROM claims)";
    connection.query_row(EMPTY, [], |row| row.get(0)).map_err(store_error)
}

fn take_all(
    connection: &Connection,
    mut parts: mpsc::Receiver<Part>,
) -> Result<Imported, ImportError> {
    const APPENDS: &str = include_str!("statements/appends_of_events.sql");
    let mut importing = Importing { log: Log::new(connection, None)?, run: None };
    let mut imported = Imported::default();
    while let Some(events) = parts.blocking_recv().ok_or_else(closed)? {
        for event in events {
            imported.take(&event)?;
            importing.take(event)?;
        }
        failpoint!("sqlite.import_page");
    }
    importing.end_run()?;
    importing.log.pending.flush()?;
    connection.execute(APPENDS, []).map_err(store_error)?;
    Ok(imported)
}

struct Importing<'c> {
    log: Log<'c>,
    run: Option<Run>,
}

/// Events of one stream that stand side by side.
struct Run {
    stream: i64,
    version: Version,
    position: Position,
    events: usize,
}

impl Importing<'_> {
    fn take(&mut self, event: RecordedEvent) -> Result<(), ImportError> {
        let (position, version) = (event.position, event.version);
        let head = self.log.stream_or_new(&event.stream)?;
        if head.version != Version::NONE && version != head.version.plus(1) {
            return Err(ImportError::hole(position));
        }
        let head = Head { version, ..head };
        let is_next = position.get() == self.log.head.get() + 1;
        self.extend_run(head, position, is_next)?;
        if event.event_type == TOMBSTONED {
            const END: &str = "INSERT INTO tombstones (stream) VALUES (?)";
            self.log.connection.execute(END, params![head.number]).map_err(store_error)?;
        }
        let (append_id, recorded_at) = (event.append_id, event.recorded_at.timestamp_micros());
        let (stream, event) = event.into_new();
        // Behind a gap SQLite would not count up to the position by itself.
        if !is_next {
            self.log.pending.flush()?;
        }
        self.log.write_event(head, position, append_id, event, recorded_at)?;
        if !is_next {
            self.log.pending.flush()?;
        }
        self.log.head = position;
        self.log.streams.put(stream, head);
        Ok(())
    }

    fn extend_run(
        &mut self,
        head: Head,
        position: Position,
        is_next: bool,
    ) -> Result<(), StoreError> {
        match &mut self.run {
            Some(run) if is_next && run.stream == head.number => run.events += 1,
            _ => {
                self.end_run()?;
                let Head { number: stream, version, .. } = head;
                self.run = Some(Run { stream, version, position, events: 1 });
            }
        }
        Ok(())
    }

    fn end_run(&mut self) -> Result<(), StoreError> {
        let Some(Run { stream, version, position, events }) = self.run.take() else {
            return Ok(());
        };
        let (version, position) = (signed(version.get())?, signed(position.get())?);
        let row = params![stream, version, position, signed(events as u64)?];
        self.log.insert_run.execute(row).map(|_| ()).map_err(store_error)
    }
}
