use std::any::Any;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ContentType, StoreError, StreamId, Version, id::fingerprint};

/// The state of an aggregate at one version, so that a load reads only the
/// events after it. A snapshot is a cache: losing one loses nothing.
///
/// ```
/// use es_core::{ContentType, Snapshot, Version};
///
/// let mut snapshot = Snapshot::new(Version::new(100), 0x5eed, ContentType::JSON, r#"{"balance":7}"#);
/// assert!(snapshot.is_intact());
/// snapshot.state = r#"{"balance":8}"#.into();
/// assert!(!snapshot.is_intact());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The version of the stream that the state reflects.
    pub version: Version,
    /// The shape of the state's type when it was written; see
    /// [`Aggregate::FINGERPRINT`](crate::Aggregate::FINGERPRINT).
    pub fingerprint: u64,
    /// The form of the state.
    pub content_type: ContentType,
    /// The state.
    pub state: Bytes,
    /// A hash of all the above, made when it was written.
    pub checksum: u64,
}

impl Snapshot {
    /// A snapshot with its checksum.
    pub fn new(
        version: Version,
        fingerprint: u64,
        content_type: ContentType,
        state: impl Into<Bytes>,
    ) -> Self {
        let mut snapshot =
            Self { version, fingerprint, content_type, state: state.into(), checksum: 0 };
        snapshot.checksum = snapshot.sum();
        snapshot
    }

    /// Whether it still is what was written.
    pub fn is_intact(&self) -> bool {
        self.checksum == self.sum()
    }

    /// Whether it should take the place of `kept`: a newer version, or another
    /// shape of the state.
    pub fn replaces(&self, kept: &Self) -> bool {
        self.version > kept.version || self.fingerprint != kept.fingerprint
    }

    fn sum(&self) -> u64 {
        let numbers = [self.version.get(), self.fingerprint].map(u64::to_be_bytes).concat();
        let whole = [&numbers, self.content_type.as_str().as_bytes(), &self.state].concat();
        u64::try_from(fingerprint(&whole) >> 64).unwrap_or_default()
    }
}

/// Where snapshots are kept. An event store that keeps them itself finds out that it does, and
/// [reads both at once](crate::EventStore::read_from_snapshot).
///
/// ```
/// use es_core::{ContentType, Snapshot, Snapshots, StreamId, Version, memory::MemorySnapshots};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let snapshots = MemorySnapshots::new();
/// let stream = StreamId::new("account", "ada")?;
/// let at = |version| Snapshot::new(Version::new(version), 1, ContentType::JSON, "{}");
/// snapshots.save(&stream, at(100)).await?;
/// snapshots.save(&stream, at(50)).await?;
/// assert_eq!(snapshots.load(&stream).await?.map(|s| s.version), Some(Version::new(100)));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Snapshots: Any + Send + Sync {
    /// The snapshot of this stream, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn load(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError>;

    /// Keeps this snapshot unless a newer one of the same fingerprint is there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn save(&self, stream: &StreamId, snapshot: Snapshot) -> Result<(), StoreError>;
}
