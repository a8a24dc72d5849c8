//! The table `parts`: how far each has come, and who keeps it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use es_core::{Checkpoint, Name, Part, PartState, Position, Slices, StoreError, Taking};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{
    append::signed,
    error::{damaged, store_error},
};

/// The number of a build as SQLite counts; what is beyond that is the number of none.
pub(crate) fn number_of_build(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

/// How far a part has come, if it is there.
pub(crate) fn checkpoint(
    connection: &Connection,
    part: &Part,
) -> Result<Option<Checkpoint>, StoreError> {
    const FIND: &str = "SELECT epoch, position FROM parts \
         WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ?";
    let Part { model, build, slices } = part;
    let key = params![model.as_str(), number_of_build(*build), slices.first, slices.last];
    let found = connection.prepare_cached(FIND).and_then(|mut select| {
        let columns = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        select.query_row(key, columns).optional()
    });
    let found: Option<(i64, i64)> = found.map_err(store_error)?;
    found.map(|(epoch, position)| checkpoint_of(epoch, position)).transpose()
}

/// Puts `next` in the place of `seen`, and begins the lease anew; whether `seen`
/// stood there.
pub(crate) fn advance(
    connection: &Connection,
    part: &Part,
    seen: Checkpoint,
    next: Checkpoint,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    const ADVANCE: &str = "UPDATE parts SET epoch = ?, position = ?, leased_at = ? \
         WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ? \
         AND epoch = ? AND position = ?";
    let Part { model, build, slices } = part;
    let row = params![
        signed(next.epoch)?,
        signed(next.position.get())?,
        now.timestamp_micros(),
        model.as_str(),
        number_of_build(*build),
        slices.first,
        slices.last,
        signed(seen.epoch)?,
        signed(seen.position.get())?,
    ];
    let moved = connection.prepare_cached(ADVANCE).and_then(|mut update| update.execute(row));
    Ok(moved.map_err(store_error)? > 0)
}

/// Takes a part, if it is there and may be taken.
pub(crate) fn take(
    connection: &Connection,
    part: &Part,
    (owner, lease, taking): (&Name, Duration, Taking),
    now: DateTime<Utc>,
) -> Result<Option<Checkpoint>, StoreError> {
    const TAKE: &str = "UPDATE parts SET epoch = ?, owner = ?, lease = ?, leased_at = ? \
         WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ?";
    let Some(found) = state(connection, part, now)? else { return Ok(None) };
    let is_free = found.is_free() || found.owner.as_ref() == Some(owner);
    if taking != Taking::Anyway && !is_free {
        return Ok(None);
    }
    let taken = Checkpoint { epoch: after(found.checkpoint.epoch)?, ..found.checkpoint };
    let row = params![
        signed(taken.epoch)?,
        owner.as_str(),
        micros(lease),
        now.timestamp_micros(),
        part.model.as_str(),
        number_of_build(part.build),
        part.slices.first,
        part.slices.last,
    ];
    let done = connection.prepare_cached(TAKE).and_then(|mut update| update.execute(row));
    done.map_err(store_error)?;
    Ok(Some(taken))
}

fn state(
    connection: &Connection,
    part: &Part,
    now: DateTime<Utc>,
) -> Result<Option<PartState>, StoreError> {
    const STATE: &str = "SELECT first_slice, last_slice, epoch, position, owner, lease, leased_at \
         FROM parts WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ?";
    let Part { model, build, slices } = part;
    let key = params![model.as_str(), number_of_build(*build), slices.first, slices.last];
    let mut select = connection.prepare_cached(STATE).map_err(store_error)?;
    let mut rows = select.query(key).map_err(store_error)?;
    let found = rows.next().map_err(store_error)?;
    found.map(|row| state_of(row, 0, now)).transpose()
}

/// Begins the lease anew; whether the part still has this owner and epoch.
pub(crate) fn renew(
    connection: &Connection,
    part: &Part,
    (owner, epoch, lease): (&Name, u64, Duration),
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    const RENEW: &str = "UPDATE parts SET lease = ?, leased_at = ? \
         WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ? \
         AND owner = ? AND epoch = ?";
    let row = params![
        micros(lease),
        now.timestamp_micros(),
        part.model.as_str(),
        number_of_build(part.build),
        part.slices.first,
        part.slices.last,
        owner.as_str(),
        signed(epoch)?,
    ];
    let renewed = connection.prepare_cached(RENEW).and_then(|mut update| update.execute(row));
    Ok(renewed.map_err(store_error)? > 0)
}

/// A part of which the columns stand from this one on: slices, epoch, position,
/// owner, lease, leased_at.
pub(crate) fn state_of(
    row: &Row<'_>,
    at: usize,
    now: DateTime<Utc>,
) -> Result<PartState, StoreError> {
    let number = |column: usize| row.get::<_, i64>(at + column).map_err(store_error);
    let slice = |column| u16::try_from(number(column)?).map_err(damaged);
    let mut state = PartState::new(Slices { first: slice(0)?, last: slice(1)? });
    state.checkpoint = checkpoint_of(number(2)?, number(3)?)?;
    let owner: Option<String> = row.get(at + 4).map_err(store_error)?;
    state.owner = owner.map(|owner| Name::new(owner).map_err(damaged)).transpose()?;
    let gone = now.timestamp_micros().saturating_sub(number(6)?).max(0);
    let left = u64::try_from(number(5)?.saturating_sub(gone)).unwrap_or_default();
    state.leased = Duration::from_micros(left);
    Ok(state)
}

pub(crate) fn checkpoint_of(epoch: i64, position: i64) -> Result<Checkpoint, StoreError> {
    let number = |number| u64::try_from(number).map_err(damaged);
    Ok(Checkpoint { epoch: number(epoch)?, position: Position::new(number(position)?) })
}

/// The next epoch.
pub(crate) fn after(epoch: u64) -> Result<u64, StoreError> {
    epoch.checked_add(1).ok_or_else(|| damaged("the epochs are used up"))
}

/// A lease, which ends in any case: after some hundred thousand years.
fn micros(lease: Duration) -> i64 {
    i64::try_from(lease.as_micros()).unwrap_or(i64::MAX)
}
