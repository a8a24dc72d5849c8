//! From a row of `events` to a recorded event.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use es_core::{
    AppendId, EventId, Metadata, Name, NewEvent, Position, RecordedEvent, StoreError, StreamId,
    Tag, Version,
};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use crate::{
    error::{damaged, store_error},
    names::{Kind, NamesByNumber},
};

/// The columns that [`Rows::push`] reads, in its order, of `events e`.
pub(crate) const COLUMNS: &str =
    "e.position, e.stream, e.version, e.kind, e.recorded_at, e.ids, e.tags, e.metadata, e.payload";

/// The leading columns, by which a row is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers {
    pub(crate) position: Position,
    pub(crate) stream: i64,
    pub(crate) version: Version,
    pub(crate) kind: i64,
}

impl Numbers {
    pub(crate) fn of(row: &Row<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            position: Position::new(unsigned(row, 0)?),
            stream: integer(row, 1)?,
            version: Version::new(unsigned(row, 2)?),
            kind: integer(row, 3)?,
        })
    }
}

/// The column `ids`: the event's, and the append's if there is one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ids {
    bytes: [u8; 32],
    len: usize,
}

impl Ids {
    pub(crate) fn new(event: EventId, append: Option<AppendId>) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(event.uuid().as_bytes());
        if let Some(append) = append {
            bytes[16..].copy_from_slice(append.uuid().as_bytes());
        }
        Self { bytes, len: if append.is_some() { 32 } else { 16 } }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn read(row: &Row<'_>, column: usize) -> Result<(EventId, Option<AppendId>), StoreError> {
        let bytes = blob(row, column)?;
        let id = |bytes| Uuid::from_slice(bytes).map_err(|e| unreadable(row, e));
        let (event, append) = bytes.split_at(bytes.len().min(16));
        let append = (!append.is_empty()).then(|| id(append)).transpose()?;
        Ok((EventId::new(id(event)?), append.map(AppendId::new)))
    }
}

/// Collects rows. The payloads of a page share one buffer: one allocation for
/// all of them.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    events: Vec<RecordedEvent>,
    payloads: BytesMut,
    ends: Vec<usize>,
    stream: Option<(i64, StreamId)>,
    kinds: Vec<(i64, Kind)>,
    time: Option<(i64, DateTime<Utc>)>,
}

impl Rows {
    /// With room for a page of so many events of an ordinary size.
    pub(crate) fn for_page(events: usize) -> Self {
        const ORDINARY: usize = 256;
        Self {
            events: Vec::with_capacity(events),
            payloads: BytesMut::with_capacity(events * ORDINARY),
            ends: Vec::with_capacity(events),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn payload_bytes(&self) -> usize {
        self.payloads.len()
    }

    pub(crate) fn push(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        row: &Row<'_>,
        numbers: Numbers,
    ) -> Result<(), StoreError> {
        let Numbers { position, version, .. } = numbers;
        let stream = self.stream(connection, names, numbers.stream)?;
        let Kind { event_type, schema_version, content_type } =
            self.kind(connection, names, numbers.kind)?;
        let (id, append_id) = Ids::read(row, 5)?;
        let (tags, metadata, payload) = (tags(row, 6)?, metadata(row, 7)?, Bytes::new());
        self.payloads.extend_from_slice(blob(row, 8)?);
        self.ends.push(self.payloads.len());
        let event =
            NewEvent { id, event_type, schema_version, content_type, tags, metadata, payload };
        let recorded_at = self.time(row, 4)?;
        self.events.push(RecordedEvent::new(
            event,
            stream,
            version,
            position,
            append_id,
            recorded_at,
        ));
        Ok(())
    }

    /// Takes the last one off again unless it is wanted.
    pub(crate) fn keep_last_if(&mut self, wanted: impl Fn(&RecordedEvent) -> bool) -> bool {
        let is_wanted = self.events.last().is_some_and(wanted);
        if !is_wanted {
            self.events.pop();
            self.ends.pop();
            self.payloads.truncate(self.ends.last().copied().unwrap_or_default());
        }
        is_wanted
    }

    /// Neighbours were often recorded at once.
    fn time(&mut self, row: &Row<'_>, column: usize) -> Result<DateTime<Utc>, StoreError> {
        let micros = integer(row, column)?;
        if let Some((last, time)) = self.time
            && last == micros
        {
            return Ok(time);
        }
        let time = DateTime::from_timestamp_micros(micros);
        let time = time.ok_or_else(|| unreadable(row, "no such time"))?;
        self.time = Some((micros, time));
        Ok(time)
    }

    /// Neighbours often stand in one stream. A page that begins with a stream has
    /// a name of its own for it: a name that pages share would have its counter
    /// fought over by this thread and those that drop the pages before.
    fn stream(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        number: i64,
    ) -> Result<StreamId, StoreError> {
        if let Some((last, stream)) = &self.stream
            && *last == number
        {
            return Ok(stream.clone());
        }
        let mut stream = names.stream(connection, number)?.stream;
        if self.events.is_empty() {
            let own = StreamId::parse(stream.name()).map_err(damaged)?;
            stream = own.of(stream.tenant().clone());
        }
        self.stream = Some((number, stream.clone()));
        Ok(stream)
    }

    /// A page has few kinds, each with a name of its own.
    fn kind(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        number: i64,
    ) -> Result<Kind, StoreError> {
        if let Some((_, kind)) = self.kinds.iter().find(|(known, _)| *known == number) {
            return Ok(kind.clone());
        }
        let mut kind = names.kind(connection, number)?;
        kind.event_type = Name::new(kind.event_type.as_str()).map_err(damaged)?;
        self.kinds.push((number, kind.clone()));
        Ok(kind)
    }

    /// The events, each with its part of the buffer.
    pub(crate) fn into_events(self) -> Vec<RecordedEvent> {
        let Self { mut events, payloads, ends, .. } = self;
        let payloads = payloads.freeze();
        let mut start = 0;
        for (event, end) in events.iter_mut().zip(ends) {
            event.payload = payloads.slice(start..end);
            start = end;
        }
        events
    }
}

pub(crate) fn integer(row: &Row<'_>, column: usize) -> Result<i64, StoreError> {
    row.get_ref(column).map_err(store_error)?.as_i64().map_err(|e| unreadable(row, e))
}

pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let number = integer(row, column)?;
    u64::try_from(number).map_err(|e| unreadable(row, e))
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    row.get_ref(column).map_err(store_error)?.as_blob().map_err(|e| unreadable(row, e))
}

pub(crate) fn tags(row: &Row<'_>, column: usize) -> Result<Vec<Tag>, StoreError> {
    let text = row.get_ref(column).map_err(store_error)?.as_str_or_null();
    let Some(text) = text.map_err(|e| unreadable(row, e))? else { return Ok(Vec::new()) };
    text.split('\n').map(|tag| Tag::parse(tag).map_err(|e| unreadable(row, e))).collect()
}

fn metadata(row: &Row<'_>, column: usize) -> Result<Metadata, StoreError> {
    let text = row.get_ref(column).map_err(store_error)?.as_str_or_null();
    match text.map_err(|e| unreadable(row, e))? {
        None => Ok(Metadata::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| unreadable(row, e)),
    }
}

fn unreadable(row: &Row<'_>, why: impl std::fmt::Display) -> StoreError {
    let position = row.get::<_, i64>(0).unwrap_or_default();
    damaged(format!("the event at position {position} is damaged: {why}"))
}
