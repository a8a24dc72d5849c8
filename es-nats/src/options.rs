use std::{fmt, time::Duration};

use es_core::{StoreError, StoreErrorKind, World};

use crate::{NatsBroker, server::Server};

/// Where the server is, and how it is used.
///
/// ```no_run
/// use std::time::Duration;
/// use es_nats::NatsOptions;
///
/// # async fn example() -> Result<(), es_core::StoreError> {
/// let broker = NatsOptions::new("nats://127.0.0.1:4222")
///     .prefix("shop")
///     .keep_for(Duration::from_secs(24 * 60 * 60))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsOptions {
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) partitions: u32,
    pub(crate) replicas: usize,
    pub(crate) keep_for: Duration,
    pub(crate) keep_bytes: Option<u64>,
    pub(crate) lease: Duration,
    pub(crate) world: World,
}

impl NatsOptions {
    /// Into how many partitions keys are spread, unless another number is set.
    pub const PARTITIONS: u32 = 16;
    /// How long messages are kept, handled or not, unless another time is set: a week.
    pub const KEEP_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);
    /// How long a process may be silent until others take over, unless another time is set.
    pub const LEASE: Duration = Duration::from_secs(6);

    /// The server at this address, `nats://[user:password@]host[:port]`, or several with
    /// commas between them; streams and subjects begin with `gesta`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: "gesta".into(),
            partitions: Self::PARTITIONS,
            replicas: 1,
            keep_for: Self::KEEP_FOR,
            keep_bytes: None,
            lease: Self::LEASE,
            world: World::real(),
        }
    }

    /// Sets what the names of streams and subjects begin with: letters, digits, `_` and
    /// `-`. Programs that share a server, and not their messages, have one each.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets into how many partitions keys are spread. No more processes than that share the
    /// work of a group. The first program that uses a prefix decides it for good.
    #[must_use]
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.partitions = partitions.clamp(1, 1_024);
        self
    }

    /// Sets on how many servers of a cluster the streams are kept, if they are new.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas.max(1);
        self
    }

    /// Sets how long messages are kept, whether they were handled or not, if the stream is
    /// new. A group that is behind for longer loses some, and says so in the log.
    #[must_use]
    pub fn keep_for(mut self, time: Duration) -> Self {
        self.keep_for = time;
        self
    }

    /// Sets how many bytes of messages are kept at most, if the stream is new; the oldest
    /// go first. Without it there is no bound but the disk.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: u64) -> Self {
        self.keep_bytes = Some(bytes);
        self
    }

    /// Sets how long a process may be silent until others of its groups take over what it
    /// has. All processes should agree.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(30));
        self
    }

    /// Sets where time, chance and tasks come from.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = world;
        self
    }

    /// Connects, and makes the streams if they are not there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the server cannot be reached or has no JetStream;
    /// [`Schema`](StoreErrorKind::Schema) if there is a stream of that name that is not as
    /// it has to be; [`Unsupported`](StoreErrorKind::Unsupported) if the server did not keep
    /// what it was told; [`Invalid`](StoreErrorKind::Invalid) if the prefix is none.
    pub async fn connect(self) -> Result<NatsBroker, StoreError> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if self.prefix.is_empty() || self.prefix.len() > 100 || !self.prefix.bytes().all(is_fit) {
            let message =
                format!("{:?} is no prefix: take 1 to 100 letters, digits, _ and -", self.prefix);
            return Err(StoreError::new(StoreErrorKind::Invalid, message));
        }
        Ok(NatsBroker::new(Server::connect(self).await?))
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
