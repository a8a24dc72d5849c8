//! Rows in the binary format of COPY; see "COPY" in PostgreSQL's manual.

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{RecordedEvent, StoreError, Tag};
use uuid::Uuid;

use crate::{
    batch::Events,
    error::{damaged, signed},
};

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
/// The type `text`.
const TEXT: i32 = 25;

pub(crate) const EVENTS: &str = "COPY {schema}.events (position, tenant, stream, version, type, \
     schema_version, content_type, id, append_id, recorded_at, tags, metadata, payload) \
     FROM STDIN (FORMAT binary)";
pub(crate) const TAGS: &str =
    "COPY {schema}.event_tags (tenant, tag, position) FROM STDIN (FORMAT binary)";
pub(crate) const CORRELATIONS: &str =
    "COPY {schema}.event_correlations (tenant, hash, position) FROM STDIN (FORMAT binary)";

/// Rows of one table.
#[derive(Debug)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    count: usize,
}

/// Events with the rows that find them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) events: Rows,
    pub(crate) tags: Rows,
    pub(crate) correlations: Rows,
    /// Where the events stand.
    pub(crate) positions: Vec<es_core::Position>,
}

impl Chunk {
    pub(crate) fn size(&self) -> usize {
        self.events.bytes.len()
    }

    pub(crate) fn push(&mut self, event: RecordedEvent) -> Result<(), StoreError> {
        let position = signed(event.position.get())?;
        self.positions.push(event.position);
        let (version, append_id) = (signed(event.version.get())?, event.append_id);
        let recorded_at = event.recorded_at;
        let (stream, event) = event.into_new();
        let tenant = stream.tenant().as_str();
        let fields = Events::fields(&event)?;
        let rows = &mut self.events;
        rows.begin(13);
        rows.number(position);
        rows.text(tenant);
        rows.text(stream.name());
        rows.number(version);
        rows.text(&event.event_type);
        rows.number(event.schema_version.into());
        rows.text(event.content_type.as_str());
        rows.uuid(Some(event.id.uuid()));
        rows.uuid(append_id.map(|id| id.uuid()));
        rows.number(micros_of_this_millennium(recorded_at)?);
        rows.texts(&event.tags)?;
        rows.bytes(fields.metadata.as_deref().map(str::as_bytes))?;
        rows.bytes(Some(&event.payload))?;
        self.push_labels(tenant, position, &event.tags, fields.correlation);
        Ok(())
    }

    fn push_labels(&mut self, tenant: &str, position: i64, tags: &[Tag], hash: Option<i64>) {
        let is_first = |(at, tag): &(usize, &Tag)| !tags[..*at].contains(tag);
        for (_, tag) in tags.iter().enumerate().filter(is_first) {
            self.tags.begin(3);
            self.tags.text(tenant);
            self.tags.text(tag.as_str());
            self.tags.number(position);
        }
        if let Some(hash) = hash {
            self.correlations.begin(3);
            self.correlations.text(tenant);
            self.correlations.number(hash);
            self.correlations.number(position);
        }
    }
}

/// As PostgreSQL counts time: from the year 2000.
fn micros_of_this_millennium(time: DateTime<Utc>) -> Result<i64, StoreError> {
    const EPOCH: TimeDelta = TimeDelta::seconds(946_684_800);
    let since = time - DateTime::UNIX_EPOCH - EPOCH;
    // Towards the past, as a time that was not cut off would be sorted.
    let part = i64::from(since.subsec_nanos() % 1_000 < 0);
    since.num_microseconds().map(|micros| micros - part).ok_or_else(|| damaged("no such time"))
}

impl Default for Rows {
    fn default() -> Self {
        Self { bytes: HEADER.to_vec(), count: 0 }
    }
}

impl Rows {
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All rows, as COPY takes them.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.bytes.extend(TRAILER);
        self.bytes
    }

    fn begin(&mut self, columns: i16) {
        self.count += 1;
        self.bytes.extend(columns.to_be_bytes());
    }

    fn number(&mut self, number: i64) {
        self.bytes.extend(8_i32.to_be_bytes());
        self.bytes.extend(number.to_be_bytes());
    }

    /// A name, which is short.
    fn text(&mut self, text: &str) {
        let bytes = u16::try_from(text.len()).unwrap_or(u16::MAX);
        self.bytes.extend(i32::from(bytes).to_be_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn uuid(&mut self, uuid: Option<Uuid>) {
        match uuid {
            Some(uuid) => {
                self.bytes.extend(16_i32.to_be_bytes());
                self.bytes.extend(uuid.as_bytes());
            }
            None => self.null(),
        }
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) -> Result<(), StoreError> {
        let Some(bytes) = bytes else {
            self.null();
            return Ok(());
        };
        self.bytes.extend(length(bytes.len())?.to_be_bytes());
        self.bytes.extend(bytes);
        Ok(())
    }

    /// An array of texts.
    fn texts(&mut self, tags: &[Tag]) -> Result<(), StoreError> {
        if tags.is_empty() {
            self.null();
            return Ok(());
        }
        let bytes: usize = tags.iter().map(|tag| 4 + tag.as_str().len()).sum();
        let (dimensions, has_nulls, first) = (1, 0, 1);
        let head = [length(20 + bytes)?, dimensions, has_nulls, TEXT, length(tags.len())?, first];
        head.into_iter().for_each(|number: i32| self.bytes.extend(number.to_be_bytes()));
        tags.iter().for_each(|tag| self.text(tag.as_str()));
        Ok(())
    }

    fn null(&mut self) {
        self.bytes.extend((-1_i32).to_be_bytes());
    }
}

fn length(length: usize) -> Result<i32, StoreError> {
    i32::try_from(length).map_err(damaged)
}
