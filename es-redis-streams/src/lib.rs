//! Gesta on Redis: a cache of answers that processes share.
//!
//! ```no_run
//! use es_redis_streams::RedisOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cache = RedisOptions::new("redis://127.0.0.1:6379").prefix("bank").cache()?;
//! // Queries::builder(projector).shared_cache(cache) …
//! # Ok(())
//! # }
//! ```
//!
//! It needs Redis 6.0 or newer, one server or one with replicas; not a cluster. What
//! it holds may be lost at any time: by a restart, by `FLUSHALL`, by eviction.
//!
//! | room | what is in it |
//! |---|---|
//! | `options` | where the server is, and how long it may take |
//! | `cache`, `scripts/` | answers, and the stamps of their tags |
//! | `listening` | invalidations, from a stream that all processes read |
//! | `connection`, `error` | what stands between us and the server |

mod builds;
mod cache;
mod connection;
mod error;
mod keys;
mod listening;
mod options;
mod parts;
mod scripts;
mod server;
mod tx;
mod views;

pub use cache::RedisCache;
pub use options::RedisOptions;
pub use redis::{Cmd, cmd};
pub use tx::RedisTx;
pub use views::RedisViews;
