use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{Name, StoreError, Tenant};

/// Something to be woken for.
///
/// ```
/// use chrono::DateTime;
/// use es_core::{Name, Tenant, Timer};
///
/// let timer = Timer {
///     tenant: Tenant::default(),
///     name: Name::new("order-7/payment-overdue")?,
///     due: DateTime::UNIX_EPOCH,
///     payload: "7".into(),
/// };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Whose timer it is.
    pub tenant: Tenant,
    /// Its name, unique within the tenant.
    pub name: Name,
    /// When it is due.
    pub due: DateTime<Utc>,
    /// What its owner wants to be told.
    pub payload: Bytes,
}

/// Where timers are kept until they have been handled.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use es_core::{Name, Tenant, Timer, Timers, memory::MemoryTimers};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let timers = MemoryTimers::new();
/// let (tenant, name) = (Tenant::default(), Name::new("egg")?);
/// let due = DateTime::UNIX_EPOCH + TimeDelta::minutes(4);
/// timers.set(Timer { tenant: tenant.clone(), name: name.clone(), due, payload: "soft".into() }).await?;
/// assert!(timers.due(DateTime::UNIX_EPOCH, 10).await?.is_empty());
/// assert_eq!(timers.due(due, 10).await?[0].payload, "soft");
/// timers.cancel(&tenant, &name).await?;
/// assert!(timers.due(due, 10).await?.is_empty());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Timers: Send + Sync + 'static {
    /// Sets the timer, in the place of one with the same name.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn set(&self, timer: Timer) -> Result<(), StoreError>;

    /// Up to `limit` timers that are due at `now`, the most overdue first. They
    /// stay until they are cancelled, so that a crash loses none.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn due(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Timer>, StoreError>;

    /// Forgets the timer, whether handled or not wanted any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn cancel(&self, tenant: &Tenant, name: &Name) -> Result<(), StoreError>;
}
