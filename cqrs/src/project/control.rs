//! What an operator does with read models, from any process.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};
use es_core::{
    Build, BuildChange, Checkpoint, EventStoreExt, Lag, Name, Part, Position, Slices, StoreError,
    StoreErrorKind, Taking, Views, failpoint,
};
use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::{
    handler::Recipe,
    inner::Inner,
    parked::{ParkedState, blocked, each},
    plan, session,
    visit::{FOR_EVER, PAUSED, Visit, is_paused, visitor},
};
use crate::{ProjectionError, Projector};

/// The pauses between two looks at how far models have come.
const LOOKS: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How one part of a model stands.
///
/// ```
/// use cqrs::PartStatus;
///
/// fn tell(part: &PartStatus) -> String {
///     format!("{} is at {}, kept by {:?}", part.part, part.position, part.owner)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartStatus {
    /// Which part.
    pub part: Part,
    /// How far it has come.
    pub position: Position,
    /// How often its owner has changed.
    pub epoch: u64,
    /// Who has it, if anybody has.
    pub owner: Option<Name>,
    /// Whether somebody has paused it.
    pub paused: bool,
    /// Whether its rows change with each append.
    pub inline: bool,
    /// Whether its build answers, or is to answer.
    pub serves: bool,
}

/// How one model stands.
///
/// ```
/// use cqrs::ModelStatus;
///
/// fn is_fine(model: &ModelStatus) -> bool {
///     model.lag.events == 0 && model.parked == 0
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelStatus {
    /// Its name.
    pub name: Name,
    /// The revision of the code that has built what answers.
    pub revision: Option<u64>,
    /// How far what answers is behind the log.
    pub lag: Lag,
    /// How many positions of the log it has passed a second since this projector was asked
    /// before; none the first time. At the end of the log it is what is appended.
    pub rate: Option<u64>,
    /// Its parts, those of builds that are to answer among them.
    pub parts: Vec<PartStatus>,
    /// How many sequences stand still.
    pub parked: usize,
    /// What went wrong with the last event that was parked, and when.
    pub last_error: Option<(DateTime<Utc>, String)>,
}

impl<V: Views> Inner<V> {
    /// Asks again and again how far these models have come, whoever keeps them.
    async fn reach(&self, models: &[Name], position: Position) -> Result<Position, StoreError> {
        let mut progress = self.progress();
        let mut pause = LOOKS.0;
        loop {
            progress.borrow_and_update();
            let reached = self.shown(models).await?;
            if reached >= position {
                return Ok(reached);
            }
            tokio::select! {
                Ok(()) = progress.changed() => {}
                () = self.world.sleep(pause) => pause = (pause * 2).min(LOOKS.1),
            }
        }
    }
}

impl<V: Views> Projector<V> {
    /// How each model stands, in the order in which they were added, whichever process
    /// keeps it.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn status(&self) -> Result<Vec<ModelStatus>, ProjectionError> {
        let builds = self.inner.views.builds(&self.inner.names()).await?;
        let mut all = Vec::new();
        for (name, lag) in self.lag().await? {
            let of_model = plan::of(&name, &builds);
            let (mut sequences, mut last) = (BTreeSet::new(), None);
            each(&self.inner.views, &name, None, |_, parked| {
                let error = (parked.at, parked.error);
                last = last.take().filter(|last: &(_, _)| last.0 >= error.0).or(Some(error));
                if parked.state == ParkedState::Waiting {
                    sequences.insert((parked.tenant, parked.sequence));
                }
            })
            .await?;
            let serving = of_model.iter().find(|one| one.serves);
            let position = serving.and_then(|one| one.position()).unwrap_or_default();
            let rate = self.inner.rates.lock().of(&name, position, self.inner.world.now());
            all.push(ModelStatus {
                rate,
                revision: serving.map(|one| one.revision),
                lag,
                parts: of_model.iter().flat_map(|build| statuses(build)).collect(),
                parked: sequences.len(),
                last_error: last,
                name,
            });
        }
        Ok(all)
    }

    /// Waits until these models show every event at or before `position`, such as the
    /// one that a command has returned, whichever process keeps them. It is never early.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Behind`] if that does not happen in time; it says how far they
    /// have come.
    pub async fn wait_for(
        &self,
        position: Position,
        models: &[&str],
        timeout: Duration,
    ) -> Result<Position, ProjectionError> {
        let names: Result<Vec<_>, _> = models.iter().map(Name::new).collect();
        let names = names.map_err(ProjectionError::handler)?;
        let ended = self.inner.world.sleep(timeout);
        let reached = self.inner.reach(&names, position);
        match select(std::pin::pin!(reached), ended).await {
            Either::Left((reached, _)) => Ok(reached?),
            Either::Right(_) => {
                let reached = self.inner.shown(&names).await?;
                Err(ProjectionError::Behind { reached, wanted: position })
            }
        }
    }

    /// How far all models have come. If this process keeps them all it knows.
    pub(crate) async fn shown(&self) -> Result<Position, StoreError> {
        if self.inner.knows_all() {
            return Ok(self.inner.progress().borrow().position);
        }
        self.inner.shown(&self.inner.names()).await
    }

    /// Waits until all models have come as far.
    pub(crate) async fn reached(&self, position: Position) -> Result<(), StoreError> {
        if self.inner.knows_all() {
            let mut progress = self.progress();
            let has_inline = || self.inner.has_inline.load(Ordering::Acquire);
            // It lives as long as this projector.
            let _ = progress.wait_for(|one| one.position >= position || has_inline()).await;
            if !has_inline() {
                return Ok(());
            }
        }
        self.inner.reach(&self.inner.names(), position).await.map(drop)
    }

    /// Lets a model stand still until [`resume`](Self::resume), whichever process keeps
    /// it. Its rows go on to answer.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn pause(&self, model: &str) -> Result<(), ProjectionError> {
        let (name, builds) = self.look(model).await?;
        for build in plan::of(&name, &builds) {
            for part in &build.parts {
                let part = build.part(part.slices);
                self.inner.views.take(&part, &PAUSED, FOR_EVER, Taking::Anyway).await?;
            }
        }
        Ok(())
    }

    /// Lets a model go on that was [paused](Self::pause).
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn resume(&self, model: &str) -> Result<(), ProjectionError> {
        let (name, builds) = self.look(model).await?;
        let mut paused = Vec::new();
        for build in plan::of(&name, &builds) {
            let mine = build.parts.iter().filter(|part| is_paused(part));
            paused.extend(mine.map(|part| (build.part(part.slices), part.checkpoint.epoch)));
        }
        self.inner.views.renew(&PAUSED, &paused, Duration::ZERO).await?;
        Ok(())
    }

    /// Deletes a model: its rows, what is parked of it, and how far it has come. What a
    /// free-form projection has written stays. Stop the programs that keep the model before,
    /// or they begin it anew.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails; what is left is deleted by another call.
    pub async fn remove(&self, model: &str) -> Result<(), ProjectionError> {
        let name = Name::new(model).map_err(ProjectionError::handler)?;
        self.inner.views.change(BuildChange::remove(name)).await?;
        self.inner.changes.tell(crate::Change::Everything);
        Ok(())
    }

    /// From now on the rows of a view change with each append, of this program and of every
    /// other that was opened with it: see [`InlineViews`](crate::InlineViews). Appends go on
    /// meanwhile. Workers have to bring it near the end of the log first, for which this
    /// waits.
    ///
    /// # Errors
    ///
    /// [`ProjectionError::Behind`] if they do not in time; [`ProjectionError::Store`] as
    /// [`Builds::keep_inline`](es_core::Builds::keep_inline) says.
    pub async fn keep_inline(&self, model: &str, timeout: Duration) -> Result<(), ProjectionError> {
        let name = Name::new(model).map_err(ProjectionError::handler)?;
        let started = self.inner.world.now();
        loop {
            let head = self.inner.store.head().await?;
            let gone = (self.inner.world.now() - started).to_std().unwrap_or_default();
            self.wait_for(head, &[model], timeout.saturating_sub(gone)).await?;
            match self.inner.views.keep_inline(&name).await {
                // Others have appended more than can be folded at once.
                Err(error) if error.kind() == StoreErrorKind::Busy && gone < timeout => {}
                outcome => return Ok(outcome?),
            }
        }
    }

    /// From now on workers keep the rows of a view again, which appends have changed: they
    /// go on where those have stopped. The rows go on to answer.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn keep_async(&self, model: &str) -> Result<(), ProjectionError> {
        let (name, builds) = self.look(model).await?;
        let owner = visitor(&self.inner);
        for build in plan::of(&name, &builds) {
            for part in build.parts.iter().filter(|part| part.is_inline()) {
                let part = build.part(part.slices);
                self.inner.views.take(&part, &owner, Duration::ZERO, Taking::Anyway).await?;
            }
        }
        Ok(())
    }

    /// Divides a model into so many parts, or joins them, while others keep it. Parts that
    /// have come to different places are brought to one first.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`]; the parts are as before then. A model with parked events is
    /// refused: retry or discard them first.
    ///
    /// # Panics
    ///
    /// If there are to be no parts, or more than [`SLICES`](es_core::SLICES).
    pub async fn divide(&self, model: &str, parts: u16) -> Result<(), ProjectionError> {
        let (name, builds) = self.look(model).await?;
        let recipe = self.recipe(&name)?;
        let Some(build) = builds.iter().find(|build| build.serves) else {
            let why = "nobody has begun to keep it: its settings say how many parts it will have";
            return Err(ProjectionError::Refused { name: name.to_string(), why });
        };
        if build.parts.iter().any(is_paused) {
            let why = "it is paused, let it go on before its parts change";
            return Err(ProjectionError::Refused { name: name.to_string(), why });
        }
        self.nothing_waits(build).await?;
        let visit = Visit::new(&self.inner);
        let dividing = async {
            let mut handlers = Vec::new();
            for state in &build.parts {
                handlers.push(visit.take(&*recipe, build, state).await?);
            }
            let furthest = handlers.iter().map(|one| one.held().checkpoint.position).max();
            let (_go_on, stop) = watch::channel(false);
            let mut ended = session::run(&self.inner, handlers, furthest, None, stop).await;
            if let Some(error) = ended.error() {
                return Err(error);
            }
            let held = ended.handlers.iter().map(|one| one.held());
            let from: Vec<(Slices, Checkpoint)> =
                held.map(|held| (held.part.slices, held.checkpoint)).collect();
            self.divide_into(build, from, Slices::split(parts)).await
        };
        let divided = visit.during(dividing).await;
        let left = visit.leave().await;
        divided.and(left)
    }

    /// Only while nothing is parked, which nobody but the visitor can change by now: new
    /// parts would each take their share of an event that an old one has parked as a whole.
    async fn divide_into(
        &self,
        build: &Build,
        from: Vec<(Slices, Checkpoint)>,
        into: Vec<Slices>,
    ) -> Result<(), ProjectionError> {
        self.nothing_waits(build).await?;
        failpoint!("divide.before_change");
        let change = BuildChange::divide(build.model.clone(), build.number, from, into);
        self.inner.views.change(change).await?;
        failpoint!("divide.after_change");
        Ok(())
    }

    pub(crate) async fn nothing_waits(&self, build: &Build) -> Result<(), ProjectionError> {
        if !blocked(&self.inner.views, &build.part(Slices::ALL)).await?.is_empty() {
            let why = "some events are parked, retry or discard them before its parts change";
            return Err(ProjectionError::Refused { name: build.model.to_string(), why });
        }
        Ok(())
    }

    pub(crate) async fn look(&self, model: &str) -> Result<(Name, Vec<Build>), ProjectionError> {
        let name = Name::new(model).map_err(ProjectionError::handler)?;
        let builds = self.inner.views.builds(std::slice::from_ref(&name)).await?;
        Ok((name, builds))
    }

    pub(crate) fn recipe(
        &self,
        name: &Name,
    ) -> Result<std::sync::Arc<dyn Recipe<V>>, ProjectionError> {
        self.inner.recipe(name).cloned().ok_or_else(|| {
            let why = "this projector does not know it, add it first";
            ProjectionError::Refused { name: name.to_string(), why }
        })
    }
}

fn statuses(build: &Build) -> impl Iterator<Item = PartStatus> {
    build.parts.iter().map(|state| PartStatus {
        part: build.part(state.slices),
        position: state.checkpoint.position,
        epoch: state.checkpoint.epoch,
        owner: state.owner.clone().filter(|_| !state.is_free()),
        paused: is_paused(state),
        inline: state.is_inline(),
        serves: build.serves,
    })
}
