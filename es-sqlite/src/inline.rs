//! Read models whose rows change in the writer's transaction, with each append. They are
//! folded before the first event is written, so that a batch they refuse leaves nothing.

use std::{mem, sync::Arc};

use chrono::{DateTime, Utc};
use es_core::{
    AppendError, Batch, Folded, INLINE, INLINE_LEASE, Inline, InlineModel, Kind, Name, Part,
    Position, RecordedEvent, Row, RowId, Slices, StoreError, Taking, Version, limits,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    append::{select, signed},
    error::{damaged, store_error},
    log::Log,
    lookup::{kind_number, serving},
    names::NamesByNumber,
    parts::{self, number_of_build, state_of},
    row::COLUMNS,
    views::put,
};

/// What the writer knows of such models.
#[derive(Debug)]
pub(crate) struct Inlined {
    inline: Option<Arc<dyn Inline>>,
    /// Those that change with each append now; `None` if that has to be looked up.
    live: Option<Arc<[Live]>>,
    /// What the open transaction has made of them.
    folded: Vec<Folded>,
}

/// A part of a model that changes with each append.
#[derive(Debug)]
struct Live {
    part: Part,
    revision: u64,
    types: Vec<Name>,
}

impl Inlined {
    pub(crate) fn new(inline: Option<Arc<dyn Inline>>) -> Self {
        Self { inline, live: None, folded: Vec::new() }
    }

    /// Which models change has to be looked up again.
    pub(crate) fn forget(&mut self) {
        self.live = None;
    }

    pub(crate) fn roll_back(&mut self) {
        self.folded.clear();
    }

    /// Tells what was committed.
    pub(crate) fn tell(&mut self) {
        let folded = mem::take(&mut self.folded);
        if let Some(inline) = &self.inline
            && !folded.is_empty()
        {
            inline.committed(&folded);
        }
    }

    fn live(&mut self, connection: &Connection) -> Result<Arc<[Live]>, StoreError> {
        match &self.live {
            Some(live) => Ok(Arc::clone(live)),
            None => Ok(Arc::clone(self.live.insert(live(connection)?.into()))),
        }
    }
}

impl Log<'_> {
    /// What the batch makes of the models that change with it.
    pub(crate) fn fold(
        &mut self,
        batch: &Batch,
        now: DateTime<Utc>,
    ) -> Result<Vec<Folded>, AppendError> {
        let live = self.inlined.live(self.connection)?;
        let concerned: Vec<_> = live.iter().filter(|live| live.is_concerned_by(batch)).collect();
        if concerned.is_empty() {
            return Ok(Vec::new());
        }
        let head = self.head;
        let version =
            |stream: &_| Ok(self.stream(stream)?.map_or(Version::NONE, |head| head.version));
        let events = batch.to_be_recorded(head, version, now)?;
        let mut folded = Vec::with_capacity(concerned.len());
        for Live { part, revision, .. } in concerned {
            let known = self.inlined.inline.as_deref().and_then(|inline| {
                let model = inline.model(&part.model)?;
                Some((inline, model))
            });
            let (inline, model) = known.ok_or_else(|| stranger(&part.model))?;
            model.check_revision(*revision)?;
            let events: Vec<_> = model.of(&events).cloned().collect();
            folded.extend(fold_part(self.connection, inline, model, part.clone(), &events)?);
        }
        Ok(folded)
    }

    pub(crate) fn put_folded(&mut self, folded: Vec<Folded>) -> Result<(), StoreError> {
        for one in &folded {
            write(self.connection, one)?;
        }
        self.inlined.folded.extend(folded);
        Ok(())
    }
}

impl Live {
    fn is_concerned_by(&self, batch: &Batch) -> bool {
        let mut events = batch.writes.iter().flat_map(|write| &write.events);
        events.any(|event| self.types.contains(&event.event_type))
    }
}

/// Whether a model changes with each append.
pub(crate) fn is_any_live(connection: &Connection) -> Result<bool, StoreError> {
    Ok(!live(connection)?.is_empty())
}

/// A lease of nothing ends it: whoever takes the part has to do nothing else.
fn live(connection: &Connection) -> Result<Vec<Live>, StoreError> {
    const LIVE: &str = "SELECT p.model, p.build, p.first_slice, p.last_slice, b.revision, i.types \
         FROM inline_models i JOIN parts p ON p.model = i.model \
         JOIN builds b ON b.model = p.model AND b.number = p.build \
         WHERE p.owner = ? AND p.lease > 0 ORDER BY p.model, p.build, p.first_slice";
    let mut select = connection.prepare_cached(LIVE).map_err(store_error)?;
    let mut rows = select.query([INLINE.as_str()]).map_err(store_error)?;
    let mut live = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let number = |column| row.get::<_, i64>(column).map_err(store_error);
        let slice = |column| u16::try_from(number(column)?).map_err(damaged);
        let text = |column| row.get::<_, String>(column).map_err(store_error);
        let build = u64::try_from(number(1)?).map_err(damaged)?;
        let slices = Slices { first: slice(2)?, last: slice(3)? };
        live.push(Live {
            part: Part::new(Name::new(text(0)?).map_err(damaged)?, build, slices),
            revision: number(4)?.cast_unsigned(),
            types: serde_json::from_str(&text(5)?).map_err(damaged)?,
        });
    }
    Ok(live)
}

fn stranger(model: &Name) -> AppendError {
    let why = "this program does not know it: open the store with it, or let workers keep it";
    AppendError::Model { model: model.clone(), why: why.to_owned() }
}

fn fold_part(
    connection: &Connection,
    inline: &dyn Inline,
    model: &InlineModel,
    part: Part,
    events: &[RecordedEvent],
) -> Result<Option<Folded>, AppendError> {
    let of = part.clone();
    inline.fold_part(model, part, events, |ids| find(connection, &of, ids))
}

fn find(connection: &Connection, part: &Part, ids: &[RowId]) -> Result<Vec<Row>, StoreError> {
    const FIND: &str = "SELECT value FROM view_rows \
         WHERE model = ? AND build = ? AND kind = ? AND tenant = ? AND key = ?";
    let mut select = connection.prepare_cached(FIND).map_err(store_error)?;
    let (build, kind) = (number_of_build(part.build), kind_number(Kind::Row));
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let key = params![part.model.as_str(), build, kind, id.tenant.as_str(), id.key];
        let value = select.query_row(key, |row| row.get::<_, Vec<u8>>(0)).optional();
        if let Some(value) = value.map_err(store_error)? {
            found.push(Row { id: id.clone(), value: Some(value.into()) });
        }
    }
    Ok(found)
}

fn write(connection: &Connection, folded: &Folded) -> Result<(), StoreError> {
    const MOVE: &str = "UPDATE parts SET position = ? \
         WHERE model = ? AND build = ? AND first_slice = ? AND last_slice = ?";
    let Folded { part, rows, position } = folded;
    put(connection, part, Kind::Row, rows)?;
    let Part { model, build, slices } = part;
    let (position, build) = (signed(position.get())?, number_of_build(*build));
    let row = params![position, model.as_str(), build, slices.first, slices.last];
    let moved = connection.prepare_cached(MOVE).and_then(|mut update| update.execute(row));
    moved.map(|_| ()).map_err(store_error)
}

/// Folds what a model has not seen yet, and lets it change with each append from then on:
/// in one transaction, as all that happens here.
pub(crate) fn keep(
    connection: &Connection,
    inline: &dyn Inline,
    model: &InlineModel,
    now: DateTime<Utc>,
) -> Result<Vec<Folded>, StoreError> {
    const BUILD: &str = "SELECT revision, \
         EXISTS (SELECT 1 FROM view_rows WHERE model = ?1 AND build = ?2 AND kind = ?3) \
         FROM builds WHERE model = ?1 AND number = ?2";
    const TYPES: &str = "INSERT OR REPLACE INTO inline_models (model, types) VALUES (?, ?)";
    let build = serving(connection, &model.name)?.ok_or_else(|| model.has_no_build())?;
    let key = params![model.name.as_str(), build, kind_number(Kind::Parked)];
    let columns = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?));
    let (revision, has_parked) = connection.query_row(BUILD, key, columns).map_err(store_error)?;
    let mut folded = Vec::new();
    for (part, position) in parts_of(connection, model, build, now)? {
        let events = since(connection, position)?;
        model.check_build(revision.cast_unsigned(), has_parked, events.len())?;
        let events: Vec<_> = model.of(&events).cloned().collect();
        let made = fold_part(connection, inline, model, part.clone(), &events);
        folded.extend(made.map_err(|error| model.cannot_begin(error))?);
        parts::take(connection, &part, (&INLINE, INLINE_LEASE, Taking::Anyway), now)?;
    }
    folded.iter().try_for_each(|one| write(connection, one))?;
    let types = serde_json::to_string(&model.types).map_err(damaged)?;
    let row = params![model.name.as_str(), types];
    connection.execute(TYPES, row).map_err(store_error)?;
    Ok(folded)
}

fn parts_of(
    connection: &Connection,
    model: &InlineModel,
    build: i64,
    now: DateTime<Utc>,
) -> Result<Vec<(Part, Position)>, StoreError> {
    const PARTS: &str = "SELECT first_slice, last_slice, epoch, position, owner, lease, leased_at \
         FROM parts WHERE model = ? AND build = ?";
    let number = u64::try_from(build).map_err(damaged)?;
    let mut select = connection.prepare_cached(PARTS).map_err(store_error)?;
    let mut rows = select.query(params![model.name.as_str(), build]).map_err(store_error)?;
    let mut parts = Vec::new();
    while let Some(row) = rows.next().map_err(store_error)? {
        let state = state_of(row, 0, now)?;
        let part = Part::new(model.name.clone(), number, state.slices);
        parts.push((part, state.checkpoint.position));
    }
    Ok(parts)
}

/// The events after a position, and one more than may be folded at once.
fn since(connection: &Connection, after: Position) -> Result<Vec<RecordedEvent>, StoreError> {
    let most = limits::INLINE_CATCH_UP + 1;
    let sql = format!(
        "SELECT {COLUMNS} FROM events e WHERE e.position > ? ORDER BY e.position LIMIT {most}"
    );
    let after = params![signed(after.get())?];
    select(connection, &mut NamesByNumber::default(), &sql, after)
}
