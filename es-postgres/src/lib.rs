//! Gesta on PostgreSQL: events, checkpoints, snapshots, timers, views and a cache of
//! answers in one schema of a database.
//!
//! ```no_run
//! use es_core::{Durability, EventStoreExt};
//! use es_postgres::PostgresStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = PostgresStore::open("postgres://postgres@localhost/bank").await?;
//! store.require_durable(Durability::Fsync)?;
//! # store.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `store` | the event store: the door to the others |
//! | `queue`, `writer`, `answers`, `conflicts` | appends that wait, groups of them, who carries them out, what the senders are told |
//! | `lone`, `simple`, `batch`, `statements/` | one event, a group, a batch of any kind: each as one statement |
//! | `reading`, `following`, `loads`, `query`, `row` | pages, now and for ever, streams that are loaded at once, SQL, rows |
//! | `retention` | what removes events |
//! | `horizon` | how far followers may read, and who wakes them |
//! | `import`, `copy_in` | the events of another store, as they are |
//! | `checkpoints`, `snapshots`, `timers`, `views`, `builds` | the other ports |
//! | `inbox` | what the handlers of a broker's messages have handled |
//! | `cache`, `invalidations` | a cache of answers that processes share, what they tell each other |
//! | `connections`, `error` | what stands between us and the server |
//! | `metrics` | what an operator watches |
//! | `inline`, `folding`, `handover` | appends that change the rows of read models, the rows, how a model begins |
//! | `migrate`, `schema`, `schema/` | the tables |
//! | `wall`, `schema/wall/` | what the server itself keeps apart |

mod answers;
mod batch;
mod builds;
mod cache;
mod call;
mod checkpoints;
mod conflicts;
mod connections;
mod copy_in;
mod error;
mod folding;
mod following;
mod handover;
mod horizon;
mod import;
mod inbox;
mod inline;
mod invalidations;
mod loads;
mod lone;
mod metrics;
mod migrate;
mod options;
#[cfg(test)]
mod plans;
mod query;
mod queue;
mod reading;
mod retention;
mod row;
#[cfg(test)]
mod row_plans;
mod schema;
mod simple;
mod snapshots;
mod statements;
mod store;
mod timers;
mod views;
mod wall;
mod writer;

pub use cache::PostgresCache;
pub use horizon::Holder;
pub use options::PostgresOptions;
pub use store::PostgresStore;
pub use views::PostgresTx;
