//! What stands in the hash of a model, see `scripts/part.lua`.

use std::{collections::HashMap, time::Duration};

use es_core::{Build, Checkpoint, Name, PartState, Position, Slices, StoreError, StoreErrorKind};

/// A number as a script compares it: all have the same length.
pub(crate) fn digits(number: u64) -> String {
    format!("{number:020}")
}

pub(crate) fn part_field(build: u64, slices: Slices) -> String {
    format!("part:{build:020}:{}:{}", slices.first, slices.last)
}

pub(crate) fn checkpoint_text(Checkpoint { epoch, position }: Checkpoint) -> String {
    format!("{epoch:020} {:020}", position.get())
}

/// A part as it stands in its field, at this time.
pub(crate) fn part_state(slices: Slices, text: &str, now: u64) -> Result<PartState, StoreError> {
    let mut words = text.splitn(5, ' ');
    let mut next = || words.next().ok_or_else(damaged);
    let mut state = PartState::new(slices);
    state.checkpoint = checkpoint(next()?, next()?)?;
    let (lease, at) = (number(next()?)?, number(next()?)?);
    // At most the lease, also if the clock was set back.
    state.leased = Duration::from_millis(lease.saturating_sub(now.saturating_sub(at)));
    let owner = next()?;
    if !owner.is_empty() {
        state.owner = Some(Name::new(owner).map_err(|_| damaged())?);
    }
    Ok(state)
}

pub(crate) fn checkpoint(epoch: &str, position: &str) -> Result<Checkpoint, StoreError> {
    Ok(Checkpoint { epoch: number(epoch)?, position: Position::new(number(position)?) })
}

/// Every build of a model, of the fields of its hash.
pub(crate) fn builds(
    model: &Name,
    fields: &HashMap<String, String>,
    now: u64,
) -> Result<Vec<Build>, StoreError> {
    let serves = fields.get("serves");
    let mut builds = Vec::new();
    for (field, revision) in fields {
        let Some(digits) = field.strip_prefix("build:") else { continue };
        let mut build = Build::new(model.clone(), number(digits)?);
        build.revision = number(revision)?;
        build.serves = serves.is_some_and(|serves| serves == digits);
        builds.push(build);
    }
    builds.sort_unstable_by_key(|build| build.number);
    for (field, text) in fields {
        let Some(part) = field.strip_prefix("part:") else { continue };
        let [build, first, last] = part.split(':').collect::<Vec<_>>()[..] else {
            return Err(damaged());
        };
        let slices = Slices { first: slice(first)?, last: slice(last)? };
        let build = number(build)?;
        let build = builds.binary_search_by_key(&build, |one| one.number);
        let build = build.map_err(|_| damaged())?;
        builds[build].parts.push(part_state(slices, text, now)?);
    }
    for build in &mut builds {
        build.parts.sort_unstable_by_key(|part| part.slices);
    }
    Ok(builds)
}

fn number(digits: &str) -> Result<u64, StoreError> {
    digits.parse().map_err(|_| damaged())
}

fn slice(digits: &str) -> Result<u16, StoreError> {
    digits.parse().map_err(|_| damaged())
}

pub(crate) fn damaged() -> StoreError {
    let message = "the server holds something under this prefix that is not written as ours is";
    StoreError::new(StoreErrorKind::Corrupt, message)
}
