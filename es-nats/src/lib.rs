//! Gesta on NATS JetStream: a broker with topics, groups, order by key, and dead letters.

mod broker;
mod earlier;
mod envelope;
mod error;
mod group;
mod letters;
mod names;
mod options;
mod server;

pub use broker::NatsBroker;
pub use options::NatsOptions;
