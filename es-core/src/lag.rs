use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    Direction, EventStore, EventStoreExt, Position, Read, RecordedEvent, Scope, StoreError,
    limits::LAG_POSITIONS,
};

/// How far a follower is behind, in events and in time. Both are upper bounds: it
/// is never further behind than they say, and caught up if they are nothing.
///
/// ```
/// use es_core::{Batch, ContentType, EventStore, EventStoreExt, Lag, Name, NewEvent, Position};
/// use es_core::{Read, StreamId, World, memory::MemoryStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, world) = (MemoryStore::new(), World::real());
/// let rung = NewEvent::raw(world.event_id(), Name::new("bell.rung")?, ContentType::JSON, "{}");
/// let appended = store.append(Batch::to(StreamId::new("bell", "north")?).event(rung)).await?;
///
/// let follows = |checkpoint| Read::all().after(checkpoint);
/// assert_eq!(store.lag(follows(Position::START), world.now()).await?.events, 1);
/// assert_eq!(store.lag(follows(appended.position), world.now()).await?, Lag::default());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Lag {
    /// At most so many events are unseen: as many as there are places from the
    /// first to the last of them, in the log or, for a stream, in the stream. Up to
    /// [`LAG_POSITIONS`] behind, 0 and 1 are exact; further behind, the places
    /// between that were not looked at all count.
    pub events: u64,
    /// How long the first unseen event has waited at most; `None` if there is
    /// none. It is not negative, whatever two clocks say.
    pub age: Option<Duration>,
}

/// Looks at [`LAG_POSITIONS`] places behind the checkpoint, and at as many before
/// the end.
pub(crate) async fn lag<S: EventStore + ?Sized>(
    store: &S,
    read: Read,
    now: DateTime<Utc>,
) -> Result<Lag, StoreError> {
    let read = Read { direction: Direction::Forwards, limit: None, ..read };
    let Some(end) = newest(store, everything(&read)).await? else { return Ok(Lag::default()) };
    let end = end.position.get();
    let low = read.after.get().saturating_add(LAG_POSITIONS).min(end);
    let high = end.saturating_sub(LAG_POSITIONS).max(read.after.get());
    let first = oldest(store, &read, low).await?;
    let last = newest(store, read.clone().after(Position::new(high))).await?;
    let events = match (&read.scope, &first, &last) {
        (Scope::Stream(_), Some(first), Some(last)) => {
            (last.version.get() + 1).saturating_sub(first.version.get())
        }
        _ => {
            let from = first.as_ref().map_or(low + 1, |event| event.position.get());
            let to = last.map_or(high, |event| event.position.get());
            (to + 1).saturating_sub(from)
        }
    };
    if events == 0 {
        return Ok(Lag::default());
    }
    let waiting = match first {
        Some(first) => Some(first),
        // What was not looked at is no older than this.
        None => oldest(store, &everything(&read.after(Position::new(low))), end).await?,
    };
    let age = |event: RecordedEvent| (now - event.recorded_at).to_std().unwrap_or_default();
    Ok(Lag { events, age: waiting.map(age) })
}

/// The request without what no store has an index for.
fn everything(read: &Read) -> Read {
    let scope = match &read.scope {
        Scope::Stream(stream) => Scope::Stream(stream.clone()),
        _ => Scope::All,
    };
    Read {
        scope,
        tenant: read.tenant.clone(),
        up_to: read.up_to,
        after_version: read.after_version,
        ..Read::all().after(read.after)
    }
}

async fn newest<S: EventStore + ?Sized>(
    store: &S,
    read: Read,
) -> Result<Option<RecordedEvent>, StoreError> {
    Ok(store.events(read.backwards().limit(1)).await?.pop())
}

/// The first event up to a position, even if followers have to wait for it: a
/// store may hold back what it shows to who reads backwards, and halving the
/// distance leads there.
async fn oldest<S: EventStore + ?Sized>(
    store: &S,
    read: &Read,
    up_to: u64,
) -> Result<Option<RecordedEvent>, StoreError> {
    let read = read.clone().up_to(Position::new(up_to));
    if let Some(first) = store.events(read.clone().limit(1)).await?.pop() {
        return Ok(Some(first));
    }
    let mut low = read.after.get();
    let mut found = newest(store, read.clone()).await?;
    while let Some(high) = found.as_ref().map(|event| event.position.get() - 1)
        && high > low
    {
        let middle = low + (high - low).div_ceil(2);
        let half = read.clone().after(Position::new(low)).up_to(Position::new(middle));
        match newest(store, half).await? {
            Some(earlier) => found = Some(earlier),
            None => low = middle,
        }
    }
    Ok(found)
}
