//! Readers with a checkpoint as they are usually written, each with its bug.

use std::collections::HashSet;

use sqlx::PgConnection;

use crate::log::{Gate, Log, numbers};

/// One statement for each poll; the checkpoint is the last position seen.
pub(crate) struct Naive {
    session: PgConnection,
    sql: String,
    checkpoint: i64,
    pub(crate) seen: Vec<i64>,
}

impl Naive {
    async fn new(log: &Log, sql: &str) -> Self {
        let (session, sql) = (log.session().await, log.sql(sql));
        Self { session, sql, checkpoint: 0, seen: Vec::new() }
    }

    /// N1: whatever stands behind the checkpoint.
    pub(crate) async fn after_the_last(log: &Log) -> Self {
        let sql = "SELECT position FROM {schema}.events WHERE position > $1 ORDER BY position";
        Self::new(log, sql).await
    }

    /// N2: only what is older than every transaction under way.
    pub(crate) async fn older_than_all(log: &Log) -> Self {
        let sql = "SELECT position FROM {schema}.events WHERE position > $1 \
             AND xmin::text::bigint < pg_snapshot_xmin(pg_current_snapshot())::text::bigint \
             ORDER BY position";
        Self::new(log, sql).await
    }

    /// N2 with transaction ids that came from elsewhere, from `{schema}.written_by`.
    pub(crate) async fn older_than_all_as_noted(log: &Log) -> Self {
        let sql = "SELECT position FROM {schema}.written_by WHERE position > $1 \
             AND xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY position";
        Self::new(log, sql).await
    }

    /// N3: the horizon and the rows in one statement, whose snapshot is older
    /// than the locks; behind a gate, so that it certainly is.
    pub(crate) async fn in_one_statement(log: &Log, gate: i32) -> Self {
        let (number, passage) = (log.number().await, Gate::passage(gate));
        let sql = format!(
            "WITH h AS MATERIALIZED (SELECT {passage}, ({{schema}}.horizon({number})).horizon) \
             SELECT position FROM {{schema}}.events, h \
             WHERE position > $1 AND position <= h.horizon ORDER BY position"
        );
        Self::new(log, &sql).await
    }

    pub(crate) async fn poll(&mut self) {
        let sql = self.sql.replace("$1", &self.checkpoint.to_string());
        let found = numbers(&mut self.session, &sql).await;
        self.take(found);
    }

    fn take(&mut self, found: Vec<i64>) {
        self.checkpoint = found.last().copied().unwrap_or(self.checkpoint);
        self.seen.extend(found);
    }

    /// What is in the log and was never seen, though all was read.
    pub(crate) async fn skipped(&self, log: &Log) -> Vec<i64> {
        let seen: HashSet<_> = self.seen.iter().collect();
        let all = log.positions().await;
        all.into_iter().filter(|position| !seen.contains(position)).collect()
    }
}

/// N4: the locks before the last position, and a pause in between.
pub(crate) struct LocksFirst {
    reader: Naive,
    number: i32,
    floor: i64,
}

impl LocksFirst {
    pub(crate) async fn new(log: &Log) -> Self {
        let sql = "SELECT position FROM {schema}.events WHERE position > $1 \
             AND position <= least((SELECT last_value FROM {schema}.positions), $2) \
             ORDER BY position";
        Self { reader: Naive::new(log, sql).await, number: log.number().await, floor: 0 }
    }

    pub(crate) async fn look_at_the_locks(&mut self) {
        let sql = format!(
            "SELECT coalesce(min((classid::bigint & 65535) << 32 | objid::bigint), {}) \
             FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
             AND classid::bigint >> 16 = {}",
            i64::MAX,
            self.number
        );
        self.floor = numbers(&mut self.reader.session, &sql).await[0];
    }

    pub(crate) async fn read(&mut self) {
        let sql = self.reader.sql.replace("$1", &self.reader.checkpoint.to_string());
        let sql = sql.replace("$2", &self.floor.to_string());
        let found = numbers(&mut self.reader.session, &sql).await;
        self.reader.take(found);
    }

    pub(crate) async fn skipped(&self, log: &Log) -> Vec<i64> {
        self.reader.skipped(log).await
    }
}

/// Takes a hole in the positions for an append under way, and loses patience
/// after so many polls; or never does.
pub(crate) struct HoleWatcher {
    reader: Naive,
    patience: Option<usize>,
    polls: usize,
}

impl HoleWatcher {
    pub(crate) async fn new(log: &Log, patience: Option<usize>) -> Self {
        Self { reader: Naive::after_the_last(log).await, patience, polls: 0 }
    }

    pub(crate) async fn poll(&mut self) {
        let sql = self.reader.sql.replace("$1", &self.reader.checkpoint.to_string());
        let mut found = numbers(&mut self.reader.session, &sql).await;
        let due = self.reader.checkpoint + 1;
        let whole = found.iter().zip(due..).take_while(|(found, due)| **found == *due).count();
        self.polls = if whole == found.len() { 0 } else { self.polls + 1 };
        if self.patience.is_none_or(|patience| self.polls <= patience) {
            found.truncate(whole);
        }
        self.reader.take(found);
    }

    pub(crate) fn seen(&self) -> &[i64] {
        &self.reader.seen
    }

    pub(crate) async fn skipped(&self, log: &Log) -> Vec<i64> {
        self.reader.skipped(log).await
    }
}
