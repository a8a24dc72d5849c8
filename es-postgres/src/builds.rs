//! Builds of read models, their parts, and who keeps them.

use std::time::Duration;

use async_trait::async_trait;
use es_core::{
    Build, BuildChange, BuildStep, Builds, Checkpoint, Name, Part, PartState, Position, Slices,
    StoreError, StoreErrorKind, Taking,
};
use sqlx::{Row, postgres::PgRow};

use crate::{
    PostgresStore,
    call::Call,
    error::{damaged, signed, store_error, unsigned, write_error},
    handover,
};

/// The longest lease, in seconds: a thousand years, which a timestamp holds.
const LONGEST: f64 = 1_000.0 * 365.0 * 24.0 * 60.0 * 60.0;
/// Most rows of a discarded build that one statement deletes.
const DELETED: i64 = 10_000;
/// Less than any kind of rows.
const BEFORE_ALL: i16 = -1;

const DISCARD: &str = include_str!("statements/discard.sql");

#[async_trait]
impl Builds for PostgresStore {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        const BUILDS: &str = "SELECT b.model, b.number, b.revision, b.serves, \
             p.first_slice, p.last_slice, p.epoch, p.position, p.owner, \
             greatest(0, extract(epoch FROM p.until - clock_timestamp()))::float8 \
             FROM {schema}.builds AS b LEFT JOIN {schema}.parts AS p \
             ON p.model = b.model AND p.build = b.number \
             WHERE b.model = ANY ($1) ORDER BY b.model, b.number, p.first_slice";
        let shared = self.shared();
        shared.allows_checkpoints()?;
        let names: Vec<_> = models.iter().map(|name| name.as_str().to_owned()).collect();
        let rows = shared.readers.rows(|| Call::new(shared.schema.sql(BUILDS)).bind(names.clone()));
        let mut builds: Vec<Build> = Vec::new();
        for row in rows.await? {
            let build = build(&row)?;
            match builds.last_mut() {
                Some(last) if last.model == build.model && last.number == build.number => {
                    last.parts.extend(build.parts);
                }
                _ => builds.push(build),
            }
        }
        let place = |build: &Build| models.iter().position(|name| *name == build.model);
        builds.sort_by_key(place);
        Ok(builds)
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        change.check()?;
        self.shared().allows_checkpoints()?;
        self.make(&change).await?;
        match change.what {
            BuildStep::Discard => self.delete(&change.model, change.build).await,
            BuildStep::Remove => {
                for build in self.builds(std::slice::from_ref(&change.model)).await? {
                    self.delete(&build.model, build.number).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        const TAKE: &str = "UPDATE {schema}.parts SET epoch = epoch + 1, owner = $5, \
             lease = make_interval(secs => $6), \
             until = clock_timestamp() + make_interval(secs => $6) \
             WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4 \
             AND ($7 OR owner = $5 OR until <= clock_timestamp()) RETURNING epoch, position";
        const TAKE_IDLE: &str = "WITH idle AS MATERIALIZED (
                SELECT first_slice FROM {schema}.parts
                WHERE model = $1 AND build = $2 AND first_slice = $3 AND last_slice = $4
                    AND ($7 OR owner = $5 OR until <= clock_timestamp())
                FOR NO KEY UPDATE SKIP LOCKED
            )
            UPDATE {schema}.parts AS p SET epoch = epoch + 1, owner = $5,
                lease = make_interval(secs => $6),
                until = clock_timestamp() + make_interval(secs => $6)
            FROM idle
            WHERE model = $1 AND build = $2 AND p.first_slice = $3 AND last_slice = $4
            RETURNING epoch, position";
        self.shared().allows_checkpoints()?;
        let Some(number) = number(part.build) else { return Ok(None) };
        let sql = if taking == Taking::IfIdle { TAKE_IDLE } else { TAKE };
        let call = Call::new(self.shared().schema.sql(sql))
            .bind(part.model.as_str().to_owned())
            .bind(number)
            .bind(i32::from(part.slices.first))
            .bind(i32::from(part.slices.last))
            .bind(owner.as_str().to_owned())
            .bind(seconds(lease))
            .bind(taking == Taking::Anyway);
        let taken = self.written(call).await?;
        taken.first().map(|row| checkpoint(row, 0)).transpose()
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        // What is locked is being written, or taken, which the next look tells; but what is
        // handed over is waited for.
        const RENEW: &str = "WITH asked AS MATERIALIZED (
                SELECT p.model, p.build, p.first_slice, p.last_slice, p.epoch
                FROM unnest($2::text[], $3::bigint[], $4::integer[], $5::integer[], $6::bigint[])
                    AS h (model, build, first_slice, last_slice, epoch)
                JOIN {schema}.parts AS p ON p.model = h.model COLLATE \"C\" AND p.build = h.build
                    AND p.first_slice = h.first_slice AND p.last_slice = h.last_slice
                    AND p.epoch = h.epoch AND p.owner = $1
            ), held AS MATERIALIZED (
                SELECT p.model, p.build, p.first_slice, p.last_slice
                FROM asked JOIN {schema}.parts AS p USING (model, build, first_slice, last_slice)
                WHERE p.epoch = asked.epoch AND p.owner = $1
                ORDER BY p.model, p.build, p.first_slice FOR NO KEY UPDATE OF p {locked}
            ), renewed AS (
                UPDATE {schema}.parts AS p SET lease = make_interval(secs => $7),
                    until = clock_timestamp() + make_interval(secs => $7)
                FROM held AS h
                WHERE p.model = h.model AND p.build = h.build AND p.first_slice = h.first_slice
                    AND p.last_slice = h.last_slice
            )
            SELECT model, build, first_slice, last_slice FROM asked";
        self.shared().allows_checkpoints()?;
        let (mut models, mut builds, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for (part, epoch) in held {
            let (Some(build), Some(epoch)) = (number(part.build), number(*epoch)) else { continue };
            models.push(part.model.as_str().to_owned());
            builds.push(build);
            first.push(i32::from(part.slices.first));
            last.push(i32::from(part.slices.last));
            epochs.push(epoch);
        }
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let locked = if lease.is_zero() { "" } else { "SKIP LOCKED" };
        let call = Call::new(self.shared().schema.sql(&RENEW.replace("{locked}", locked)))
            .bind(owner.as_str().to_owned())
            .bind(models)
            .bind(builds)
            .bind(first)
            .bind(last)
            .bind(epochs)
            .bind(seconds(lease));
        let rows = self.written(call).await?;
        let still = rows.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        let held = held.iter().map(|(part, _)| part);
        Ok(held.filter(|part| still.contains(part)).cloned().collect())
    }

    async fn keep_inline(&self, model: &Name) -> Result<(), StoreError> {
        handover::keep_inline(self.shared(), model).await
    }
}

impl PostgresStore {
    async fn make(&self, change: &BuildChange) -> Result<(), StoreError> {
        const CHANGE: &str = "SELECT {schema}.change_build({store}, $1, $2, $3, $4, $5, $6, $7, \
             $8, $9, $10, $11)";
        let empty = (Vec::new(), Vec::new());
        let (what, revision, seen, into, start) = match &change.what {
            BuildStep::Begin { revision, parts, from } => {
                ("begin", *revision, &empty.0, parts, *from)
            }
            BuildStep::Divide { from, into } => ("divide", 0, from, into, Position::START),
            BuildStep::Serve { parts, head } => ("serve", 0, parts, &empty.1, *head),
            BuildStep::Discard => ("discard", 0, &empty.0, &empty.1, Position::START),
            BuildStep::Remove => ("remove", 0, &empty.0, &empty.1, Position::START),
            _ => return Err(refused(change, StoreErrorKind::Unsupported, "it is not known here")),
        };
        let first = |one: &Slices| i32::from(one.first);
        let last = |one: &Slices| i32::from(one.last);
        let number = |number: u64| signed(number);
        let epochs = seen.iter().map(|(_, seen)| number(seen.epoch));
        let positions = seen.iter().map(|(_, seen)| number(seen.position.get()));
        let call = Call::new(self.shared().schema.sql(CHANGE))
            .bind(what)
            .bind(change.model.as_str().to_owned())
            .bind(signed(change.build)?)
            .bind(revision.cast_signed())
            .bind(seen.iter().map(|(slices, _)| first(slices)).collect::<Vec<_>>())
            .bind(seen.iter().map(|(slices, _)| last(slices)).collect::<Vec<_>>())
            .bind(epochs.collect::<Result<Vec<_>, _>>()?)
            .bind(positions.collect::<Result<Vec<_>, _>>()?)
            .bind(into.iter().map(first).collect::<Vec<_>>())
            .bind(into.iter().map(last).collect::<Vec<_>>())
            .bind(i64::try_from(start.get()).unwrap_or(i64::MAX));
        let rows = self.written(call).await?;
        let row = rows.first().ok_or_else(|| damaged("a change had no outcome"))?;
        match row.try_get::<&str, _>(0).map_err(store_error)? {
            "changed" => Ok(()),
            "behind" => {
                let why = "it has not come as far as the one that answers";
                Err(refused(change, StoreErrorKind::Busy, why))
            }
            "outdated" => {
                let why = "a change of builds needs transactions that are READ COMMITTED";
                Err(refused(change, StoreErrorKind::Invalid, why))
            }
            _ => {
                let why = "it is not as it was, look at the builds again";
                Err(refused(change, StoreErrorKind::Fenced, why))
            }
        }
    }

    /// Deletes the rows of a build that has no parts any more, some at a time so that
    /// nobody is kept waiting; then the build. Killed on the way, the build is left
    /// without parts, to be discarded again.
    async fn delete(&self, model: &Name, build: u64) -> Result<(), StoreError> {
        const BUILD: &str = "DELETE FROM {schema}.builds AS b \
             WHERE b.model = $1 AND b.number = $2 AND NOT EXISTS (SELECT FROM {schema}.parts AS p \
             WHERE p.model = b.model AND p.build = b.number)";
        let schema = &self.shared().schema;
        let key = |sql: &str| {
            let call = Call::new(schema.sql(sql)).bind(model.as_str().to_owned());
            Ok::<_, StoreError>(call.bind(signed(build)?))
        };
        let (mut kind, mut tenant, mut last) = (BEFORE_ALL, String::new(), Vec::<u8>::new());
        loop {
            let call = key(DISCARD)?.bind(kind).bind(tenant).bind(last).bind(DELETED);
            let rows = self.written(call).await?;
            let Some(row) = rows.first() else { break };
            kind = row.try_get(0).map_err(store_error)?;
            tenant = row.try_get(1).map_err(store_error)?;
            last = row.try_get(2).map_err(store_error)?;
        }
        self.written(key(BUILD)?).await.map(|_| ())
    }

    /// The rows of a statement that writes. A connection of which nothing is known does
    /// not come back.
    async fn written(&self, call: Call) -> Result<Vec<PgRow>, StoreError> {
        let projectors = &self.shared().projectors;
        let mut lent = projectors.lend().await?;
        let writing = async { call.fetch_all(&mut *lent).await.map_err(write_error) };
        let written = projectors.written_in_time(writing).await;
        match &written {
            Err(error) if error.kind() == StoreErrorKind::Unknown => lent.broke(),
            _ => lent.give_back(),
        }
        written
    }
}

fn build(row: &PgRow) -> Result<Build, StoreError> {
    let text = |at: usize| row.try_get::<&str, _>(at).map_err(store_error);
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(store_error);
    let mut build = Build::new(Name::new(text(0)?).map_err(damaged)?, unsigned(number(1)?)?);
    build.revision = number(2)?.cast_unsigned();
    build.serves = row.try_get(3).map_err(store_error)?;
    if row.try_get::<Option<i32>, _>(4).map_err(store_error)?.is_some() {
        let mut part = PartState::new(slices(row, 4)?);
        part.checkpoint = checkpoint(row, 6)?;
        let owner: Option<&str> = row.try_get(8).map_err(store_error)?;
        part.owner = owner.map(Name::new).transpose().map_err(damaged)?;
        let left: f64 = row.try_get(9).map_err(store_error)?;
        part.leased = Duration::try_from_secs_f64(left).map_err(damaged)?;
        build.parts.push(part);
    }
    Ok(build)
}

fn part(row: &PgRow) -> Result<Part, StoreError> {
    let model: &str = row.try_get(0).map_err(store_error)?;
    let build = unsigned(row.try_get(1).map_err(store_error)?)?;
    Ok(Part::new(Name::new(model).map_err(damaged)?, build, slices(row, 2)?))
}

/// Slices, from this column and the next.
fn slices(row: &PgRow, at: usize) -> Result<Slices, StoreError> {
    let slice = |at: usize| {
        let slice: i32 = row.try_get(at).map_err(store_error)?;
        u16::try_from(slice).map_err(damaged)
    };
    Ok(Slices { first: slice(at)?, last: slice(at + 1)? })
}

/// A checkpoint, from this column and the next.
fn checkpoint(row: &PgRow, at: usize) -> Result<Checkpoint, StoreError> {
    let number = |at: usize| unsigned(row.try_get(at).map_err(store_error)?);
    Ok(Checkpoint { epoch: number(at)?, position: Position::new(number(at + 1)?) })
}

/// What no table holds is not there.
pub(crate) fn number(number: u64) -> Option<i64> {
    i64::try_from(number).ok()
}

pub(crate) fn seconds(lease: Duration) -> f64 {
    lease.as_secs_f64().min(LONGEST)
}

fn refused(change: &BuildChange, kind: StoreErrorKind, why: &str) -> StoreError {
    StoreError::new(kind, format!("build {} of {}: {why}", change.build, change.model))
}
