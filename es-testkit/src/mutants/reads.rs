//! Bugs of reading.

use es_core::{
    Direction, EventStore, Page, Pages, Position, Read, Scope, Snapped, Snapshots, StreamId,
    limits, memory::MemoryStore,
};
use futures_util::{StreamExt, TryStreamExt};

use super::{Bug, Mutant};

pub(super) fn read(bug: Bug, sound: &MemoryStore, mut read: Read) -> Pages {
    match bug {
        Bug::TenantLeak if matches!(read.scope, Scope::Category(_)) => {
            sound.read(read.every_tenant())
        }
        Bug::BackwardsLimitWrong if read.limit.is_some() => {
            let direction = std::mem::take(&mut read.direction);
            let back = direction == Direction::Backwards;
            sound.read(read).map_ok(move |page| if back { turned(page) } else { page }).boxed()
        }
        Bug::ThroughTooFar => sound.read(read).map_ok(too_far).boxed(),
        Bug::PageBoundaryLoses => sound.read(read).map_ok(without_the_last).boxed(),
        Bug::TailOneShort if read.after_version.get() > 0 => {
            let after = read.after_version.plus(1);
            sound.read(read.after_version(after))
        }
        Bug::EndInvented if read.after_version.get() > 0 => invented(sound, read),
        Bug::TagIsPrefix if !read.tags.is_empty() => prefixed(sound, read),
        _ => sound.read(read),
    }
}

/// As the port does it by itself.
pub(super) async fn read_from_snapshot(
    mutant: &Mutant,
    bug: Bug,
    stream: &StreamId,
    snapshots: &dyn Snapshots,
) -> Snapped {
    let snapshot = snapshots.load(stream).await;
    let mut read = Read::stream(stream);
    if let Ok(Some(snapshot)) = &snapshot {
        read = read.from_snapshot(snapshot);
    }
    if bug == Bug::SnapshotWithoutTail {
        read = read.limit(1);
    }
    Snapped { snapshot, pages: mutant.read(read) }
}

fn turned(mut page: Page) -> Page {
    page.events.reverse();
    page
}

pub(super) fn too_far(mut page: Page) -> Page {
    page.through = Position::new(page.through.get() + 1);
    page
}

fn without_the_last(mut page: Page) -> Page {
    if page.events.len() == limits::PAGE_EVENTS {
        page.events.pop();
    }
    page
}

/// The last event there is, as the one that was asked for.
fn invented(sound: &MemoryStore, mut read: Read) -> Pages {
    let wanted = read.after_version.plus(1);
    (read.after_version, read.limit) = (es_core::Version::NONE, Some(1));
    let invent = move |mut page: Page| {
        for event in &mut page.events {
            event.version = wanted;
        }
        page
    };
    sound.read(read.backwards()).map_ok(invent).boxed()
}

fn prefixed(sound: &MemoryStore, mut read: Read) -> Pages {
    let wanted = std::mem::take(&mut read.tags);
    let keep = move |mut page: Page| {
        page.events.retain(|event| {
            wanted
                .iter()
                .all(|tag| event.tags.iter().any(|one| one.as_str().starts_with(tag.as_str())))
        });
        page
    };
    sound.read(read).map_ok(keep).boxed()
}
