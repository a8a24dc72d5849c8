//! From a row of `events` to a recorded event.

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use es_core::{
    AppendId, EventId, Metadata, NewEvent, Position, RecordedEvent, StoreError, StreamId, Tag,
    Version,
};
use rusqlite::{Connection, Row, types::ValueRef};
use uuid::Uuid;

use crate::{
    error::{damaged, store_error},
    names::{Kind, NamesByNumber},
};

/// The columns that [`Rows::push`] reads, in its order.
pub(crate) const COLUMNS: &str =
    "position, stream, version, kind, recorded_at, id, append_id, tags, metadata, payload";

/// Collects rows. The payloads of a page share one buffer: one allocation for
/// all of them.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    events: Vec<RecordedEvent>,
    payloads: BytesMut,
    ends: Vec<usize>,
    stream: Option<(i64, StreamId)>,
    kinds: Vec<(i64, Kind)>,
}

impl Rows {
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
    ) -> Result<(), StoreError> {
        let event = self.decode(connection, names, row)?;
        self.events.push(event);
        Ok(())
    }

    fn decode(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        row: &Row<'_>,
    ) -> Result<RecordedEvent, StoreError> {
        let position = Position::new(unsigned(row, 0)?);
        let stream = self.stream(connection, names, integer(row, 1)?)?;
        let kind = self.kind(connection, names, integer(row, 3)?)?;
        let event = NewEvent {
            id: EventId::new(uuid(row, 5)?.unwrap_or_default()),
            event_type: kind.event_type,
            schema_version: kind.schema_version,
            content_type: kind.content_type,
            tags: tags(row, 7)?,
            metadata: metadata(row, 8)?,
            payload: Bytes::new(),
        };
        let bytes = row.get_ref(9).map_err(store_error)?.as_blob();
        self.payloads.extend_from_slice(bytes.map_err(|e| unreadable(row, e))?);
        self.ends.push(self.payloads.len());
        let version = Version::new(unsigned(row, 2)?);
        let append_id = uuid(row, 6)?.map(AppendId::new);
        Ok(RecordedEvent::new(event, stream, version, position, append_id, time(row, 4)?))
    }

    /// Neighbours often stand in one stream.
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
        let stream = names.stream(connection, number)?.stream;
        self.stream = Some((number, stream.clone()));
        Ok(stream)
    }

    /// A page has few kinds.
    fn kind(
        &mut self,
        connection: &Connection,
        names: &mut NamesByNumber,
        number: i64,
    ) -> Result<Kind, StoreError> {
        if let Some((_, kind)) = self.kinds.iter().find(|(known, _)| *known == number) {
            return Ok(kind.clone());
        }
        let kind = names.kind(connection, number)?;
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

fn uuid(row: &Row<'_>, column: usize) -> Result<Option<Uuid>, StoreError> {
    match row.get_ref(column).map_err(store_error)? {
        ValueRef::Null => Ok(None),
        value => {
            let bytes = value.as_blob().map_err(|e| unreadable(row, e))?;
            Uuid::from_slice(bytes).map(Some).map_err(|e| unreadable(row, e))
        }
    }
}

fn time(row: &Row<'_>, column: usize) -> Result<DateTime<Utc>, StoreError> {
    let micros = integer(row, column)?;
    DateTime::from_timestamp_micros(micros).ok_or_else(|| unreadable(row, "no such time"))
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
