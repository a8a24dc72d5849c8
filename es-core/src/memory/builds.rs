use std::{collections::BTreeMap, mem, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};

use super::{MemoryViews, checkpoints::compare_and_set, views::Models};
use crate::{
    Build, BuildChange, BuildStep, Builds, Checkpoint, INLINE, INLINE_LEASE, InlineModel, Name,
    Part, PartState, Position, Slices, StoreError, StoreErrorKind, Taking,
};

/// What is known of a build.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) revision: u64,
    serves: bool,
    pub(super) parts: BTreeMap<Slices, Keeping>,
}

/// How far a part has come, and who keeps it.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) checkpoint: Checkpoint,
    owner: Option<Name>,
    lease: Duration,
    until: DateTime<Utc>,
}

impl Keeping {
    pub(super) fn compare_and_set<'a>(
        keeping: Option<&'a mut Self>,
        part: &Part,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<&'a mut Self, StoreError> {
        let Some(keeping) = keeping else { return Err(gone(part)) };
        compare_and_set(part, &mut keeping.checkpoint, seen, next)?;
        Ok(keeping)
    }

    /// The lease begins anew.
    pub(super) fn renew(&mut self, now: DateTime<Utc>) {
        let lease = TimeDelta::from_std(self.lease).ok();
        let until = lease.and_then(|lease| now.checked_add_signed(lease));
        self.until = until.unwrap_or(DateTime::<Utc>::MAX_UTC);
    }

    /// From now on it changes with each append, and nobody else may change it.
    pub(super) fn keep_inline(&mut self) {
        self.checkpoint = self.checkpoint.taken_over();
        (self.owner, self.lease) = (Some(INLINE), INLINE_LEASE);
        self.until = DateTime::<Utc>::MAX_UTC;
    }

    pub(super) fn is_inline(&self) -> bool {
        self.owner.as_ref() == Some(&INLINE) && !self.lease.is_zero()
    }

    /// At most the lease, also if the clock went back.
    fn left(&self, now: DateTime<Utc>) -> Duration {
        (self.until - now).to_std().unwrap_or_default().min(self.lease)
    }
}

impl Models {
    pub(super) fn keeping(&mut self, part: &Part) -> Option<&mut Keeping> {
        let build = self.builds.get_mut(&(part.model.clone(), part.build));
        build.and_then(|build| build.parts.get_mut(&part.slices))
    }

    pub(super) fn serving(&self, model: &Name) -> Option<u64> {
        self.of(model).find(|(_, known)| known.serves).map(|(number, _)| number)
    }

    /// Takes the parts of these builds away. What begins later does so under a later
    /// epoch than theirs: a number may come back, an owner may not.
    fn retire(&mut self, model: &Name, which: impl Fn(u64) -> bool) {
        let epochs = self.epochs.entry(model.clone()).or_default();
        for ((name, number), known) in &mut self.builds {
            if name == model && which(*number) {
                let gone = mem::take(&mut known.parts);
                *epochs = gone
                    .values()
                    .map(|one| one.checkpoint.taken_over().epoch)
                    .fold(*epochs, u64::max);
            }
        }
    }

    fn of<'a>(&'a self, model: &'a Name) -> impl Iterator<Item = (u64, &'a Known)> {
        let from = (model.clone(), 0)..=(model.clone(), u64::MAX);
        self.builds.range(from).map(|((_, number), known)| (*number, known))
    }
}

#[async_trait]
impl Builds for MemoryViews {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        let (now, found) = (self.world.now(), self.models.lock());
        let mut builds = Vec::new();
        for model in models {
            for (number, known) in found.of(model) {
                let part = |(slices, keeping): (&Slices, &Keeping)| PartState {
                    slices: *slices,
                    checkpoint: keeping.checkpoint,
                    owner: keeping.owner.clone(),
                    leased: keeping.left(now),
                };
                builds.push(Build {
                    revision: known.revision,
                    serves: known.serves,
                    parts: known.parts.iter().map(part).collect(),
                    ..Build::new(model.clone(), number)
                });
            }
        }
        Ok(builds)
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        change.check()?;
        let mut models = self.models.lock();
        let BuildChange { model, build, what } = change;
        match what {
            BuildStep::Begin { revision, parts, from } => {
                begin(&mut models, model, build, revision, parts, from)
            }
            BuildStep::Divide { from, into } => divide(&mut models, &model, build, &from, into),
            BuildStep::Serve { parts, head } => serve(&mut models, model, build, parts, head),
            BuildStep::Discard => discard(&mut models, model, build),
            BuildStep::Remove => {
                models.retire(&model, |_| true);
                models.builds.retain(|(name, _), _| *name != model);
                models.rows.retain(|(name, _), _| *name != model);
                Ok(())
            }
        }
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let (now, mut models) = (self.world.now(), self.models.lock());
        let Some(keeping) = models.keeping(part) else { return Ok(None) };
        let is_free = keeping.left(now).is_zero() || keeping.owner.as_ref() == Some(owner);
        if taking != Taking::Anyway && !is_free {
            return Ok(None);
        }
        let checkpoint = keeping.checkpoint.taken_over();
        *keeping = Keeping { checkpoint, owner: Some(owner.clone()), lease, until: now };
        keeping.renew(now);
        Ok(Some(checkpoint))
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        let (now, mut models) = (self.world.now(), self.models.lock());
        let mut still = Vec::new();
        for (part, epoch) in held {
            let Some(keeping) = models.keeping(part) else { continue };
            if keeping.owner.as_ref() == Some(owner) && keeping.checkpoint.epoch == *epoch {
                keeping.lease = lease;
                keeping.renew(now);
                still.push(part.clone());
            }
        }
        Ok(still)
    }

    async fn keep_inline(&self, model: &Name) -> Result<(), StoreError> {
        match self.log.get() {
            Some(linked) => linked.keep_inline(self, model),
            None => Err(InlineModel::unknown(model)),
        }
    }
}

fn begin(
    models: &mut Models,
    model: Name,
    build: u64,
    revision: u64,
    parts: Vec<Slices>,
    from: Position,
) -> Result<(), StoreError> {
    if models.of(&model).any(|(number, _)| number >= build) {
        return Err(changed(&model, build));
    }
    let serves = models.serving(&model).is_none();
    let epoch = models.epochs.get(&model).copied().unwrap_or_default();
    let checkpoint = Checkpoint { epoch, position: from };
    let start = || Keeping { checkpoint, ..Keeping::default() };
    let parts = parts.into_iter().map(|slices| (slices, start())).collect();
    models.builds.insert((model, build), Known { revision, serves, parts });
    Ok(())
}

fn divide(
    models: &mut Models,
    model: &Name,
    build: u64,
    from: &[(Slices, Checkpoint)],
    into: Vec<Slices>,
) -> Result<(), StoreError> {
    let known = models.builds.get_mut(&(model.clone(), build));
    let known = known.filter(|known| from.iter().all(|one| known.looks_like(*one)));
    let known = known.ok_or_else(|| changed(model, build))?;
    let latest = from.iter().map(|(_, checkpoint)| *checkpoint).max_by_key(|one| one.epoch);
    for (slices, _) in from {
        known.parts.remove(slices);
    }
    let checkpoint = latest.unwrap_or_default().taken_over();
    for slices in into {
        known.parts.insert(slices, Keeping { checkpoint, ..Keeping::default() });
    }
    Ok(())
}

fn serve(
    models: &mut Models,
    model: Name,
    build: u64,
    mut parts: Vec<(Slices, Checkpoint)>,
    head: Position,
) -> Result<(), StoreError> {
    let known = models.builds.get(&(model.clone(), build));
    let found = known.into_iter().flat_map(|known| &known.parts);
    let found: Vec<_> = found.map(|(slices, keeping)| (*slices, keeping.checkpoint)).collect();
    parts.sort_unstable_by_key(|(slices, _)| *slices);
    if found.is_empty() || found != parts {
        return Err(changed(&model, build));
    }
    let reached = parts.iter().map(|(_, checkpoint)| checkpoint.position).min();
    let further = |keeping: &Keeping| {
        let position = keeping.checkpoint.position;
        position <= head && Some(position) > reached
    };
    let leads = |known: &Known| known.serves && known.parts.values().any(further);
    if models.of(&model).any(|(number, known)| number != build && leads(known)) {
        return Err(behind(&model, build));
    }
    models.retire(&model, |number| number < build);
    for ((name, number), known) in &mut models.builds {
        if *name == model {
            known.serves = *number == build;
        }
    }
    Ok(())
}

fn discard(models: &mut Models, model: Name, build: u64) -> Result<(), StoreError> {
    if models.serving(&model) == Some(build) {
        return Err(changed(&model, build));
    }
    models.retire(&model, |number| number == build);
    models.builds.remove(&(model.clone(), build));
    models.rows.remove(&(model, build));
    Ok(())
}

impl Known {
    fn looks_like(&self, (slices, checkpoint): (Slices, Checkpoint)) -> bool {
        self.parts.get(&slices).is_some_and(|keeping| keeping.checkpoint == checkpoint)
    }
}

fn changed(model: &Name, build: u64) -> StoreError {
    let message = format!("the builds of {model} have changed, build {build} is not as it was");
    StoreError::new(StoreErrorKind::Fenced, message)
}

fn behind(model: &Name, build: u64) -> StoreError {
    let message = format!("build {build} of {model} has not come as far as the one that answers");
    StoreError::new(StoreErrorKind::Busy, message)
}

fn gone(part: &Part) -> StoreError {
    StoreError::new(StoreErrorKind::Fenced, format!("{part} is gone"))
}
