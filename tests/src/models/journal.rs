//! Two free-form projections, each with a table of its own.

use cqrs::{Projection, ProjectionError};
use es_core::Recorded;
use es_postgres::PostgresTx;
use es_sqlite::SqliteTx;

use super::parcels::{Moved, is_broken_for};

/// A transaction that can write to tables with the columns `stream` and `number`.
pub trait Journal: Send {
    /// Adds a line.
    fn add(&mut self, table: &'static str, stream: String, number: u64);
    /// Deletes all lines.
    fn clear(&mut self, table: &'static str);
}

impl Journal for SqliteTx {
    fn add(&mut self, table: &'static str, stream: String, number: u64) {
        self.run(move |connection| {
            let sql = format!("INSERT INTO {table} (stream, number) VALUES (?, ?)");
            connection.prepare_cached(&sql)?.execute((stream, number.cast_signed())).map(drop)
        });
    }

    fn clear(&mut self, table: &'static str) {
        self.run(move |connection| {
            connection.execute(&format!("DELETE FROM {table}"), []).map(drop)
        });
    }
}

impl Journal for PostgresTx {
    fn add(&mut self, table: &'static str, stream: String, number: u64) {
        let sql = match table {
            "ledger" => "INSERT INTO ledger (stream, number) VALUES ($1, $2)",
            _ => "INSERT INTO lines (stream, number) VALUES ($1, $2)",
        };
        self.run(sqlx::query(sql).bind(stream).bind(number.cast_signed()));
    }

    fn clear(&mut self, table: &'static str) {
        let sql = if table == "ledger" { "DELETE FROM ledger" } else { "DELETE FROM lines" };
        self.run(sqlx::query(sql));
    }
}

/// In one part, so that it can be built anew in its place.
#[derive(Debug, Clone, Copy)]
pub struct Ledger;

impl<T: Journal> Projection<T> for Ledger {
    const NAME: &'static str = "ledger";
    type Event = Moved;

    async fn project(&self, moved: Recorded<'_, Moved>, tx: &mut T) -> Result<(), ProjectionError> {
        line("ledger", moved, tx)
    }

    async fn reset(&self, tx: &mut T) -> Result<(), ProjectionError> {
        tx.clear("ledger");
        Ok(())
    }
}

/// In several parts.
#[derive(Debug, Clone, Copy)]
pub struct Lines;

impl<T: Journal> Projection<T> for Lines {
    const NAME: &'static str = "lines";
    type Event = Moved;

    async fn project(&self, moved: Recorded<'_, Moved>, tx: &mut T) -> Result<(), ProjectionError> {
        line("lines", moved, tx)
    }

    async fn reset(&self, tx: &mut T) -> Result<(), ProjectionError> {
        tx.clear("lines");
        Ok(())
    }
}

fn line(
    table: &'static str,
    moved: Recorded<'_, Moved>,
    tx: &mut impl Journal,
) -> Result<(), ProjectionError> {
    if is_broken_for(moved.event, 107, 3) {
        return Err(ProjectionError::handler("it is broken, as the test wants"));
    }
    tx.add(table, moved.stream.to_string(), moved.event.number);
    Ok(())
}
