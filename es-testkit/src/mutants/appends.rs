//! Bugs of appending.

use es_core::{
    AppendError, Appended, Batch, ClaimChange, ContentType, EventStore, EventStoreExt, Expected,
    Position, Read, Version, Write, memory::MemoryStore,
};

use futures_util::FutureExt;

use super::Bug;

type Outcome = Result<Appended, AppendError>;

pub(super) async fn append(bug: Bug, sound: &MemoryStore, batch: Batch) -> Outcome {
    match bug {
        Bug::PartialBatch => write_by_write(sound, batch).await,
        Bug::DroppedAppendHalfDone => half_by_half(sound, batch).await,
        Bug::CheckThenAct => check_then_act(sound, batch).await,
        Bug::ExactOffByOne => one_ahead(sound, batch).await,
        Bug::RetryConflicts => conflict_first(sound, batch).await,
        Bug::ConflictTailShort | Bug::ConflictTailLong => wrong_tail(bug, sound, batch).await,
        _ => sound.append(changed(bug, batch)).await,
    }
}

/// The batch as a store with this bug takes it.
fn changed(bug: Bug, mut batch: Batch) -> Batch {
    for write in &mut batch.writes {
        change(bug, write);
    }
    match bug {
        Bug::UnlessIgnored => batch.unless.clear(),
        Bug::UnlessOffByOne => {
            for unless in &mut batch.unless {
                unless.after = Position::new(unless.after.get().saturating_sub(1));
            }
        }
        Bug::ClaimNotReleased => {
            let taken = batch.claims.iter().any(|one| one.change() == ClaimChange::Take);
            if !taken {
                batch.claims.clear();
            }
        }
        _ => {}
    }
    batch
}

fn change(bug: Bug, write: &mut Write) {
    match bug {
        Bug::ConflictCheckLost => write.expected = Expected::Any,
        Bug::RetryDoubled => write.append_id = None,
        Bug::IdOnlyForExact if !matches!(write.expected, Expected::Exact(_)) => {
            write.append_id = None;
        }
        Bug::PayloadRewritten => rewrite(write),
        _ => {}
    }
}

/// What a column of parsed JSON does: keys are sorted, doubles dropped.
fn rewrite(write: &mut Write) {
    for event in &mut write.events {
        if event.content_type != ContentType::JSON {
            continue;
        }
        if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&event.payload) {
            event.payload = value.to_string().into();
        }
    }
}

async fn write_by_write(sound: &MemoryStore, batch: Batch) -> Outcome {
    batch.check()?;
    let mut all = Appended::default();
    for write in &batch.writes {
        let mut single = batch.clone();
        single.writes = vec![write.clone()];
        let done = match single.is_empty() && single.claims.is_empty() {
            true => Appended::default(),
            false => sound.append(single).await?,
        };
        all.position = all.position.max(done.position);
        all.writes.extend(done.writes);
    }
    Ok(all)
}

/// Whoever drops the call while it waits finds the first write done alone.
async fn half_by_half(sound: &MemoryStore, batch: Batch) -> Outcome {
    let mut dropped = HalfDone { sound: sound.clone(), batch: Some(batch) };
    tokio::task::yield_now().await;
    match dropped.batch.take() {
        Some(batch) => sound.append(batch).await,
        None => Ok(Appended::default()),
    }
}

struct HalfDone {
    sound: MemoryStore,
    batch: Option<Batch>,
}

impl Drop for HalfDone {
    fn drop(&mut self) {
        if let Some(mut batch) = self.batch.take() {
            batch.writes.truncate(1);
            let _ = self.sound.append(batch).now_or_never();
        }
    }
}

/// Looks first, and writes afterwards whatever has come between.
async fn check_then_act(sound: &MemoryStore, mut batch: Batch) -> Outcome {
    for write in &mut batch.writes {
        let actual = sound.version(&write.stream).await?;
        tokio::task::yield_now().await;
        if write.expected.allows(actual) {
            write.expected = Expected::Any;
        }
    }
    sound.append(batch).await
}

async fn one_ahead(sound: &MemoryStore, mut batch: Batch) -> Outcome {
    for write in &mut batch.writes {
        let actual = sound.version(&write.stream).await?;
        if let Expected::Exact(version) = &mut write.expected
            && version.plus(1) == actual
            && *version > Version::NONE
        {
            *version = actual;
        }
    }
    sound.append(batch).await
}

/// Checks the versions before the ids.
async fn conflict_first(sound: &MemoryStore, batch: Batch) -> Outcome {
    let mut without_ids = batch.clone();
    for write in &mut without_ids.writes {
        write.append_id = None;
        let actual = sound.version(&write.stream).await?;
        if !write.expected.allows(actual) && without_ids.unless.is_empty() {
            return sound.append(without_ids).await;
        }
    }
    sound.append(batch).await
}

async fn wrong_tail(bug: Bug, sound: &MemoryStore, batch: Batch) -> Outcome {
    match sound.append(batch).await {
        Err(AppendError::Conflict(mut conflict)) => {
            if bug == Bug::ConflictTailShort {
                conflict.unseen.pop();
            } else {
                conflict.unseen = sound.events(Read::stream(&conflict.stream)).await?;
            }
            Err(AppendError::Conflict(conflict))
        }
        other => other,
    }
}
