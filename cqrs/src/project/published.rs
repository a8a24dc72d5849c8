use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use chrono::{DateTime, Utc};
use es_core::{
    Keep, Name, OUTBOX, OUTBOX_MESSAGE, Read, RecordedEvent, Retention, StreamId, Tenant, Version,
    Views,
};
use futures_util::TryStreamExt;

use super::parked::{self, Parked};
use crate::{ProjectionError, Projector};

/// The first message of a stream that waits for somebody to decide.
type Waiting = HashMap<StreamId, Version>;

impl<V: Views> Projector<V> {
    /// Removes from the outbox of this log what is older than `age`, every tenant's, as far as
    /// each [relay of the outbox](crate::Relay::outbox) that this projector has has published
    /// it; returns how many messages. What is pending stays, and what is parked with all that
    /// is behind it. Of each key the last message stays, as of each stream the last event does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use cqrs::{Projector, Relay, StartAt};
    /// use es_core::memory::{MemoryBroker, MemoryStore, MemoryViews};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
    /// let (store, relay) = (MemoryStore::new(), Relay::outbox("outbox", MemoryBroker::new()));
    /// let projector = Projector::new(store.clone(), MemoryViews::new());
    /// let projector = projector.relay(relay, StartAt::Beginning);
    /// assert_eq!(projector.forget_published(&store, WEEK).await?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Refused`] without such a relay; [`ProjectionError::Store`] if the
    /// store fails, and what was removed until then is gone.
    pub async fn forget_published(
        &self,
        log: &impl Retention,
        age: Duration,
    ) -> Result<u64, ProjectionError> {
        let relays = self.relays()?;
        // In this order: what a relay has passed it has published, or it has parked it by then.
        let through = self.inner.shown(&relays).await?;
        let waiting = self.waiting(&relays).await?;
        let keep = Keep::category(OUTBOX).map_err(ProjectionError::handler)?;
        let Some(since) = keep.younger_than(age).since(self.inner.world.now()) else {
            return Ok(0);
        };
        let read = Read::category(OUTBOX).map_err(ProjectionError::handler)?.every_tenant();
        let mut pages = log.read(read.types([OUTBOX_MESSAGE]).up_to(through));
        let mut removed = 0;
        while let Some(page) = pages.try_next().await? {
            for (stream, before) in removable(page.events, since, &waiting) {
                removed += log.truncate(&stream, before).await?;
            }
        }
        Ok(removed)
    }

    fn relays(&self) -> Result<Vec<Name>, ProjectionError> {
        let about = self.inner.recipes.iter().map(|recipe| recipe.about());
        let relays = about.filter(|about| about.types.contains(&OUTBOX_MESSAGE));
        let names: Vec<_> = relays.map(|about| about.name.clone()).collect();
        if names.is_empty() {
            let why = "this projector has no relay of it, add it first";
            return Err(ProjectionError::Refused { name: OUTBOX.to_owned(), why });
        }
        Ok(names)
    }

    async fn waiting(&self, relays: &[Name]) -> Result<Waiting, ProjectionError> {
        let mut all = Vec::new();
        for relay in relays {
            let waits = |parked: &Parked| parked.waits();
            parked::each(&self.inner.views, relay, None, |_, one| {
                all.extend(
                    Some(one).filter(waits).map(|one| (one.tenant, one.stream, one.version)),
                );
            })
            .await?;
        }
        let mut waiting = Waiting::new();
        for (tenant, stream, version) in all {
            let tenant = Tenant::new(tenant).map_err(ProjectionError::handler)?;
            let stream = StreamId::parse(stream).map_err(ProjectionError::handler)?.of(tenant);
            let first = waiting.entry(stream).or_insert(Version::new(version));
            *first = Version::new(version).min(*first);
        }
        Ok(waiting)
    }
}

/// Before which version each stream may be truncated.
fn removable(
    events: Vec<RecordedEvent>,
    since: DateTime<Utc>,
    waiting: &Waiting,
) -> BTreeMap<StreamId, Version> {
    let waits = |event: &RecordedEvent| {
        waiting.get(&event.stream).is_some_and(|first| event.version >= *first)
    };
    let old = events.into_iter().filter(|event| event.recorded_at < since && !waits(event));
    old.map(|event| (event.stream, event.version.plus(1))).collect()
}
