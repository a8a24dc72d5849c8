//! The log is the only truth; everything else is a fold or a port.
//!
//! This crate holds both: the traits that users write as pure functions
//! ([`Event`], [`Evolve`], [`Aggregate`]), and the ports that adapters write
//! ([`EventStore`], [`Checkpoints`], [`Snapshots`], [`Timers`], [`Views`],
//! [`Publisher`], [`Consumer`]), each with an implementation in [`memory`].
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
//! | how loads stay short | [`Snapshotting`], [`SnapshotPolicy`] |
//! | time, ids and tasks | [`World`], [`failpoint!`] |

extern crate self as es_core;

mod batch;
mod bus;
mod checkpoint;
mod claim;
mod codec;
mod criteria;
mod error;
mod event;
#[cfg_attr(not(feature = "failpoints"), doc(hidden))]
pub mod failpoint;
mod fold;
mod id;
mod invalid;
pub mod limits;
pub mod memory;
mod metadata;
mod name;
mod position;
mod read;
mod recorded;
mod rejection;
#[cfg(feature = "schema")]
mod schema;
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
pub use bus::{Consumer, Delivery, Message, Publisher, Settlement, Subscription};
pub use checkpoint::{Checkpoint, Checkpoints};
pub use claim::{Claim, ClaimChange};
pub use codec::{Codec, ContentType, DecodeError, EncodeError};
pub use criteria::{Alternative, Criteria};
pub use error::{AppendError, Conflict, StoreError, StoreErrorKind};
#[cfg(feature = "derive")]
pub use es_derive::{Aggregate, Event};
pub use event::{Event, EventType, Recorded};
pub use fold::{Aggregate, AggregateStoreExt, CommitError, Evolve, LoadError, Loaded, stream_of};
pub use id::{AppendId, EventId};
pub use invalid::InvalidBatch;
pub use metadata::{Fields as MetadataFields, Metadata};
pub use name::{Name, NameError, Tag, Tenant};
pub use position::{Position, Version};
pub use read::{Direction, Read, Scope, event_names};
pub use recorded::{DROPPED, NewEvent, RecordedEvent};
pub use rejection::Rejection;
#[cfg(feature = "schema")]
pub use schema::{EventSchema, EventSchemas};
pub use snapshot::{Snapshot, Snapshots};
pub use snapshotting::{SnapshotCounts, SnapshotPolicy, Snapshotting};
pub use store::{Abilities, Appended, Durability, EventStore, EventStoreExt, Page, Pages, Written};
pub use stream::StreamId;
pub use timer::{Timer, Timers};
pub use upcast::{Upcast, UpcastError, Upcasters, Upcasting};
pub use views::{Row, RowId, Rows, Views};
pub use world::{Clock, Random, Spawn, Task, World};

#[cfg(feature = "schema")]
#[doc(hidden)]
pub mod __private {
    pub use schemars;
}
