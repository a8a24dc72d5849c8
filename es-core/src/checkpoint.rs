use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Name, Position, StoreError};

/// How far a reader has come, and which owner may move it.
///
/// ```
/// use es_core::{Checkpoint, Position};
///
/// let mine = Checkpoint::default().taken_over();
/// assert_eq!(mine.epoch, 1);
/// assert_eq!(mine.at(Position::new(9)).position, Position::new(9));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Counts the owners: each one that takes over adds one, and with that no
    /// earlier owner can write any more.
    pub epoch: u64,
    /// Every event at or before it has been handled.
    pub position: Position,
}

impl Checkpoint {
    /// The same position under a new owner.
    #[must_use]
    pub fn taken_over(self) -> Self {
        Self { epoch: self.epoch + 1, ..self }
    }

    /// The same owner at another position.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }
}

/// Where readers keep how far they have come.
///
/// ```
/// use es_core::{Checkpoint, Checkpoints, Name, Position, memory::MemoryCheckpoints};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let checkpoints = MemoryCheckpoints::new();
/// let mailer = Name::new("mailer")?;
/// let start = checkpoints.load(&mailer).await?;
/// let mine = start.taken_over();
/// checkpoints.save(&mailer, start, mine).await?;
/// checkpoints.save(&mailer, mine, mine.at(Position::new(7))).await?;
/// assert!(checkpoints.save(&mailer, start, start.at(Position::new(3))).await.is_err());
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Checkpoints: Send + Sync + 'static {
    /// The checkpoint of this name; the default one if there is none yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn load(&self, name: &Name) -> Result<Checkpoint, StoreError>;

    /// Puts `next` in the place of `seen`, if `seen` is still what stands there.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::StoreErrorKind::Fenced) if somebody else has moved it.
    async fn save(&self, name: &Name, seen: Checkpoint, next: Checkpoint)
    -> Result<(), StoreError>;
}
