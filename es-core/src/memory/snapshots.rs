use async_trait::async_trait;
use dashmap::{DashMap, Entry};

use crate::{Snapshot, Snapshots, StoreError, StreamId};

/// Snapshots that live as long as the process; see [`Snapshots`] for an
/// example.
#[derive(Debug, Default)]
pub struct MemorySnapshots {
    snapshots: DashMap<StreamId, Snapshot>,
}

impl MemorySnapshots {
    /// No snapshot yet.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Snapshots for MemorySnapshots {
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> {
        Ok(self.snapshots.get(stream).map(|found| found.clone()))
    }

    async fn save(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> {
        match self.snapshots.entry(stream.clone()) {
            Entry::Occupied(mut found) if snapshot.replaces(found.get()) => {
                found.insert(snapshot);
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(place) => {
                place.insert(snapshot);
            }
        }
        Ok(())
    }
}
