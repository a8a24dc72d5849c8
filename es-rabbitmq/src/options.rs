use std::{fmt, time::Duration};

use es_core::{StoreError, StoreErrorKind, World};

use crate::{RabbitBroker, server::Server};

/// Most bytes of a prefix: with a group it has to fit into the name of a queue.
pub(crate) const PREFIX_BYTES: usize = 44;

/// Where the server is, and how it is used.
///
/// ```no_run
/// use std::time::Duration;
/// use es_rabbitmq::RabbitOptions;
///
/// # async fn example() -> Result<(), es_core::StoreError> {
/// let broker = RabbitOptions::new("amqp://guest:guest@127.0.0.1:5672/%2f")
///     .prefix("shop")
///     .heartbeat(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RabbitOptions {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) partitions: u32,
    pub(crate) heartbeat: Duration,
    pub(crate) world: World,
}

impl RabbitOptions {
    /// Into how many partitions keys are spread, unless another number is set.
    pub const PARTITIONS: u32 = 8;
    /// How often both sides say that they live, unless another time is set.
    pub const HEARTBEAT: Duration = Duration::from_secs(10);

    /// The server at this address, `amqp://user:password@host:port/vhost` or `amqps://…`;
    /// exchanges and queues begin with `gesta`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "gesta".into(),
            partitions: Self::PARTITIONS,
            heartbeat: Self::HEARTBEAT,
            world: World::real(),
        }
    }

    /// Sets what the names of exchanges and queues begin with: letters, digits, `_` and `-`,
    /// 44 at most. Programs that share a server, and not their messages, have one each.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets into how many partitions keys are spread, from 1 to 1,024. Each group has so many
    /// queues, and no more processes than that share its work. The first program that uses a
    /// prefix decides it for good.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions.clamp(1, 1_024);
        self
    }

    /// Sets how often both sides say that they live, in whole seconds from 1 on: after twice
    /// that of silence the server gives what this process has to others.
    #[must_use]
    pub fn heartbeat(mut self, pause: Duration) -> Self {
        self.heartbeat = pause.max(Duration::from_secs(1));
        self
    }

    /// Sets where time, chance and tasks come from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Connects, and makes the exchanges if they are not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the server cannot be reached or refuses it;
    /// [`Schema`](StoreErrorKind::Schema) if the prefix is used with another number of
    /// partitions; [`Invalid`](StoreErrorKind::Invalid) if the prefix or the address is none.
    pub async fn connect(self) -> Result<RabbitBroker, StoreError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let is_short = (1..=PREFIX_BYTES).contains(&self.prefix.len());
        if !is_short || !self.prefix.bytes().all(is_fit) {
            let message = format!(
                "{:?} is no prefix: take 1 to {PREFIX_BYTES} letters, digits, _ and -",
                self.prefix
            );
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        Ok(RabbitBroker::new(Server::connect(self).await?))
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("heartbeat", &self.heartbeat)
            .finish_non_exhaustive()
    }
}
