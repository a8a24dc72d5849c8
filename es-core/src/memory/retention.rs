use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{MemoryStore, log::Log};
use crate::{
    AppendError, Appended, DELETED, EventId, Expected, Keep, Name, NewEvent, RecordedEvent,
    Removed, Retention, StoreError, StreamId, TOMBSTONED, TRUNCATED, Version, Write, Written,
};

#[async_trait]
impl Retention for MemoryStore {
    async fn truncate(&self, stream: &StreamId, before: Version) -> Result<u64, StoreError> {
        Ok(self.log.write().truncate(stream, before, self.world.event_id()))
    }

    async fn delete(&self, stream: &StreamId, expected: Expected) -> Result<Appended, AppendError> {
        self.end(stream, expected, DELETED)
    }

    async fn tombstone(
        &self,
        stream: &StreamId,
        expected: Expected,
    ) -> Result<Appended, AppendError> {
        self.end(stream, expected, TOMBSTONED)
    }

    async fn retain(&self, keep: Keep) -> Result<Removed, StoreError> {
        let since = keep.since(self.world.now());
        let streams = self.log.read().streams_of(&keep);
        let mut removed = Removed::default();
        for stream in streams {
            let mut log = self.log.write();
            let before = log.kept_from(&stream, keep.newest, since);
            removed.add(log.truncate(&stream, before, self.world.event_id()));
        }
        Ok(removed)
    }
}

impl MemoryStore {
    fn end(
        &self,
        stream: &StreamId,
        expected: Expected,
        marker: Name,
    ) -> Result<Appended, AppendError> {
        let (id, now) = (self.world.event_id(), self.world.now());
        let ended = self.log.write().end(stream, expected, NewEvent::marker(marker, id), now)?;
        self.advance(ended.position);
        Ok(ended)
    }
}

impl Log {
    fn truncate(&mut self, stream: &StreamId, before: Version, id: EventId) -> u64 {
        let Some(places) = self.streams.get_mut(stream) else { return 0 };
        let before = before.min(places.version()).get().saturating_sub(1);
        let gone = usize::try_from(before).unwrap_or_default().saturating_sub(places.removed);
        let Some(last) = gone.checked_sub(1) else { return 0 };
        let marker = &mut self.events[places.indices[last]].event;
        if last == 0 && marker.as_ref().is_some_and(RecordedEvent::is_truncated) {
            return 0;
        }
        *marker = marker.take().map(|event| {
            let RecordedEvent { stream, version, position, recorded_at, .. } = event;
            let marker = NewEvent::marker(TRUNCATED, id);
            RecordedEvent::new(marker, stream, version, position, None, recorded_at)
        });
        places.removed += last;
        let removed = places.indices.drain(..last).filter_map(|at| self.events[at].event.take());
        let markers = removed.filter(RecordedEvent::is_truncated).count();
        (gone - markers) as u64
    }

    fn end(
        &mut self,
        stream: &StreamId,
        expected: Expected,
        marker: NewEvent,
        now: DateTime<Utc>,
    ) -> Result<Appended, AppendError> {
        let last = self.streams.get(stream).and_then(|places| places.indices.last());
        let Some(last) = last.and_then(|at| self.events[*at].event.as_ref()) else {
            return Err(self.conflict(stream, expected));
        };
        if last.event_type == TOMBSTONED || last.event_type == marker.event_type {
            let (version, position) = (last.version, last.position);
            let writes = vec![Written { version, position }];
            return Ok(Appended { writes, position, repeated: true });
        }
        if !expected.allows(last.version) {
            return Err(self.conflict(stream, expected));
        }
        let is_tombstoned = marker.event_type == TOMBSTONED;
        let written = self.write_stream(Write::new(stream.clone()).events([marker]), now);
        if let Some(places) = self.streams.get_mut(stream) {
            let last = places.indices.len() - 1;
            places.removed += last;
            places.is_tombstoned = is_tombstoned;
            places.indices.drain(..last).for_each(|at| self.events[at].event = None);
        }
        self.claims.retain(|_, holder| holder != stream);
        Ok(Appended { writes: vec![written], position: written.position, repeated: false })
    }

    fn streams_of(&self, keep: &Keep) -> Vec<StreamId> {
        let wanted = |stream: &&StreamId| {
            stream.tenant() == &keep.tenant && stream.category() == keep.category.as_str()
        };
        self.streams.keys().filter(wanted).cloned().collect()
    }

    /// The first version that is to be kept.
    fn kept_from(
        &self,
        stream: &StreamId,
        newest: Option<u64>,
        since: Option<DateTime<Utc>>,
    ) -> Version {
        let Some(places) = self.streams.get(stream) else { return Version::NONE };
        let (last, indices) = (places.version(), places.indices.iter());
        let by_count = newest.map(|newest| last.get().saturating_sub(newest) + 1);
        let by_age = since.map(|since| {
            let mut events = indices.filter_map(|at| self.events[*at].event.as_ref());
            events.find(|event| event.recorded_at > since).map_or(last, |event| event.version)
        });
        by_age.max(by_count.map(Version::new)).unwrap_or_default()
    }
}
