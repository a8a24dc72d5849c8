use std::fmt;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{Address, Group, Message, StoreError};

/// A message that a group could not handle, kept apart.
///
/// See [`DeadLetters`] for an example.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number among the dead letters of its group, in the order of their publication
    /// within a key.
    pub id: DeadLetterId,
    /// The group that could not handle it.
    pub group: Group,
    /// Where it was published to.
    pub to: Address,
    /// The message.
    pub message: Message,
    /// Why it is here.
    pub fault: Fault,
    /// How often it was tried; 0 if it only stands behind another one.
    pub attempts: u32,
    /// When it was kept apart.
    pub at: DateTime<Utc>,
}

impl DeadLetter {
    /// All of it; for writers of brokers.
    pub fn new(
        id: DeadLetterId,
        group: Group,
        (to, message): (Address, Message),
        fault: Fault,
        attempts: u32,
        at: DateTime<Utc>,
    ) -> Self {
        Self { id, group, to, message, fault, attempts, at }
    }
}

/// The number of a dead letter in its group. It keeps it when it is given back and fails
/// once more.
///
/// ```
/// use es_core::DeadLetterId;
///
/// assert!(DeadLetterId(1) < DeadLetterId(2));
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct DeadLetterId(pub u64);

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a message could not be handled.
///
/// ```
/// use es_core::{Fault, FaultKind};
///
/// let fault = Fault::new(FaultKind::Permanent, "no such order");
/// assert_eq!(fault.to_string(), "permanent: no such order");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// What the handler said.
    pub reason: String,
}

/// The kinds of [`Fault`].
///
/// ```
/// assert_eq!(es_core::FaultKind::Undecodable.to_string(), "undecodable");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultKind {
    /// It might go better another time, but did not in all the tries.
    Transient,
    /// It can never be handled.
    Permanent,
    /// It cannot be read.
    Undecodable,
    /// The handler panicked.
    Panic,
    /// It stands behind a dead letter of its order.
    Behind,
}

impl Fault {
    /// A failure of this kind, with what the handler said.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Undecodable => "undecodable",
            Self::Panic => "panic",
            Self::Behind => "behind",
        })
    }
}

/// Which dead letters.
///
/// ```
/// use es_core::{DeadLetterId, DeadLetterQuery, Group};
///
/// let next = DeadLetterQuery::of(Group::new("billing")?).after(DeadLetterId(100)).limit(50);
/// assert_eq!(next.limit, 50);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterQuery {
    /// Whose.
    pub group: Group,
    /// Only those with a higher number.
    pub after: DeadLetterId,
    /// Most of them.
    pub limit: usize,
}

impl DeadLetterQuery {
    /// The first hundred of this group.
    pub fn of(group: Group) -> Self {
        Self { group, after: DeadLetterId::default(), limit: 100 }
    }

    /// Only those with a higher number.
    #[must_use]
    pub fn after(mut self, id: DeadLetterId) -> Self {
        self.after = id;
        self
    }

    /// Most of them.
    #[must_use]
    pub fn limit(mut self, letters: usize) -> Self {
        self.limit = letters;
        self
    }
}

/// What could not be handled, kept apart by a broker until somebody has looked at it.
///
/// ```
/// use es_core::{
///     Consumer, ContentType, DeadLetterQuery, DeadLetters, Fault, FaultKind, Group, Message,
///     Name, Publisher, Subscription, memory::MemoryBroker,
/// };
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::new();
/// let mails = Group::new("mails")?;
/// let mut deliveries = broker.consume(Subscription::of(mails.clone())).await?;
/// let mail = Message::new("1", Name::new("mail")?, ContentType::JSON, "{}");
/// broker.publish(&mails.clone().into(), vec![mail]).await?;
/// let fault = Fault::new(FaultKind::Permanent, "no address");
/// deliveries.next().await.expect("a delivery")?.dead_letter(fault).await?;
///
/// let letters = broker.dead_letters(DeadLetterQuery::of(mails.clone())).await?;
/// assert_eq!(letters[0].fault.reason, "no address");
/// broker.give_back(&mails, letters[0].id, None).await?;
/// assert_eq!(deliveries.next().await.expect("a delivery")?.message.id, "1");
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait DeadLetters: Send + Sync + 'static {
    /// The dead letters that the query names, by their numbers.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker fails.
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError>;

    /// Gives the dead letter back to its group, as it is or with another message in its
    /// place, and says whether it was there. It is published first and removed after, so
    /// that a crash in between doubles it and never loses it.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker fails.
    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError>;

    /// Removes the dead letter for good, and says whether it was there.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the broker fails.
    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError>;
}
