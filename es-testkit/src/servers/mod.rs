//! Servers and networks that fail when a test tells them to.
//!
//! | to have | take |
//! |---|---|
//! | a Postgres that can be killed, paused and filled up | `PrivatePostgres`, on Unix |
//! | a Redis that can be killed | [`PrivateRedis`] |
//! | a NATS server that can be killed | [`PrivateNats`] |
//! | a RabbitMQ that can be killed | [`PrivateRabbit`] |
//! | a network that cuts, delays and swallows | [`Proxy`] |
//!
//! Everything here blocks its thread and needs no runtime. Nothing is random: a
//! test that wants chance draws its numbers from a
//! [`SeededRandom`](crate::SeededRandom).

mod carrying;
#[cfg(unix)]
mod disk;
mod error;
mod nats;
#[cfg(unix)]
mod postgres;
#[cfg(unix)]
mod programs;
mod proxy;
mod rabbitmq;
mod redis;
mod requests;
#[cfg(unix)]
mod running;
mod single;

pub use error::ServerError;
pub use nats::{PrivateNats, nats_answers};
#[cfg(unix)]
pub use postgres::PrivatePostgres;
pub use proxy::{Proxy, containing};
pub use rabbitmq::{PrivateRabbit, rabbitmq_answers};
pub use redis::{PrivateRedis, redis_answers};

/// Where the Postgres is that tests share: `GESTA_POSTGRES_URL`, which
/// `cargo xtask test` sets, or else the standard port of this machine.
///
/// ```
/// assert!(es_testkit::servers::postgres_url().starts_with("postgres"));
/// ```
pub fn postgres_url() -> String {
    let url = std::env::var("GESTA_POSTGRES_URL");
    url.unwrap_or_else(|_| "postgres://postgres@127.0.0.1:5432/postgres".into())
}

/// Where the Redis is that tests share: `GESTA_REDIS_URL`, which `cargo xtask test`
/// sets, or else the standard port of this machine.
///
/// ```
/// assert!(es_testkit::servers::redis_url().starts_with("redis"));
/// ```
pub fn redis_url() -> String {
    std::env::var("GESTA_REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".into())
}

/// Where the NATS server is that tests share: `GESTA_NATS_URL`, which `cargo xtask test`
/// sets, or else the standard port of this machine.
///
/// ```
/// assert!(es_testkit::servers::nats_url().starts_with("nats"));
/// ```
pub fn nats_url() -> String {
    std::env::var("GESTA_NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".into())
}

/// Where the RabbitMQ is that tests share: `GESTA_RABBITMQ_URL`, which `cargo xtask test`
/// sets, or else the standard port of this machine.
///
/// ```
/// assert!(es_testkit::servers::rabbitmq_url().starts_with("amqp"));
/// ```
pub fn rabbitmq_url() -> String {
    let url = std::env::var("GESTA_RABBITMQ_URL");
    url.unwrap_or_else(|_| "amqp://guest:guest@127.0.0.1:5672/%2f".into())
}
