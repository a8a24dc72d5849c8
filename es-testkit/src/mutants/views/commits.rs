//! Bugs of committing, and of looking up what was committed.

use es_core::{
    Builds, Changes, Checkpoint, Kind, Lookup, Part, Row, StoreError, StoreErrorKind, Views,
    memory::MemoryTx,
};

use super::{MutantViews, ViewBug};

/// The value of a row that was deleted, and is still there.
const DELETED: &[u8] = b"deleted by a mutant";

pub(super) async fn commit(
    views: &MutantViews,
    part: &Part,
    tx: MemoryTx,
    mut changes: Changes,
    seen: Checkpoint,
    next: Checkpoint,
) -> Result<(), StoreError> {
    let (_, found) = views.sound.begin(part).await?;
    let lease = views.state(part).await?;
    let seen = match views.bug {
        Some(ViewBug::EpochIgnored) => Checkpoint { epoch: found.epoch, ..seen },
        Some(ViewBug::PositionIgnored) => Checkpoint { position: found.position, ..seen },
        Some(ViewBug::CheckThenWrite) if found == seen => late(views, part).await?,
        _ => seen,
    };
    if views.has(ViewBug::DeletedTakesPlace) {
        for row in &mut changes.rows {
            row.value.get_or_insert(DELETED.into());
        }
    }
    let done = views.sound.commit(part, tx, changes, seen, next).await;
    match (views.bug, lease) {
        (Some(ViewBug::GoneForgiven), None) => forgiven(done),
        (Some(ViewBug::CommitKeepsLease), Some(lease)) if done.is_ok() => {
            let Some(owner) = lease.owner else { return done };
            let held = [(part.clone(), next.epoch)];
            views.sound.renew(&owner, &held, lease.leased).await.map(drop)
        }
        _ => done,
    }
}

/// Whatever is there by the time of the write.
async fn late(views: &MutantViews, part: &Part) -> Result<Checkpoint, StoreError> {
    // Long enough for others to come in between, however busy the machine is.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    Ok(views.sound.begin(part).await?.1)
}

fn forgiven(done: Result<(), StoreError>) -> Result<(), StoreError> {
    done.or_else(|error| match error.kind() {
        StoreErrorKind::Fenced => Ok(()),
        _ => Err(error),
    })
}

pub(super) async fn rows(views: &MutantViews, mut lookup: Lookup) -> Result<Vec<Row>, StoreError> {
    if views.has(ViewBug::NewestAnswers) && lookup.build.is_none() {
        let builds = views.sound.builds(std::slice::from_ref(&lookup.model)).await?;
        lookup.build = builds.last().map(|build| build.number);
    }
    let mut found = views.sound.rows(lookup.clone()).await?;
    found.retain(|row| row.value.as_deref() != Some(DELETED));
    if views.has(ViewBug::ParkedAmongRows) {
        found.extend(views.sound.rows(lookup.parked()).await?);
    } else if lookup.kind == Kind::Parked
        && let Some(build) = lookup.build
    {
        found.extend(views.left.lock().get(&(lookup.model, build)).cloned().unwrap_or_default());
    }
    Ok(found)
}
