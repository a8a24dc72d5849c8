//! Servers of a test's own.

use es_testkit::servers::{PrivateNats, PrivateRabbit, PrivateRedis, ServerError};

/// One of the brokers.
pub(crate) enum Server {
    Redis(PrivateRedis),
    Nats(PrivateNats),
    Rabbit(PrivateRabbit),
}

impl Server {
    /// Which forgets everything when it is killed.
    pub(crate) fn redis() -> Option<Self> {
        started("Redis", PrivateRedis::start()).map(Self::Redis)
    }

    /// Which has on disk what it has confirmed.
    pub(crate) fn lasting_redis() -> Option<Self> {
        let lasting = ["--appendonly", "yes", "--appendfsync", "always"];
        started("Redis", PrivateRedis::start_with(&lasting)).map(Self::Redis)
    }

    pub(crate) fn nats() -> Option<Self> {
        started("NATS", PrivateNats::start()).map(Self::Nats)
    }

    pub(crate) fn rabbitmq() -> Option<Self> {
        started("RabbitMQ", PrivateRabbit::start()).map(Self::Rabbit)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::Nats(nats) => nats.url(),
            Self::Rabbit(rabbit) => rabbit.url(),
        }
    }

    pub(crate) fn kill(&mut self) {
        tokio::task::block_in_place(|| match self {
            Self::Redis(redis) => redis.kill().unwrap(),
            Self::Nats(nats) => nats.kill().unwrap(),
            Self::Rabbit(rabbit) => rabbit.kill().unwrap(),
        });
    }

    pub(crate) fn restart(&mut self) {
        tokio::task::block_in_place(|| match self {
            Self::Redis(redis) => redis.restart().unwrap(),
            Self::Nats(nats) => nats.restart().unwrap(),
            Self::Rabbit(rabbit) => rabbit.restart().unwrap(),
        });
    }
}

/// Where there can be none, that is said.
fn started<S>(name: &str, server: Result<S, ServerError>) -> Option<S> {
    match server {
        Err(error @ ServerError::Unsupported(_)) => {
            tests::not_run(&format!("programs that are killed over {name}: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}
