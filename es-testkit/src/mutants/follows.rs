//! Bugs of following: where the past meets the present.

use es_core::{EventStore, EventStoreExt, Page, Pages, Position, Read, memory::MemoryStore};
use futures_util::{FutureExt, StreamExt, TryStreamExt, future};

use super::{Bug, reads};

pub(super) fn follow(bug: Bug, sound: &MemoryStore, read: Read) -> Pages {
    match bug {
        Bug::HandOverMisses => past_then_present(sound, read, Gap::Missed),
        Bug::HandOverDoubles => past_then_present(sound, read, Gap::Doubled),
        Bug::FollowForgetsFilter => sound.follow(unfiltered(read)),
        Bug::ThroughTooFar => sound.follow(read).map_ok(reads::too_far).boxed(),
        _ => sound.follow(read),
    }
}

#[derive(Clone, Copy)]
enum Gap {
    Missed,
    Doubled,
}

/// Reads the past, then asks where the head is, then follows from there: what
/// came between is lost. The other way round it comes twice.
fn past_then_present(sound: &MemoryStore, read: Read, gap: Gap) -> Pages {
    if read.limit.is_some() || read.direction == es_core::Direction::Backwards {
        return sound.follow(read);
    }
    let past = sound.read(read.clone());
    let store = sound.clone();
    let present = async move {
        tokio::task::yield_now().await;
        let head = store.head().await.unwrap_or_default();
        let from = match gap {
            Gap::Doubled => Position::new(head.get().saturating_sub(1)).max(read.after),
            Gap::Missed => head.max(read.after),
        };
        let reached = Page { events: vec![], through: from };
        let reached = futures_util::stream::once(future::ok(reached));
        reached.chain(store.follow(read.after(from))).boxed()
    };
    past.chain(present.into_stream().flatten()).boxed()
}

fn unfiltered(mut read: Read) -> Read {
    read.types.clear();
    read.tags.clear();
    read.correlation_id = None;
    read
}
