use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use es_core::{DeadLetter, DeadLetterId, DeadLetterQuery, FaultKind, Group, Message, World};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};

use crate::{Broker, BusError, time::before};

/// Dead letters of one page.
const PAGE: usize = 100;

/// What one group could not handle.
///
/// ```
/// use es_bus::{EventBus, Redrive};
/// use es_core::Group;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let letters = EventBus::for_testing().dead_letters(&Group::new("billing")?);
/// for ((kind, reason), count) in letters.count().await? {
///     println!("{count} {kind}: {reason}");
/// }
/// let dry = letters.redrive(Redrive::all().dry_run()).await?;
/// assert_eq!((dry.given_back, dry.left), (0, 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Letters {
    broker: Arc<dyn Broker>,
    world: World,
    pub(crate) group: Group,
}

/// Which dead letters to give back to their group, and how fast. They go in the order in
/// which they were published.
///
/// ```
/// use es_bus::Redrive;
/// use es_core::FaultKind;
///
/// let gently = Redrive::all()
///     .when(|letter| letter.fault.kind == FaultKind::Transient)
///     .at_most(1_000)
///     .per_second(50);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Redrive {
    wants: Arc<dyn Fn(&DeadLetter) -> bool + Send + Sync>,
    at_most: u64,
    pause: Duration,
    is_dry: bool,
}

/// What came of a [`Redrive`].
///
/// ```
/// assert_eq!(es_bus::Redriven::default().given_back, 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Redriven {
    /// Dead letters that were given back, or that would have been in a dry run.
    pub given_back: u64,
    /// Dead letters that were looked at and left.
    pub left: u64,
}

impl Letters {
    pub(crate) fn new(broker: Arc<dyn Broker>, world: World, group: Group) -> Self {
        Self { broker, world, group }
    }

    /// Up to `limit` of them, after this one, by their numbers.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn list(
        &self,
        after: DeadLetterId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BusError> {
        let query = DeadLetterQuery::of(self.group.clone()).after(after).limit(limit);
        Ok(self.broker.dead_letters(query).await?)
    }

    /// All of them, by their numbers, a page at a time.
    pub fn all(&self) -> BoxStream<'_, Result<DeadLetter, BusError>> {
        let pages = stream::try_unfold(Some(DeadLetterId::default()), async |after| {
            let Some(after) = after else { return Ok::<_, BusError>(None) };
            let page = self.list(after, PAGE).await?;
            // A short page is not the last one: somebody may remove letters meanwhile.
            let next = page.last().map(|last| last.id);
            Ok(Some((stream::iter(page.into_iter().map(Ok)), next)))
        });
        pages.try_flatten().boxed()
    }

    /// How many there are of each reason.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn count(&self) -> Result<BTreeMap<(FaultKind, String), u64>, BusError> {
        let mut counts = BTreeMap::new();
        let mut all = self.all();
        while let Some(letter) = all.try_next().await? {
            *counts.entry((letter.fault.kind, letter.fault.reason)).or_default() += 1;
        }
        Ok(counts)
    }

    /// Gives one back to the group, with another message in its place if there is one, and
    /// says whether it was there.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn give_back(
        &self,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, BusError> {
        Ok(self.broker.give_back(&self.group, id, edited).await?)
    }

    /// Gives back those that it names. What fails again meanwhile is not given back twice.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails; what was given back before stays so.
    pub async fn redrive(&self, redrive: Redrive) -> Result<Redriven, BusError> {
        let mut redriven = Redriven::default();
        let mut all = self.all();
        while let Some(letter) = all.try_next().await? {
            if redriven.given_back == redrive.at_most {
                break;
            }
            if !(redrive.wants)(&letter) {
                redriven.left += 1;
                continue;
            }
            if !redrive.is_dry {
                if !self.give_back(letter.id, None).await? {
                    continue;
                }
                if !redrive.pause.is_zero() {
                    self.world.sleep(redrive.pause).await;
                }
            }
            redriven.given_back += 1;
        }
        Ok(redriven)
    }

    /// Removes one for good, and says whether it was there.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn discard(&self, id: DeadLetterId) -> Result<bool, BusError> {
        Ok(self.broker.discard(&self.group, id).await?)
    }

    /// Removes those that have been here longer than this, and says how many.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the broker fails.
    pub async fn expire(&self, older_than: Duration) -> Result<u64, BusError> {
        let before = before(self.world.now(), older_than);
        let mut removed = 0;
        let mut all = self.all();
        while let Some(letter) = all.try_next().await? {
            if letter.at < before && self.discard(letter.id).await? {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

impl Redrive {
    /// All that are there, as fast as the broker takes them.
    pub fn all() -> Self {
        Self { wants: Arc::new(|_| true), at_most: u64::MAX, pause: Duration::ZERO, is_dry: false }
    }

    /// Only such.
    pub fn when(mut self, wants: impl Fn(&DeadLetter) -> bool + Send + Sync + 'static) -> Self {
        self.wants = Arc::new(wants);
        self
    }

    /// No more than these.
    pub fn at_most(mut self, letters: u64) -> Self {
        self.at_most = letters;
        self
    }

    /// So many a second, and no faster.
    pub fn per_second(mut self, letters: u32) -> Self {
        self.pause = Duration::from_secs(1) / letters.max(1);
        self
    }

    /// Only counts them.
    pub fn dry_run(mut self) -> Self {
        self.is_dry = true;
        self
    }
}

impl fmt::Debug for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letters").field("group", &self.group).finish_non_exhaustive()
    }
}

impl fmt::Debug for Redrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redrive")
            .field("at_most", &self.at_most)
            .field("pause", &self.pause)
            .field("is_dry", &self.is_dry)
            .finish_non_exhaustive()
    }
}
