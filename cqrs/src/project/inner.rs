//! What a projector's clones and its workers share: its models, how they are taken,
//! and how far this process has brought them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_core::{
    Build, BuildChange, EventStore, EventStoreExt, Name, Part, Position, Read, StoreError,
    StoreErrorKind, Taking, Views, World, failpoint,
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    batch::PageBatch,
    gather::Batching,
    handler::{Handler, Held, Recipe},
    projector::Progress,
    rate::Rates,
    reaction::StartAt,
};
use crate::{ProjectionError, metrics::Projected, queries::Changes};

/// How long a part stays with whoever has died.
const LEASE: Duration = Duration::from_secs(10);

/// What a projector's clones and its workers share.
pub(crate) struct Inner<V: Views> {
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) views: V,
    pub(crate) recipes: Vec<Arc<dyn Recipe<V>>>,
    pub(crate) batching: Batching,
    pub(crate) lease: Duration,
    pub(crate) world: World,
    pub(crate) changes: Changes,
    /// Whether this process keeps everything, so that it knows how far all has come.
    pub(crate) is_alone: AtomicBool,
    /// Whether some models change with each append, which it does not see.
    pub(crate) has_inline: AtomicBool,
    runs: AtomicBool,
    /// Whether all that answers is among what is kept here; else the progress stands.
    is_whole: AtomicBool,
    kept: Mutex<BTreeMap<Part, Kept>>,
    progress: watch::Sender<Progress>,
    metrics: Projected,
    pub(crate) rates: Mutex<Rates>,
}

/// How far a part has come that this process keeps.
struct Kept {
    position: Position,
    serves: bool,
}

impl<V: Views> Inner<V> {
    pub(crate) fn new(store: Arc<dyn EventStore>, views: V) -> Self {
        Self {
            store,
            views,
            recipes: Vec::new(),
            batching: Batching::default(),
            lease: LEASE,
            world: World::real(),
            changes: Changes::new(),
            is_alone: AtomicBool::new(false),
            has_inline: AtomicBool::new(false),
            runs: AtomicBool::new(false),
            is_whole: AtomicBool::new(false),
            kept: Mutex::default(),
            progress: watch::Sender::default(),
            metrics: Projected::new(),
            rates: Mutex::default(),
        }
    }

    pub(crate) fn recipe(&self, model: &Name) -> Option<&Arc<dyn Recipe<V>>> {
        self.recipes.iter().find(|recipe| recipe.about().name == *model)
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        self.recipes.iter().map(|recipe| recipe.about().name.clone()).collect()
    }

    pub(crate) fn revisions(&self) -> Vec<(Name, u64)> {
        let abouts = self.recipes.iter().map(|recipe| recipe.about());
        abouts.map(|about| (about.name.clone(), about.revision)).collect()
    }

    /// Takes a part of a build that answers, and makes what keeps it and tells of it.
    pub(crate) async fn take(
        &self,
        recipe: &dyn Recipe<V>,
        part: Part,
        owner: &Name,
        taking: Taking,
    ) -> Result<Option<Box<dyn Handler<V>>>, ProjectionError> {
        let mut taken = self.take_beside(recipe, part, owner, taking).await?;
        if let Some(handler) = &mut taken {
            handler.held_mut().changes = Some(self.changes.clone());
        }
        Ok(taken)
    }

    /// Takes a part of a build that is to answer, and makes what keeps it.
    pub(crate) async fn take_beside(
        &self,
        recipe: &dyn Recipe<V>,
        part: Part,
        owner: &Name,
        taking: Taking,
    ) -> Result<Option<Box<dyn Handler<V>>>, ProjectionError> {
        let taken = self.views.take(&part, owner, self.lease, taking).await?;
        let Some(checkpoint) = taken else { return Ok(None) };
        failpoint!("part.after_take");
        let held = Held { part, checkpoint, changes: None };
        recipe.handler(&self.views, held, self.world.clone()).await.map(Some)
    }

    /// Begins a build where its model is to start.
    pub(crate) async fn begin(&self, change: BuildChange) -> Result<(), ProjectionError> {
        let recipe = self.recipe(&change.model);
        let is_last = recipe.is_some_and(|recipe| recipe.about().start == StartAt::End);
        let from = if is_last { self.end().await? } else { Position::START };
        let begun = self.views.change(change.from(from)).await;
        failpoint!("build.after_begin");
        match begun {
            // Somebody else has begun it.
            Err(error) if error.kind() == StoreErrorKind::Fenced => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    /// The end of the log, once nothing will come before it any more: some stores show
    /// what was committed while others are still at what comes before.
    async fn end(&self) -> Result<Position, StoreError> {
        let head = self.store.head().await?;
        if head == Position::START {
            return Ok(head);
        }
        let before = Position::new(head.get() - 1);
        let mut pages = self.store.follow(Read::all().every_tenant().after(before));
        while let Some(page) = pages.next().await.transpose()? {
            if page.through >= head {
                break;
            }
        }
        Ok(head)
    }

    /// Only one follows or catches up at a time.
    pub(crate) fn running(self: &Arc<Self>) -> Result<Running<V>, ProjectionError> {
        if self.runs.swap(true, Ordering::AcqRel) {
            return Err(ProjectionError::Running);
        }
        Ok(Running(Arc::clone(self)))
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// How far all of these parts have come that this process keeps.
    pub(crate) fn position<'a>(&self, parts: impl Iterator<Item = &'a Part>) -> Option<Position> {
        let kept = self.kept.lock();
        parts.filter_map(|part| kept.get(part)).map(|kept| kept.position).min()
    }

    /// How far all that answers of these models has come, whoever keeps it.
    pub(crate) async fn shown(&self, models: &[Name]) -> Result<Position, StoreError> {
        let mut builds = self.views.builds(models).await?;
        let mut horizon = Position::START;
        if builds.iter().any(|build| build.serves && build.is_inline()) {
            // What is inline after that shows all events up to there.
            horizon = self.store.horizon().await?;
            builds = self.views.builds(models).await?;
        }
        let mut reached = Vec::with_capacity(models.len());
        for model in models {
            let mut of_model = builds.iter().filter(|build| build.model == *model);
            let serving = of_model.find(|build| build.serves);
            let position = serving.and_then(Build::position).unwrap_or_default();
            let is_inline = serving.is_some_and(Build::is_inline);
            reached.push(if is_inline { position.max(horizon) } else { position });
        }
        match reached.into_iter().min() {
            Some(reached) => Ok(reached),
            None => self.store.head().await,
        }
    }

    /// Whether this process knows without the store how far all has come.
    pub(crate) fn knows_all(&self) -> bool {
        self.is_alone.load(Ordering::Acquire) && !self.has_inline.load(Ordering::Acquire)
    }

    /// The log goes at least to there.
    pub(crate) fn seen(&self, head: Position) {
        self.progress.send_modify(|progress| progress.head = progress.head.max(head));
    }

    /// A part is kept by this process from now on.
    pub(crate) fn keeps(&self, part: &Part, position: Position, serves: bool) {
        self.kept.lock().insert(part.clone(), Kept { position, serves });
        self.advance();
    }

    pub(crate) fn drops(&self, part: &Part) {
        let mut kept = self.kept.lock();
        if kept.remove(part).is_some_and(|kept| kept.serves) {
            self.is_whole.store(false, Ordering::Release);
        }
    }

    /// Whether all that is to be kept here of what answers is kept now.
    pub(crate) fn is_whole(&self, is_whole: bool) {
        self.is_whole.store(is_whole, Ordering::Release);
        self.advance();
    }

    /// A part has come to there.
    pub(crate) fn reached(&self, part: &Part, position: Position) {
        if let Some(kept) = self.kept.lock().get_mut(part) {
            kept.position = position;
        }
    }

    pub(crate) fn handled(&self, batch: &PageBatch) {
        self.metrics.handled(batch.events.len());
        self.progress.send_modify(|progress| {
            progress.head = progress.head.max(batch.through);
            progress.events += batch.events.len() as u64;
        });
        self.advance();
    }

    fn advance(&self) {
        let kept = self.kept.lock();
        if !self.is_whole.load(Ordering::Acquire) {
            return;
        }
        let serving = kept.values().filter(|kept| kept.serves).map(|kept| kept.position);
        let (position, has_models) = (serving.min(), !self.recipes.is_empty());
        self.progress.send_modify(|progress| {
            progress.position = match position {
                Some(position) => position,
                None if has_models => return,
                None => progress.head,
            };
        });
    }
}

/// While it lives, the projector runs.
pub(crate) struct Running<V: Views>(Arc<Inner<V>>);

impl<V: Views> Drop for Running<V> {
    fn drop(&mut self) {
        self.0.is_alone.store(false, Ordering::Release);
        self.0.is_whole.store(false, Ordering::Release);
        self.0.kept.lock().clear();
        self.0.runs.store(false, Ordering::Release);
    }
}
