//! Gesta: event sourcing and CQRS for Rust.
//!
//! *Res gestae*, things done: the log of what happened is the only truth, and
//! everything else is a fold over it or a port to the outside.
//!
//! ```
#![doc = include_str!("../examples/first.rs")]
//! ```
//!
//! | feature | brings |
//! |---|---|
//! | `sqlite` (default) | [`sqlite`]: the embedded event store |
//! | `postgres` | [`postgres`]: the event store on PostgreSQL |
//! | `bus` | [`bus`]: messages between programs, over any broker |
//! | `saga` | [`saga`]: work of several steps that is undone if it fails |
//! | `cache` | answers of queries that are remembered |
//! | `redis` | [`redis`]: a broker, read models, and a cache of answers that processes share |
//! | `nats` | [`nats`]: a broker on NATS JetStream |
//! | `rabbitmq` | [`rabbitmq`]: a broker on RabbitMQ |
//! | `http` | [`http`]: tokens and versions in headers |
//! | `messagepack` | a binary codec, `Codec::MessagePack` |
//! | `schema` | a JSON Schema for each type of event |
//! | `metrics` | numbers for an operator, through the crate `metrics` |

extern crate self as gesta;

#[cfg(feature = "bus")]
mod bus_options;

pub use cqrs::{
    Answer, AnswerStream, Answered, AskError, Asking, BoxError, CacheTag, Change, Command,
    Commands, CommandsBuilder, Decide, DecideTogether, Decision, Difference, Dispatch, Failure,
    FailureClass, Fate, Freshness, Gathered, Guard, InlineViews, Keys, Live, LiveView,
    ModelSettings, ModelStatus, NameClaimedTwice, OnChange, Outcome, Parked, ParkedNote,
    ParkedState, PartStatus, Poison, Progress, Projecting, Projection, ProjectionError, Projector,
    Queries, QueriesBuilder, Query, QuerySettings, Reaction, Rebuild, RebuildProgress, Relay,
    Reply, SendError, Sent, Settings, Stale, StartAt, Streamed, Together, Trace, View,
};
pub use es_core::*;

/// Messages between programs, over any broker.
#[cfg(feature = "bus")]
pub mod bus {
    pub use crate::bus_options::BusOptions;
    pub use es_bus::*;
}

/// Sagas: work of several steps that comes to its end, or is undone.
#[cfg(feature = "saga")]
pub mod saga {
    pub use saga::*;
}

/// The embedded event store.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use es_sqlite::{SqliteOptions, SqliteStore, SqliteTx, Synchronous};
}

/// The event store on PostgreSQL.
#[cfg(feature = "postgres")]
pub mod postgres {
    pub use es_postgres::{Holder, PostgresCache, PostgresOptions, PostgresStore, PostgresTx};
}

/// A broker, read models and the cache of answers in Redis.
#[cfg(feature = "redis")]
pub mod redis {
    pub use es_redis_streams::{
        Cmd, RedisBroker, RedisCache, RedisOptions, RedisTx, RedisViews, cmd,
    };
}

/// A broker on NATS JetStream.
#[cfg(feature = "nats")]
pub mod nats {
    pub use es_nats::{NatsBroker, NatsOptions};
}

/// A broker on RabbitMQ.
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq {
    pub use es_rabbitmq::{RabbitBroker, RabbitOptions};
}

/// Tokens and versions on their way through HTTP.
#[cfg(feature = "http")]
pub use cqrs::http;

#[cfg(feature = "schema")]
#[doc(hidden)]
pub use es_core::__private;
