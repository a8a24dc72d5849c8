//! Many batches in one statement, one round trip and one commit: those that ask
//! for nothing but the versions of their streams, which is nearly all. Whatever
//! is not as hoped for is undone or left out, and goes through `append_one`.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use es_core::{Appended, Batch, Expected, Position, StoreError, StreamId, Version, Write, Written};
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{
    batch::{Buckets, Events, expectation},
    call::Call,
    error::{damaged, store_error, unsigned},
    schema::Schema,
    statements::Statements,
};

/// Whether a batch can be part of such a statement.
pub(crate) fn is_simple(batch: &Batch) -> bool {
    let ids = || batch.writes.iter().filter_map(|write| write.append_id);
    let distinct: HashSet<_> = ids().collect();
    batch.unless.is_empty()
        && batch.claims.is_empty()
        && batch.writes.iter().all(|write| !write.events.is_empty())
        && distinct.len() == ids().count()
        && expectations(batch).is_some()
}

/// What the batch expects of each of its streams, and how much it adds; `None`
/// if that cannot be said in one number.
fn expectations(batch: &Batch) -> Option<BTreeMap<&StreamId, (Expected, usize)>> {
    let mut all: BTreeMap<&StreamId, (Expected, usize)> = BTreeMap::new();
    for Write { stream, expected, events, .. } in &batch.writes {
        let (before, added) = all.entry(stream).or_insert((Expected::Any, 0));
        *before = both(*before, of_the_first(*expected, *added)?)?;
        *added += events.len();
    }
    Some(all)
}

/// What a write behind so many events of its batch expects of the stream before
/// them.
fn of_the_first(expected: Expected, added: usize) -> Option<Expected> {
    match expected {
        _ if added == 0 => Some(expected),
        Expected::Any | Expected::Exists => Some(Expected::Any),
        Expected::NoStream => None,
        Expected::Exact(version) => {
            Some(Expected::Exact(Version::new(version.get().checked_sub(added as u64)?)))
        }
    }
}

fn both(one: Expected, other: Expected) -> Option<Expected> {
    match (one, other) {
        (Expected::Any, expected) | (expected, Expected::Any) => Some(expected),
        (one, other) => (one == other).then_some(one),
    }
}

/// A statement under construction. No two of its batches touch one stream.
#[derive(Debug, Default)]
pub(crate) struct Simple {
    heads: Vec<Head>,
    events: Events,
    appends: Vec<Option<Uuid>>,
    buckets: Buckets,
    /// Whether a batch has several streams, of which none may be left out.
    is_strict: bool,
    batches: Vec<Vec<Place>>,
}

#[derive(Debug)]
struct Head {
    stream: StreamId,
    added: i64,
    expected: i64,
    /// The first append to it.
    append: Option<Uuid>,
}

/// Where a write stands: in which head, and how far behind its version before.
#[derive(Debug)]
struct Place {
    head: usize,
    end: u64,
    events: usize,
}

impl Simple {
    /// Adds a batch that [`is_simple`].
    pub(crate) fn add(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let first = self.heads.len();
        let expectations = expectations(batch).unwrap_or_default();
        let identified = batch.writes.iter().rev();
        let ids: HashMap<_, _> =
            identified.filter_map(|write| Some((&write.stream, write.append_id?.uuid()))).collect();
        for (stream, (expected, added)) in &expectations {
            self.heads.push(Head {
                stream: (*stream).clone(),
                added: i64::try_from(*added).map_err(damaged)?,
                expected: expectation(*expected)?,
                append: ids.get(*stream).copied(),
            });
        }
        self.is_strict |= expectations.len() > 1;
        let mut ends = vec![0; expectations.len()];
        let mut places = Vec::with_capacity(batch.writes.len());
        for Write { append_id, stream, events, .. } in &batch.writes {
            let at = expectations.keys().position(|one| *one == stream).unwrap_or_default();
            for (place, event) in events.iter().enumerate() {
                self.events.push(first + at + 1, ends[at] + place + 1, event)?;
                self.appends.push(append_id.map(|id| id.uuid()));
                self.buckets.share(stream.tenant().as_str(), event);
            }
            ends[at] += events.len();
            places.push(Place { head: first + at, end: ends[at] as u64, events: events.len() });
        }
        self.batches.push(places);
        Ok(())
    }

    /// The statement, and how to read its answer.
    pub(crate) fn statement(self, statements: &Statements, now: DateTime<Utc>) -> (Call, Answers) {
        let has_appends = self.appends.iter().any(Option::is_some);
        let sql = statements.with([
            has_appends,
            self.events.have_correlations(),
            self.events.have_tags(),
        ]);
        let (buckets, _) = self.buckets.in_order();
        let heads = || self.heads.iter();
        let query = Call::new(sql)
            .bind(now)
            .bind(buckets)
            .bind(heads().map(|head| head.stream.tenant().as_str().to_owned()).collect::<Vec<_>>())
            .bind(heads().map(|head| head.stream.name().to_owned()).collect::<Vec<_>>())
            .bind(heads().map(|head| head.added).collect::<Vec<_>>())
            .bind(heads().map(|head| head.expected).collect::<Vec<_>>())
            .bind(self.is_strict)
            .bind(if has_appends { self.appends } else { Vec::new() });
        let answers = Answers { heads: self.heads.len(), batches: self.batches };
        let ids: Vec<_> = self.heads.iter().map(|head| head.append).collect();
        (self.events.bind(query).bind(ids), answers)
    }
}

/// The statement, with and without the parts that few events ask for.
pub(crate) fn statements(schema: &Schema) -> Statements {
    Statements::new(
        schema,
        include_str!("statements/simple.sql"),
        ["append", "correlation", "tags"],
    )
}

/// How to read the answer to a statement.
#[derive(Debug)]
pub(crate) struct Answers {
    heads: usize,
    batches: Vec<Vec<Place>>,
}

impl Answers {
    /// For each batch what it did; `None` if its stream was not as expected.
    pub(crate) fn read(self, row: &PgRow) -> Result<Vec<Option<Appended>>, StoreError> {
        let column = |at: usize| row.try_get::<Option<Vec<i64>>, _>(at).map_err(store_error);
        let (placed, bases) = (column(0)?.unwrap_or_default(), column(1)?.unwrap_or_default());
        let mut positions = column(2)?.unwrap_or_default().into_iter();
        let mut base_of = vec![None; self.heads];
        for (head, base) in placed.into_iter().zip(bases) {
            let at = usize::try_from(head - 1).map_err(damaged)?;
            let known = base_of.get_mut(at).ok_or_else(|| damaged("an answer has another head"))?;
            *known = Some(unsigned(base)?);
        }
        let mut all = Vec::with_capacity(self.batches.len());
        for places in self.batches {
            let mut writes = Vec::with_capacity(places.len());
            for Place { head, end, events } in places {
                let Some(base) = base_of[head] else { continue };
                let last =
                    positions.nth(events - 1).ok_or_else(|| damaged("a position is missing"))?;
                let position = Position::new(unsigned(last)?);
                writes.push(Written { version: Version::new(base + end), position });
            }
            let last = writes.last().map(|write| write.position);
            all.push(last.map(|position| Appended { writes, position, repeated: false }));
        }
        Ok(all)
    }
}
