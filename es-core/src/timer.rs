use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::{Name, StoreError, Tenant};

/// Which timer it is.
///
/// ```
/// use es_core::{Name, Tenant, TimerId};
///
/// let overdue = TimerId {
///     tenant: Tenant::default(),
///     owner: Name::new("payments")?,
///     name: Name::new("order-7/overdue")?,
/// };
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    /// Whose timer it is.
    pub tenant: Tenant,
    /// What part of the program is woken, as a saga or a bus. The others do not see it.
    pub owner: Name,
    /// Its name, unique for this tenant and owner.
    pub name: Name,
}

/// Something to be woken for; see [`Timers`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// Which one it is.
    pub id: TimerId,
    /// When it is due.
    pub due: DateTime<Utc>,
    /// What its owner wants to be told.
    pub payload: Bytes,
}

/// A timer that is handled by whoever has taken it; see [`Timers`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenTimer {
    /// The timer.
    pub timer: Timer,
    /// When it is due once more, unless it is [done](Timers::done) by then.
    pub until: DateTime<Utc>,
}

/// Where timers are kept until they have been handled.
///
/// Whoever asks for what is due takes it, so that of many processes one handles a timer; if
/// that one dies, it is due once more. A timer is handled **at least once**.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use es_core::{Name, Tenant, Timer, TimerId, Timers, memory::MemoryTimers};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let timers = MemoryTimers::new();
/// let kitchen = Name::new("kitchen")?;
/// let id = TimerId { tenant: Tenant::default(), owner: kitchen.clone(), name: Name::new("egg")? };
/// let due = DateTime::UNIX_EPOCH + TimeDelta::minutes(4);
/// timers.set(Timer { id, due, payload: "soft".into() }).await?;
/// assert_eq!(timers.next_due(&kitchen).await?, Some(due));
///
/// let until = due + TimeDelta::minutes(1);
/// let taken = timers.take_due(&kitchen, due, until, 10).await?;
/// assert_eq!(taken[0].timer.payload, "soft");
/// assert!(timers.take_due(&kitchen, due, until, 10).await?.is_empty());
/// timers.done(&taken[0]).await?;
/// assert_eq!(timers.next_due(&kitchen).await?, None);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Timers: Send + Sync + 'static {
    /// Sets the timer, in the place of one with the same id, whether that is taken or not.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn set(&self, timer: Timer) -> Result<(), StoreError>;

    /// Takes up to `limit` of the owner's timers that are due at `now`, of all tenants, those
    /// that have been due for longest. Nobody is given them before `until`; then they are due
    /// once more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; some may be taken.
    async fn take_due(
        &self,
        owner: &Name,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<TakenTimer>, StoreError>;

    /// Forgets a timer that was handled, unless it was set anew or taken by another since.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn done(&self, taken: &TakenTimer) -> Result<(), StoreError>;

    /// Forgets a timer that is not wanted any more. Who has taken it may have handled it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn cancel(&self, id: &TimerId) -> Result<(), StoreError>;

    /// When the first of the owner's timers is due, or due once more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn next_due(&self, owner: &Name) -> Result<Option<DateTime<Utc>>, StoreError>;
}
