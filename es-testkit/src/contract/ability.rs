use std::fmt;

use async_trait::async_trait;
use es_core::{
    Abilities, AppendError, Batch, Checkpoints, Claim, Criteria, EventStore, EventStoreExt,
    Position, Read, SharedCache, Snapshots, StoreError, StoreErrorKind, Timers, Write,
};

use super::{Movable, Site};
use crate::fake;

/// What a promise needs beside what every store can do.
///
/// ```
/// use es_core::{Abilities, Durability};
/// use es_testkit::contract::Need;
///
/// let all = Abilities::all(Durability::Fsync);
/// assert!(Need::Criteria.is_met_by(all));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// [`Abilities::many_streams`].
    ManyStreams,
    /// [`Abilities::criteria`].
    Criteria,
    /// [`Abilities::claims`].
    Claims,
    /// [`Abilities::reopens`].
    Reopens,
    /// Several programs have it at once.
    OtherPrograms,
    /// A broker that keeps what was published, for groups that begin with the earliest.
    History,
}

impl Need {
    /// Whether a store with these abilities meets it.
    pub fn is_met_by(self, abilities: Abilities) -> bool {
        match self {
            Self::ManyStreams => abilities.many_streams,
            Self::Criteria => abilities.criteria,
            Self::Claims => abilities.claims,
            // What only one program has does not come back either.
            Self::Reopens | Self::OtherPrograms => abilities.reopens,
            // A log has it, or it would be none.
            Self::History => true,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ManyStreams => "many streams",
            Self::Criteria => "criteria",
            Self::Claims => "claims",
            Self::Reopens => "reopens",
            Self::OtherPrograms => "other programs",
            Self::History => "a history",
        })
    }
}

/// A port that can be tested: what it cannot do, it refuses.
///
/// Only [`EventStore`] and brokers lack something; every other port can do everything.
///
/// ```
/// use es_core::{EventStore, memory::MemoryStore};
/// use es_testkit::contract::{Need, UnderTest};
///
/// let store: &dyn EventStore = &MemoryStore::new();
/// assert!(store.can(Need::Claims));
/// assert!(!store.can(Need::Reopens));
/// ```
#[async_trait]
pub trait UnderTest: Send + Sync + 'static {
    /// Whether it can do this.
    fn can(&self, need: Need) -> bool {
        let _ = need;
        true
    }

    /// Asserts that it says so when asked for what it cannot do; `false` if
    /// there is no way to ask.
    async fn refuses(site: &Site<Self>, need: Need) -> bool {
        let _ = (site, need);
        false
    }
}

impl UnderTest for dyn Checkpoints {}
impl UnderTest for dyn SharedCache {}
impl UnderTest for dyn Snapshots {}
impl UnderTest for dyn Timers {}

impl UnderTest for dyn Movable {
    fn can(&self, need: Need) -> bool {
        need.is_met_by(self.abilities())
    }
}

#[async_trait]
impl UnderTest for dyn EventStore {
    fn can(&self, need: Need) -> bool {
        need.is_met_by(self.abilities())
    }

    async fn refuses(log: &Site<Self>, need: Need) -> bool {
        let Some(batch) = batch_with(need) else { return false };
        let refusal = log.append(batch).await.expect_err("the store lacks this ability");
        assert_unsupported(&refusal);
        if need == Need::Criteria {
            let read = Read::matching(Criteria::tag(fake::tag("any", "tag")));
            assert_eq!(log.events(read).await.map_err(|e| e.kind()), Err(UNSUPPORTED));
        }
        assert!(everything(log).await.is_ok_and(|events| events == 0), "a refusal leaves no trace");
        true
    }
}

const UNSUPPORTED: StoreErrorKind = StoreErrorKind::Unsupported;

async fn everything(log: &Site<dyn EventStore>) -> Result<usize, StoreError> {
    Ok(log.events(Read::all().every_tenant()).await?.len())
}

fn assert_unsupported(refusal: &AppendError) {
    let kind = match refusal {
        AppendError::Store(error) => Some(error.kind()),
        _ => None,
    };
    assert_eq!(kind, Some(UNSUPPORTED), "what a store cannot do it refuses as such: {refusal:?}");
}

/// A batch that asks for the ability.
fn batch_with(need: Need) -> Option<Batch> {
    let stream = fake::stream("refused-1");
    let batch = Batch::to(stream.clone()).events(fake::events(1));
    Some(match need {
        Need::ManyStreams => {
            batch.write(Write::new(fake::stream("refused-2")).events(fake::events(1)))
        }
        Need::Criteria => batch.unless(Criteria::tag(fake::tag("any", "tag")), Position::START),
        Need::Claims => batch.claim(Claim::take("scope", "key", stream).expect("a claim")),
        Need::Reopens | Need::OtherPrograms | Need::History => return None,
    })
}
