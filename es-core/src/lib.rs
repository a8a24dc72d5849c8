//! The log is the only truth; everything else is a fold or a port.
//!
//! This crate holds both: the traits that users write as pure functions
//! ([`Event`], [`Evolve`], [`Aggregate`]), and the ports that adapters write
//! ([`EventStore`], [`Retention`], [`Import`], [`Checkpoints`], [`Snapshots`], [`Timers`],
//! [`Views`], [`Builds`], [`SharedCache`], [`Publisher`], [`Consumer`], [`DeadLetters`]), each
//! with an implementation in [`memory`].
//!
//! ```
//! use es_core::{Aggregate, AggregateStoreExt, Event, Evolve, memory::MemoryStore};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize, Event)]
//! #[event(prefix = "account")]
//! enum AccountEvent { Deposited { amount: u64 } }
//!
//! #[derive(Default, Aggregate)]
//! struct Account { balance: u64 }
//!
//! impl Evolve for Account {
//!     type Event = AccountEvent;
//!     fn evolve(&mut self, AccountEvent::Deposited { amount }: &AccountEvent) {
//!         self.balance += amount;
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MemoryStore::new();
//! let ada = String::from("ada");
//! let account = store.load::<Account>(&ada).await?;
//! store.commit::<Account>(&ada, account.version, &[AccountEvent::Deposited { amount: 5 }]).await?;
//! assert_eq!(store.load::<Account>(&ada).await?.state.balance, 5);
//! # Ok(())
//! # }
//! ```
//!
//! | to find | look at |
//! |---|---|
//! | what a log is | [`EventStore`], [`Batch`], [`Read`], [`RecordedEvent`] |
//! | what may go wrong | [`AppendError`], [`StoreError`], [`LoadError`] |
//! | how events change with time | [`Upcasters`], [`EventType::aliases`] |
//! | how a log is moved | [`copy()`], [`export()`], [`Import`] |
//! | how loads stay short | [`Snapshotting`], [`SnapshotPolicy`] |
//! | time, ids and tasks | [`World`], [`failpoint!`] |

extern crate self as es_core;

mod batch;
mod builds;
mod bus;
mod checkpoint;
mod claim;
mod codec;
mod copy;
mod copying;
mod criteria;
mod envelope;
mod error;
mod event;
mod export;
#[cfg_attr(not(feature = "failpoints"), doc(hidden))]
pub mod failpoint;
mod fold;
mod id;
mod import;
mod inline;
mod invalid;
mod lag;
pub mod limits;
pub mod memory;
mod metadata;
mod name;
mod part;
mod position;
mod read;
mod recorded;
mod rejection;
mod retention;
mod retry;
#[cfg(feature = "schema")]
mod schema;
mod shared_cache;
mod snapshot;
mod snapshotting;
mod store;
mod stream;
mod timer;
mod upcast;
mod variant;
mod views;
mod world;

pub use batch::{Batch, Expected, Unless, Write};
pub use builds::{Build, BuildChange, BuildStep, Builds, PartState, Taking};
pub use bus::{
    Address, Begin, Consumer, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Deliveries,
    Delivery, Fault, FaultKind, Group, Lane, Lanes, Message, OUTBOX, OUTBOX_MESSAGE, Order,
    Outgoing, Publisher, Settlement, Subscription, Topic, TopicPattern,
};
pub use checkpoint::{Checkpoint, Checkpoints};
pub use claim::{Claim, ClaimChange};
pub use codec::{Codec, ContentType, DecodeError, EncodeError};
pub use copy::{CopyError, copy, copy_pages};
pub use copying::{Copied, Copying};
pub use criteria::{Alternative, Criteria};
pub use error::{AppendError, Conflict, StoreError, StoreErrorKind};
#[cfg(feature = "derive")]
pub use es_derive::{Aggregate, Event};
pub use event::{Event, EventType, Recorded};
pub use export::{chunks, export, read_export};
pub use fold::{Aggregate, AggregateStoreExt, CommitError, Evolve, LoadError, Loaded, stream_of};
pub use id::{AppendId, EventId};
pub use import::{Import, ImportError, Imported};
pub use inline::{Folded, INLINE, INLINE_LEASE, Inline, InlineModel};
pub use invalid::InvalidBatch;
pub use lag::Lag;
pub use metadata::{Fields as MetadataFields, Metadata};
pub use name::{Name, NameError, Tag, Tenant};
pub use part::{Part, SLICES, Slices};
pub use position::{Position, Version};
pub use read::{Direction, Read, Scope, event_names};
pub use recorded::{DROPPED, NewEvent, RecordedEvent};
pub use rejection::Rejection;
pub use retention::{DELETED, Keep, Removed, Retention, TOMBSTONED, TRUNCATED};
pub use retry::RetryPolicy;
#[cfg(feature = "schema")]
pub use schema::{EventSchema, EventSchemas};
pub use shared_cache::{CachePlace, CacheStamp, FoundAnswer, Invalidation, LookedUp, SharedCache};
pub use snapshot::{Snapshot, Snapshots};
pub use snapshotting::{SnapshotCounts, SnapshotPolicy, Snapshotting};
pub use store::{
    Abilities, Appended, Durability, EventStore, EventStoreExt, Page, Pages, Snapped, Written,
};
pub use stream::StreamId;
pub use timer::{TakenTimer, Timer, TimerId, Timers};
pub use upcast::{Upcast, UpcastError, Upcasters, Upcasting};
pub use views::{Changes, Kind, Lookup, Row, RowId, Rows, Views};
pub use world::{Clock, Random, Spawn, Task, World};

#[cfg(feature = "schema")]
#[doc(hidden)]
pub mod __private {
    pub use schemars;
}
