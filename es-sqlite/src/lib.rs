//! Gesta on SQLite, the embedded default: events, checkpoints, snapshots,
//! timers and views in one file.
//!
//! ```
//! use es_core::{Durability, EventStoreExt};
//! use es_sqlite::SqliteStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("bank.db");
//! let store = SqliteStore::open(path).await?;
//! store.require_durable(Durability::Fsync)?;
//! # store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `store` | the event store: the door to the others |
//! | `writer`, `spin`, `log`, `append`, `conditions`, `pending` | the one writer, group commit, what a batch does |
//! | `retention` | what removes events |
//! | `readers`, `reading`, `query`, `window`, `page`, `row` | threads that read, pages, rows |
//! | `watcher` | what other processes wrote |
//! | `checkpoints`, `snapshots`, `timers`, `views` | the other ports |
//! | `inbox` | what the handlers of a broker's messages have handled |
//! | `lookup`, `builds`, `changes`, `parts` | rows of read models; their builds, parts and leases |
//! | `inline` | read models that change with each append |
//! | `import`, `statements/` | the events of another store, as they are |
//! | `connection`, `migrate`, `schema/` | the file |

mod append;
mod builds;
mod changes;
mod checkpoints;
mod conditions;
mod connection;
mod error;
mod import;
mod inbox;
mod inline;
mod log;
mod lookup;
mod migrate;
mod names;
mod options;
mod page;
mod parts;
mod pending;
mod query;
mod readers;
mod reading;
mod retention;
mod row;
mod snapshots;
mod spin;
mod store;
mod timers;
mod views;
mod watcher;
mod window;
mod writer;

pub use options::{SqliteOptions, Synchronous};
pub use store::SqliteStore;
pub use views::SqliteTx;
