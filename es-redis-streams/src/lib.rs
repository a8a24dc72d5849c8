//! Gesta on Redis: a broker, read models, and a cache of answers that processes share.
//!
//! ```no_run
//! use es_redis_streams::RedisOptions;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = RedisOptions::new("redis://127.0.0.1:6379").prefix("bank");
//! let views = options.clone().views().await?;
//! // Projector::new(store, views) …
//! let broker = options.clone().broker().await?;
//! // broker.publish(…), broker.consume(…)
//! let cache = options.cache()?;
//! // Queries::builder(projector).shared_cache(cache) …
//! # Ok(())
//! # }
//! ```
//!
//! It needs Redis 7.0 or newer (the cache alone 6.0), one server or one with replicas; for
//! read models and the broker it may be a cluster, in which all keys of a prefix are on one
//! node. What the cache holds may be lost at any time: by a restart, by `FLUSHALL`, by
//! eviction. Read models and messages may be lost at once, or their last changes, and never by
//! eviction.
//!
//! | room | what is in it |
//! |---|---|
//! | `options`, `server` | where the server is, how long it may take, and whether it can be trusted |
//! | `views`, `tx` | rows of read models, and what a free-form projection does |
//! | `broker` | messages, the groups that are given them, and what they could not handle |
//! | `builds`, `parts` | builds, who keeps their parts, and how that is written |
//! | `cache`, `listening` | answers, the stamps of their tags, and what other processes tell |
//! | `scripts/` | each step that the server does undisturbed |
//! | `connection`, `keys`, `error` | what stands between us and the server |

mod broker;
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

pub use broker::RedisBroker;
pub use cache::RedisCache;
pub use options::RedisOptions;
pub use redis::{Cmd, cmd};
pub use tx::RedisTx;
pub use views::RedisViews;
