//! From a row of `events` to a recorded event.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use es_core::{
    AppendId, ContentType, EventId, Metadata, Name, NewEvent, Position, RecordedEvent, StoreError,
    StreamId, Tag, Tenant, Version,
};
use sqlx::{Row, ValueRef, postgres::PgRow};
use uuid::Uuid;

use crate::error::{damaged, store_error, unsigned};

/// The columns that [`Decoder::event`] reads, in its order, of `events e`.
pub(crate) const COLUMNS: &str = "e.position, e.version, e.type, e.schema_version, \
     e.content_type, e.id, e.append_id, e.recorded_at, e.tags, e.metadata, e.payload";

/// Further columns, of rows whose stream is not known.
pub(crate) const OF_ANY_STREAM: &str = ", e.tenant, e.stream";

/// Turns rows into events. Neighbours share their names.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The stream of every row, if there is but one.
    one: Option<StreamId>,
    stream: Option<StreamId>,
    event_type: Option<Name>,
    content_type: Option<ContentType>,
}

impl Decoder {
    pub(crate) fn new(one: Option<StreamId>) -> Self {
        Self { one, stream: None, event_type: None, content_type: None }
    }

    pub(crate) fn event(&mut self, row: &PgRow) -> Result<RecordedEvent, StoreError> {
        let position = Position::new(number(row, 0)?);
        self.decode(row, position).map_err(|error| {
            let message = format!("the event at position {position} is damaged: {error}");
            StoreError::new(error.kind(), message)
        })
    }

    fn decode(&mut self, row: &PgRow, position: Position) -> Result<RecordedEvent, StoreError> {
        let get = |error| store_error(error);
        let append_id: Option<Uuid> = row.try_get(6).map_err(get)?;
        let recorded_at: DateTime<Utc> = row.try_get(7).map_err(get)?;
        let event = NewEvent {
            id: EventId::new(row.try_get(5).map_err(get)?),
            event_type: self.event_type(row.try_get(2).map_err(get)?)?,
            schema_version: u32::try_from(number(row, 3)?).map_err(damaged)?,
            content_type: self.content_type(row.try_get(4).map_err(get)?)?,
            tags: tags(row, 8)?,
            metadata: metadata(row, 9)?,
            payload: Bytes::copy_from_slice(row.try_get(10).map_err(get)?),
        };
        let stream = self.stream(row)?;
        let version = Version::new(number(row, 1)?);
        let append_id = append_id.map(AppendId::new);
        Ok(RecordedEvent::new(event, stream, version, position, append_id, recorded_at))
    }

    fn stream(&mut self, row: &PgRow) -> Result<StreamId, StoreError> {
        if let Some(one) = &self.one {
            return Ok(one.clone());
        }
        let tenant: &str = row.try_get(11).map_err(store_error)?;
        let name: &str = row.try_get(12).map_err(store_error)?;
        if let Some(last) = &self.stream
            && last.name() == name
            && last.tenant().as_str() == tenant
        {
            return Ok(last.clone());
        }
        let tenant = match &self.stream {
            Some(last) if last.tenant().as_str() == tenant => last.tenant().clone(),
            _ => Tenant::new(tenant).map_err(damaged)?,
        };
        let stream = StreamId::parse(name).map_err(damaged)?.of(tenant);
        Ok(self.stream.insert(stream).clone())
    }

    fn event_type(&mut self, found: &str) -> Result<Name, StoreError> {
        match &self.event_type {
            Some(last) if last == found => Ok(last.clone()),
            _ => Ok(self.event_type.insert(Name::new(found).map_err(damaged)?).clone()),
        }
    }

    fn content_type(&mut self, found: &str) -> Result<ContentType, StoreError> {
        match &self.content_type {
            Some(last) if last.as_str() == found => Ok(last.clone()),
            _ => {
                let name = Name::new(found).map_err(damaged)?;
                Ok(self.content_type.insert(ContentType::new(name)).clone())
            }
        }
    }
}

pub(crate) fn number(row: &PgRow, column: usize) -> Result<u64, StoreError> {
    unsigned(row.try_get(column).map_err(store_error)?)
}

/// Bytes of the columns that may be long.
pub(crate) fn size(row: &PgRow) -> usize {
    let bytes = |column: usize| {
        let value = row.try_get_raw(column).ok()?;
        value.as_bytes().ok().map(<[u8]>::len)
    };
    [8, 9, 10].into_iter().filter_map(bytes).sum()
}

fn tags(row: &PgRow, column: usize) -> Result<Vec<Tag>, StoreError> {
    if row.try_get_raw(column).map_err(store_error)?.is_null() {
        return Ok(Vec::new());
    }
    let texts: Vec<String> = row.try_get(column).map_err(store_error)?;
    texts.into_iter().map(|text| Tag::parse(text).map_err(damaged)).collect()
}

fn metadata(row: &PgRow, column: usize) -> Result<Metadata, StoreError> {
    let text: Option<&str> = row.try_get(column).map_err(store_error)?;
    text.map_or(Ok(Metadata::new()), |text| serde_json::from_str(text).map_err(damaged))
}
