//! From a row of `events` to a recorded event.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use es_core::{
    AppendId, EventId, Metadata, NewEvent, Position, RecordedEvent, StoreError, StreamId, Tag,
    Version,
};
use rusqlite::{
    Connection, Row,
    types::{Type, ValueRef},
};
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
}

/// The event's id, and the append's if there is one.
pub(crate) fn ids(row: &Row<'_>, column: usize) -> Result<(EventId, Option<AppendId>), StoreError> {
    let bytes = blob(row, column)?;
    let id = |bytes| Uuid::from_slice(bytes).map_err(|e| unreadable(row, e));
    let (event, append) = bytes.split_at(bytes.len().min(16));
    let append = (!append.is_empty()).then(|| id(append)).transpose()?;
    Ok((EventId::new(id(event)?), append.map(AppendId::new)))
}

/// Rows of one page. They become events on the side of whoever reads the page,
/// while the next one is being read. Their payloads share one buffer.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: Vec<Raw>,
    payloads: BytesMut,
    streams: Vec<(i64, StreamId)>,
    kinds: Vec<(i64, Kind)>,
    time: Option<(i64, DateTime<Utc>)>,
}

/// A row with the places of its names in the page's lists, and of the end of its
/// payload.
#[derive(Debug)]
struct Raw {
    position: Position,
    version: Version,
    stream: usize,
    kind: usize,
    recorded_at: DateTime<Utc>,
    ids: (EventId, Option<AppendId>),
    tags: Vec<Tag>,
    metadata: Metadata,
    end: usize,
}

impl Rows {
    /// With room for a page of so many events of an ordinary size.
    pub(crate) fn for_page(events: usize) -> Self {
        const ORDINARY: usize = 256;
        Self {
            rows: Vec::with_capacity(events),
            payloads: BytesMut::with_capacity(events * ORDINARY),
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
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
        let kind = self.kind(connection, names, numbers.kind)?;
        let (recorded_at, ids) = (self.time(row, 4)?, ids(row, 5)?);
        let (tags, metadata, payload) = (tags(row, 6)?, metadata(row, 7)?, blob(row, 8)?);
        let end = self.payloads.len() + payload.len();
        self.payloads.extend_from_slice(payload);
        self.rows.push(Raw {
            position,
            version,
            stream,
            kind,
            recorded_at,
            ids,
            tags,
            metadata,
            end,
        });
        Ok(())
    }

    /// Takes the last one off again unless it is wanted; its payload is not asked.
    pub(crate) fn keep_last_if(&mut self, wanted: impl Fn(&RecordedEvent) -> bool) -> bool {
        let Some(raw) = self.rows.pop() else { return false };
        let (tags, metadata) = (raw.tags.clone(), raw.metadata.clone());
        let event = event(Raw { tags, metadata, ..raw }, &self.streams, &self.kinds, Bytes::new());
        let is_wanted = wanted(&event);
        if is_wanted {
            self.rows.push(raw);
        } else {
            self.payloads.truncate(self.rows.last().map_or(0, |last| last.end));
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

    /// Neighbours often stand in one stream.
    fn stream(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        number: i64,
    ) -> Result<usize, StoreError> {
        if self.streams.last().is_none_or(|(last, _)| *last != number) {
            self.streams.push((number, names.stream(connection, number)?.stream));
        }
        Ok(self.streams.len() - 1)
    }

    /// A page has few kinds.
    fn kind(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        number: i64,
    ) -> Result<usize, StoreError> {
        if let Some(at) = self.kinds.iter().position(|(known, _)| *known == number) {
            return Ok(at);
        }
        self.kinds.push((number, names.kind(connection, number)?));
        Ok(self.kinds.len() - 1)
    }

    /// The events, each with its part of the buffer.
    pub(crate) fn into_events(self) -> Vec<RecordedEvent> {
        let Self { rows, payloads, streams, kinds, .. } = self;
        let (payloads, mut start) = (payloads.freeze(), 0);
        let mut events = Vec::with_capacity(rows.len());
        for raw in rows {
            let payload = payloads.slice(start..raw.end);
            start = raw.end;
            events.push(event(raw, &streams, &kinds, payload));
        }
        events
    }
}

fn event(
    raw: Raw,
    streams: &[(i64, StreamId)],
    kinds: &[(i64, Kind)],
    payload: Bytes,
) -> RecordedEvent {
    let Raw { position, version, stream, kind, recorded_at, ids, tags, metadata, .. } = raw;
    let Kind { event_type, schema_version, content_type } = kinds[kind].1.clone();
    let (id, append_id) = ids;
    let event = NewEvent { id, event_type, schema_version, content_type, tags, metadata, payload };
    RecordedEvent::new(event, streams[stream].1.clone(), version, position, append_id, recorded_at)
}

pub(crate) fn integer(row: &Row<'_>, column: usize) -> Result<i64, StoreError> {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => Ok(number),
        other => Err(unlike(row, other, Type::Integer)),
    }
}

pub(crate) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    let number = integer(row, column)?;
    u64::try_from(number).map_err(|e| unreadable(row, e))
}

fn blob<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    match row.get_ref(column) {
        Ok(ValueRef::Blob(bytes)) => Ok(bytes),
        other => Err(unlike(row, other, Type::Blob)),
    }
}

/// A text, if there is one.
fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, StoreError> {
    match row.get_ref(column) {
        Ok(ValueRef::Null) => Ok(None),
        Ok(ValueRef::Text(text)) => {
            std::str::from_utf8(text).map(Some).map_err(|e| unreadable(row, e))
        }
        other => Err(unlike(row, other, Type::Text)),
    }
}

pub(crate) fn tags(row: &Row<'_>, column: usize) -> Result<Vec<Tag>, StoreError> {
    let Some(text) = text(row, column)? else { return Ok(Vec::new()) };
    text.split('\n').map(|tag| Tag::parse(tag).map_err(|e| unreadable(row, e))).collect()
}

pub(crate) fn correlation(row: &Row<'_>, column: usize) -> Result<Option<String>, StoreError> {
    Ok(metadata(row, column)?.fields().correlation_id.clone())
}

fn metadata(row: &Row<'_>, column: usize) -> Result<Metadata, StoreError> {
    match text(row, column)? {
        None => Ok(Metadata::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| unreadable(row, e)),
    }
}

/// What a column holds is not what we write there.
#[cold]
fn unlike(row: &Row<'_>, found: rusqlite::Result<ValueRef<'_>>, wanted: Type) -> StoreError {
    match found {
        Ok(found) => unreadable(row, format!("{} where {wanted} belongs", found.data_type())),
        Err(error) => store_error(error),
    }
}

#[cold]
fn unreadable(row: &Row<'_>, why: impl std::fmt::Display) -> StoreError {
    let position = row.get::<_, i64>(0).unwrap_or_default();
    damaged(format!("the event at position {position} is damaged: {why}"))
}
