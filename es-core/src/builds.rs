use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Checkpoint, INLINE, InlineModel, Name, Part, Position, Slices, StoreError, StoreErrorKind,
};

/// Which builds of a read model there are, which one answers, how each is divided,
/// and who keeps which part.
///
/// A lease keeps workers out of each other's way; it protects nothing. What protects
/// is the epoch of the part's checkpoint, which each new owner raises: an owner whose
/// lease was stolen while it slept cannot write.
///
/// Leases are measured by the clock of the store, not of its callers.
///
/// ```
/// use std::time::Duration;
/// use es_core::{Builds, BuildChange, Name, Part, Slices, Taking, memory::MemoryViews};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (views, lease) = (MemoryViews::new(), Duration::from_secs(10));
/// let balances = Name::new("balances")?;
/// views.change(BuildChange::begin(balances.clone(), 1).parts(Slices::split(2))).await?;
///
/// let part = Part::new(balances.clone(), 1, Slices::split(2)[0]);
/// let (one, two) = (Name::new("one")?, Name::new("two")?);
/// let mine = views.take(&part, &one, lease, Taking::IfFree).await?;
/// assert_eq!(mine.map(|mine| mine.epoch), Some(1));
/// assert!(views.take(&part, &two, lease, Taking::IfFree).await?.is_none());
///
/// let builds = views.builds(&[balances]).await?;
/// assert!(builds[0].serves);
/// assert_eq!(builds[0].parts[0].owner, Some(one));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Builds: Send + Sync + 'static {
    /// Every build of these models, in the order of their numbers; each with its
    /// parts in the order of their slices.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError>;

    /// Makes the change, or nothing of it.
    ///
    /// # Errors
    ///
    /// [`Fenced`](crate::StoreErrorKind::Fenced) if the builds do not look as the
    /// change says: look at them again. [`Busy`](crate::StoreErrorKind::Busy) if a
    /// build that is to answer has not come as far as the one that does.
    async fn change(&self, change: BuildChange) -> Result<(), StoreError>;

    /// Takes a part, under a new epoch; with a lease of nothing it stays free for
    /// others. `None` if somebody else has a lease of it, or if there is no such
    /// part.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError>;

    /// Begins the leases anew of those parts that still have this owner and epoch,
    /// and tells which they are. A lease of nothing hands them over; any other does not
    /// wait for a transaction that writes one of them: nobody takes that part before its
    /// end, and a commit begins its lease anew.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails.
    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError>;

    /// From now on the appends of this store change the rows of the model, and those of
    /// every other program that knows it: see [`Inline`](crate::Inline). What was appended
    /// since its checkpoint is folded first; no append comes between. Whoever kept its
    /// parts is fenced.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::StoreErrorKind::Unsupported) if this store was not opened
    /// with the model; [`Busy`](crate::StoreErrorKind::Busy) if it is too far behind: let
    /// workers bring it nearer;
    /// [`Invalid`](crate::StoreErrorKind::Invalid) if events of it are parked, if its build
    /// is of another revision, or if an event cannot be folded.
    async fn keep_inline(&self, model: &Name) -> Result<(), StoreError> {
        Err(InlineModel::unknown(model))
    }
}

/// Whether a part is taken from an owner whose lease has not ended.
///
/// ```
/// assert_ne!(es_core::Taking::IfFree, es_core::Taking::Anyway);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taking {
    /// Only a part that nobody has a lease of, or this owner itself.
    IfFree,
    /// As [`IfFree`](Self::IfFree), but not a part that somebody is writing at this
    /// moment, for which another store's transaction would have to be waited.
    IfIdle,
    /// Whoever has it.
    Anyway,
}

/// One build of a read model.
///
/// ```
/// use es_core::{Build, Name, Position};
///
/// let build = Build::new(Name::new("balances")?, 1);
/// assert_eq!(build.position(), None);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Build {
    /// The read model.
    pub model: Name,
    /// Its number, counted from 1.
    pub number: u64,
    /// Which code makes it.
    pub revision: u64,
    /// Whether it answers.
    pub serves: bool,
    /// Its parts; none if another build has taken its place.
    pub parts: Vec<PartState>,
}

impl Build {
    /// A build without parts.
    pub fn new(model: Name, number: u64) -> Self {
        Self { model, number, revision: 0, serves: false, parts: Vec::new() }
    }

    /// How far all of its parts have come; `None` if it has none.
    pub fn position(&self) -> Option<Position> {
        self.parts.iter().map(|part| part.checkpoint.position).min()
    }

    /// Whether its rows change with each append.
    pub fn is_inline(&self) -> bool {
        self.parts.iter().any(PartState::is_inline)
    }

    /// The part with these slices.
    pub fn part(&self, slices: Slices) -> Part {
        Part::new(self.model.clone(), self.number, slices)
    }
}

/// How far a part has come, and who keeps it.
///
/// ```
/// use es_core::{PartState, Slices};
///
/// assert!(PartState::new(Slices::ALL).is_free());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartState {
    /// Which keys.
    pub slices: Slices,
    /// How far it has come, and how often its owner has changed.
    pub checkpoint: Checkpoint,
    /// Who has it, or had it last.
    pub owner: Option<Name>,
    /// How long it stays with the owner, unless the lease begins anew.
    pub leased: Duration,
}

impl PartState {
    /// A part at the start, which nobody has.
    pub fn new(slices: Slices) -> Self {
        Self { slices, checkpoint: Checkpoint::default(), owner: None, leased: Duration::ZERO }
    }

    /// Whether anybody may take it.
    pub fn is_free(&self) -> bool {
        self.leased.is_zero()
    }

    /// Whether it changes with each append.
    pub fn is_inline(&self) -> bool {
        !self.is_free() && self.owner.as_ref() == Some(&INLINE)
    }
}

/// Something to be changed about the builds of a read model.
///
/// ```
/// use es_core::{BuildChange, Name, Slices};
///
/// let change = BuildChange::begin(Name::new("balances")?, 1).revision(3).parts(Slices::split(4));
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuildChange {
    /// The read model.
    pub model: Name,
    /// Which build of it.
    pub build: u64,
    /// What happens to it.
    pub what: BuildStep,
}

/// What happens to a build.
///
/// ```
/// use es_core::{BuildChange, Name, BuildStep};
///
/// let change = BuildChange::discard(Name::new("balances")?, 1);
/// assert_eq!(change.what, BuildStep::Discard);
/// # Ok::<(), es_core::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildStep {
    /// It begins; nobody else has begun one of this number. It answers at once if
    /// none does.
    Begin {
        /// Which code makes it.
        revision: u64,
        /// Its parts, under a later epoch than any part that the model has no more.
        parts: Vec<Slices>,
        /// Where all of them stand at first.
        from: Position,
    },
    /// Parts that look like this, all at one position, are replaced by others: at
    /// that position, under a later epoch than any of theirs. Nobody has them then.
    Divide {
        /// The parts as they are.
        from: Vec<(Slices, Checkpoint)>,
        /// The same slices, in other parts.
        into: Vec<Slices>,
    },
    /// It answers from now on. Its parts look like this, and have come as far as
    /// those of the one that answered; which has no parts any more, nor has any that
    /// began before it.
    Serve {
        /// Its parts.
        parts: Vec<(Slices, Checkpoint)>,
        /// Where the log ends: what has come further than that has seen another log, and
        /// need not be reached.
        head: Position,
    },
    /// It is deleted with its rows. It is not the one that answers.
    Discard,
    /// Every build of the model is deleted with its rows, also the one that answers. What
    /// begins later does so under later epochs.
    Remove,
}

impl BuildChange {
    /// Begins a build, in one part, by the first code.
    pub fn begin(model: Name, build: u64) -> Self {
        let (revision, parts, from) = (0, vec![Slices::ALL], Position::START);
        Self { model, build, what: BuildStep::Begin { revision, parts, from } }
    }

    /// A build that this code makes.
    #[must_use]
    pub fn revision(mut self, new: u64) -> Self {
        if let BuildStep::Begin { revision, .. } = &mut self.what {
            *revision = new;
        }
        self
    }

    /// A build with these parts.
    #[must_use]
    pub fn parts(mut self, new: impl IntoIterator<Item = Slices>) -> Self {
        if let BuildStep::Begin { parts, .. } = &mut self.what {
            *parts = new.into_iter().collect();
        }
        self
    }

    /// A build that shows nothing of what stands at or before this position.
    #[must_use]
    pub fn from(mut self, new: Position) -> Self {
        if let BuildStep::Begin { from, .. } = &mut self.what {
            *from = new;
        }
        self
    }

    /// Replaces parts by others.
    pub fn divide(
        model: Name,
        build: u64,
        from: Vec<(Slices, Checkpoint)>,
        into: Vec<Slices>,
    ) -> Self {
        Self { model, build, what: BuildStep::Divide { from, into } }
    }

    /// Lets a build answer whose parts look like this.
    pub fn serve(model: Name, build: u64, parts: Vec<(Slices, Checkpoint)>) -> Self {
        let head = Position::new(u64::MAX);
        Self { model, build, what: BuildStep::Serve { parts, head } }
    }

    /// Serves a build of a log that ends here, though the one that answered may have seen
    /// a longer one, which was lost.
    #[must_use]
    pub fn of_log(mut self, end: Position) -> Self {
        if let BuildStep::Serve { head, .. } = &mut self.what {
            *head = end;
        }
        self
    }

    /// Deletes a build.
    pub fn discard(model: Name, build: u64) -> Self {
        Self { model, build, what: BuildStep::Discard }
    }

    /// Deletes every build of a model.
    pub fn remove(model: Name) -> Self {
        Self { model, build: 0, what: BuildStep::Remove }
    }

    /// Refuses what makes no sense on any store; adapters call it first.
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreErrorKind::Invalid).
    pub fn check(&self) -> Result<(), StoreError> {
        let refuse = |why: &str| {
            let message = format!("build {} of {}: {why}", self.build, self.model);
            Err(StoreError::new(StoreErrorKind::Invalid, message))
        };
        match &self.what {
            BuildStep::Begin { .. } if self.build == 0 => refuse("builds are counted from 1"),
            BuildStep::Begin { parts, .. } if covered(parts) != Some(Slices::ALL) => {
                refuse("its parts must cover each slice once")
            }
            BuildStep::Divide { from, into } => {
                let slices: Vec<_> = from.iter().map(|(slices, _)| *slices).collect();
                let mut positions = from.iter().map(|(_, checkpoint)| checkpoint.position);
                let first = positions.next();
                if covered(&slices).is_none() || covered(&slices) != covered(into) {
                    refuse("the new parts must cover what the old ones do, each slice once")
                } else if positions.any(|position| Some(position) != first) {
                    refuse("parts can only be joined at one position")
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

/// The slices that these parts cover without a hole and without an overlap.
fn covered(parts: &[Slices]) -> Option<Slices> {
    let mut parts = parts.to_vec();
    parts.sort_unstable();
    parts.into_iter().map(Some).reduce(|all, next| all?.joined(next?))?
}
