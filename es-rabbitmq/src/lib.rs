//! Gesta on RabbitMQ: a broker with topics, groups, order by key, and dead letters.

mod broker;
mod envelope;
mod error;
mod group;
mod letters;
mod names;
mod options;
mod server;

pub use broker::RabbitBroker;
pub use options::RabbitOptions;
