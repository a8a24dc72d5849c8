use async_trait::async_trait;
use es_core::{
    Abilities, AppendError, Appended, Batch, EventStore, Pages, Read, Snapped, Snapshots, StreamId,
    memory::MemoryStore,
};

use super::{Bug, appends, follows, reads};

/// A store in memory with one bug.
///
/// ```
/// use es_core::{EventStore, Expected, Batch, memory::MemoryStore};
/// use es_testkit::{fake, mutants::{Bug, Mutant}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let store = Mutant::new(Bug::ConflictCheckLost, MemoryStore::new());
/// let exists = Batch::to(fake::stream("a-1")).events(fake::events(1)).expect(Expected::Exists);
/// assert!(store.append(exists).await.is_ok(), "a store without the bug would refuse");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Mutant {
    bug: Bug,
    sound: MemoryStore,
}

impl Mutant {
    /// Puts the bug into a sound store.
    pub fn new(bug: Bug, sound: MemoryStore) -> Self {
        Self { bug, sound }
    }
}

#[async_trait]
impl EventStore for Mutant {
    async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        appends::append(self.bug, &self.sound, batch).await
    }

    fn read(&self, read: Read) -> Pages {
        reads::read(self.bug, &self.sound, read)
    }

    async fn read_from_snapshot(&self, stream: &StreamId, snapshots: &dyn Snapshots) -> Snapped {
        reads::read_from_snapshot(self, self.bug, stream, snapshots).await
    }

    fn follow(&self, read: Read) -> Pages {
        follows::follow(self.bug, &self.sound, read)
    }

    fn abilities(&self) -> Abilities {
        self.sound.abilities()
    }
}
