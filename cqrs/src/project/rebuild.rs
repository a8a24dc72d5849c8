use std::{fmt, sync::Arc, time::Duration};

use es_core::{EventStoreExt, Part, Position, Taking, Views};
use tokio::sync::watch;

use super::{
    difference::Difference,
    handler::{Rebuilds, Recipe},
    in_place,
    inner::Inner,
    plan::{self, Plan},
    session::{self, Handlers},
    swap::{self, Review},
    visit::{held, visitor, while_held},
};
use crate::{Progress, ProjectionError, Projector};

/// So near to the end the new build takes the place of the old one.
const NEAR: u64 = 5_000;
/// How often a rebuild looks for builds that somebody else has begun meanwhile.
const TRIES: u32 = 20;

/// How read models are built anew.
///
/// ```
/// use cqrs::Rebuild;
///
/// let rebuild = Rebuild::new()
///     .throttle(50_000)
///     .on_progress(|progress| println!("{:?} left", progress.left))
///     .review(|difference| difference.is_none());
/// ```
#[derive(Default)]
#[must_use]
pub struct Rebuild {
    pace: Option<u32>,
    progress: Option<Box<dyn Fn(RebuildProgress) + Send + Sync>>,
    review: Option<Box<Review>>,
}

/// How far a rebuild has come.
///
/// ```
/// assert_eq!(cqrs::RebuildProgress::default().left, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct RebuildProgress {
    /// Every new build shows every event at or before it.
    pub position: Position,
    /// The end of the log, when it was last looked at.
    pub head: Position,
    /// Events that were handled in this run.
    pub events: u64,
    /// Events a second in this run.
    pub rate: f64,
    /// How long it will still take, if it goes on like this.
    pub left: Option<Duration>,
}

impl Rebuild {
    /// As fast as it goes, without a look at what comes out.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many events a second.
    pub fn throttle(mut self, events: u32) -> Self {
        self.pace = Some(events);
        self
    }

    /// Tells how far it has come, after each batch.
    pub fn on_progress(mut self, tell: impl Fn(RebuildProgress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Box::new(tell));
        self
    }

    /// Looks at the rows of each model before they answer, when both builds show the
    /// same events. If they are not wanted, the old ones go on to answer.
    pub fn review(mut self, review: impl Fn(&Difference) -> bool + Send + Sync + 'static) -> Self {
        self.review = Some(Box::new(review));
        self
    }
}

impl<V: Views> Projector<V> {
    /// Builds every model anew from history. Views are built beside the old rows, which
    /// answer until all is there and are then replaced in one transaction; what follows
    /// the log may go on meanwhile, here or elsewhere. Free-form projections are emptied
    /// first.
    ///
    /// Killed or dropped on the way, it goes on where it was when it is called again, or
    /// when workers find what is left.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`]; the old rows answer then.
    pub async fn rebuild(&self) -> Result<Progress, ProjectionError> {
        self.rebuild_with(Rebuild::new()).await
    }

    /// Builds every model anew, in this way.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`]; the old rows answer then.
    pub async fn rebuild_with(&self, rebuild: Rebuild) -> Result<Progress, ProjectionError> {
        let inner = &self.inner;
        let owner = visitor(inner);
        let mut building = Vec::new();
        for recipe in &inner.recipes {
            match recipe.about().rebuilds {
                Rebuilds::Beside => {
                    building.push((Arc::clone(recipe), resume(inner, recipe.as_ref()).await?));
                }
                Rebuilds::InPlace => in_place::rebuild(inner, recipe.as_ref()).await?,
                Rebuilds::Never => {}
            }
        }
        let mut handlers = Vec::new();
        for (recipe, build) in &building {
            for part in parts(inner, recipe.as_ref(), *build).await? {
                let taken = inner.take_beside(recipe.as_ref(), part, &owner, Taking::Anyway);
                handlers.extend(taken.await?);
            }
        }
        let started = Started::new(inner);
        loop {
            let head = inner.store.head().await?;
            handlers = bring(inner, handlers, head, &owner, &rebuild, &started).await?;
            if inner.store.head().await?.get().saturating_sub(head.get()) <= NEAR {
                break;
            }
        }
        for (recipe, build) in building {
            let (new, others) =
                handlers.into_iter().partition(|one| one.held().part.model == recipe.about().name);
            handlers = others;
            let (review, waiting) = (rebuild.review.as_deref(), held(&handlers));
            let swapping = async {
                let kept = swap::swap(inner, recipe.as_ref(), build, &owner, new, review).await?;
                inner.views.renew(&owner, &held(&kept), Duration::ZERO).await?;
                clear_away(inner, recipe.as_ref()).await
            };
            // Workers that took over those that wait would let them answer unseen.
            while_held(inner, &[(&owner, waiting.as_slice())], swapping).await?;
        }
        self.follow_up(&owner, &started).await
    }

    /// Brings what was emptied to the end.
    async fn follow_up(
        &self,
        owner: &es_core::Name,
        started: &Started,
    ) -> Result<Progress, ProjectionError> {
        let mut handlers = Vec::new();
        for recipe in &self.inner.recipes {
            if recipe.about().rebuilds == Rebuilds::InPlace {
                for part in serving(&self.inner, recipe.as_ref()).await? {
                    let taken = self.inner.take(recipe.as_ref(), part, owner, Taking::Anyway);
                    handlers.extend(taken.await?);
                }
            }
        }
        if !handlers.is_empty() {
            let head = self.inner.store.head().await?;
            let rebuild = Rebuild::new();
            handlers = bring(&self.inner, handlers, head, owner, &rebuild, started).await?;
            self.inner.views.renew(owner, &held(&handlers), Duration::ZERO).await?;
        }
        let builds = self.inner.views.builds(&self.inner.names()).await?;
        let serving = builds.iter().filter(|build| build.serves);
        let position = serving.filter_map(es_core::Build::position).min();
        let head = self.inner.store.head().await?;
        let events = started.events(&self.inner);
        Ok(Progress { position: position.unwrap_or(head), head, events })
    }

    /// Gives up a rebuild: what was built so far is deleted.
    ///
    /// # Errors
    ///
    /// [`ProjectionError`] if the store fails.
    pub async fn cancel_rebuild(&self) -> Result<(), ProjectionError> {
        for recipe in &self.inner.recipes {
            let name = &recipe.about().name;
            let builds = self.inner.views.builds(std::slice::from_ref(name)).await?;
            if let Some(build) = plan::beside(recipe.about(), &plan::of(name, &builds)) {
                let discard = es_core::BuildChange::discard(name.clone(), build.number);
                self.inner.views.change(discard).await?;
            }
        }
        Ok(())
    }
}

/// The parts of the build that answers.
async fn serving<V: Views>(
    inner: &Inner<V>,
    recipe: &dyn Recipe<V>,
) -> Result<Vec<Part>, ProjectionError> {
    let builds = inner.views.builds(std::slice::from_ref(&recipe.about().name)).await?;
    let serving = builds.iter().filter(|build| build.serves);
    let parts = serving.flat_map(|build| build.parts.iter().map(|part| build.part(part.slices)));
    Ok(parts.collect())
}

/// Deletes the builds that were replaced.
pub(crate) async fn clear_away<V: Views>(
    inner: &Inner<V>,
    recipe: &dyn Recipe<V>,
) -> Result<(), ProjectionError> {
    let name = &recipe.about().name;
    let builds = inner.views.builds(std::slice::from_ref(name)).await?;
    for build in Plan::new(recipe.about(), &plan::of(name, &builds)).discard {
        es_core::failpoint!("rebuild.before_discard");
        inner.views.change(es_core::BuildChange::discard(name.clone(), build)).await?;
        es_core::failpoint!("rebuild.after_discard");
    }
    Ok(())
}

/// The build of this code that is under way, or a new one.
async fn resume<V: Views>(
    inner: &Inner<V>,
    recipe: &dyn Recipe<V>,
) -> Result<u64, ProjectionError> {
    let name = &recipe.about().name;
    for _ in 0..TRIES {
        let builds = inner.views.builds(std::slice::from_ref(name)).await?;
        let builds = plan::of(name, &builds);
        if let Some(build) = plan::beside(recipe.about(), &builds) {
            let head = inner.store.head().await?;
            if build.parts.iter().all(|part| part.checkpoint.position <= head) {
                return Ok(build.number);
            }
            // It has seen a log that was lost since.
            let discard = es_core::BuildChange::discard(name.clone(), build.number);
            inner.views.change(discard).await?;
            continue;
        }
        let begin = plan::next(recipe.about(), &builds);
        let build = begin.build;
        let begun = inner.views.change(begin).await;
        es_core::failpoint!("build.after_begin");
        match begun {
            Err(error) if error.kind() == es_core::StoreErrorKind::Fenced => {}
            outcome => return Ok(outcome.map(|()| build)?),
        }
    }
    let why = "its builds change again and again, try again later";
    Err(ProjectionError::Refused { name: name.to_string(), why })
}

async fn parts<V: Views>(
    inner: &Inner<V>,
    recipe: &dyn Recipe<V>,
    number: u64,
) -> Result<Vec<Part>, ProjectionError> {
    let builds = inner.views.builds(std::slice::from_ref(&recipe.about().name)).await?;
    let build = builds.iter().find(|build| build.number == number);
    Ok(build.map_or_else(Vec::new, |build| {
        build.parts.iter().map(|part| build.part(part.slices)).collect()
    }))
}

/// Brings the parts to the head, renews their leases meanwhile, and tells how far it is.
async fn bring<V: Views>(
    inner: &Arc<Inner<V>>,
    handlers: Handlers<V>,
    head: Position,
    owner: &es_core::Name,
    rebuild: &Rebuild,
    started: &Started,
) -> Result<Handlers<V>, ProjectionError> {
    let held: Vec<_> = handlers.iter().map(|one| one.held().clone()).collect();
    for held in &held {
        inner.keeps(&held.part, held.checkpoint.position, false);
    }
    let all: Vec<_> = held.iter().map(|held| (held.part.clone(), held.checkpoint.epoch)).collect();
    let (_go_on, stop) = watch::channel(false);
    let session = session::run(inner, handlers, Some(head), rebuild.pace, stop);
    let bringing = async {
        let (mut session, mut progress) = (std::pin::pin!(session), inner.progress());
        loop {
            tokio::select! {
                ended = &mut session => return ended,
                Ok(()) = progress.changed() => started.tell(inner, &all, rebuild),
            }
        }
    };
    let mut ended = while_held(inner, &[(owner, all.as_slice())], bringing).await;
    started.tell(inner, &all, rebuild);
    all.iter().for_each(|(part, _)| inner.drops(part));
    match ended.error() {
        Some(error) => Err(error),
        None => Ok(ended.handlers),
    }
}

/// When a rebuild began, and what had been done by then.
struct Started {
    at: chrono::DateTime<chrono::Utc>,
    events: u64,
}

impl Started {
    fn new<V: Views>(inner: &Inner<V>) -> Self {
        Self { at: inner.world.now(), events: inner.progress().borrow().events }
    }

    fn events<V: Views>(&self, inner: &Inner<V>) -> u64 {
        inner.progress().borrow().events - self.events
    }

    fn tell<V: Views>(&self, inner: &Inner<V>, parts: &[(Part, u64)], rebuild: &Rebuild) {
        let Some(tell) = &rebuild.progress else { return };
        let head = inner.progress().borrow().head;
        let position = inner.position(parts.iter().map(|(part, _)| part)).unwrap_or(head);
        let events = self.events(inner);
        let seconds = (inner.world.now() - self.at).as_seconds_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
        let (rate, done) = (events as f64 / seconds, position.get() as f64 / seconds);
        #[expect(clippy::cast_precision_loss, reason = "nobody counts so far")]
        let left = head.get().saturating_sub(position.get()) as f64 / done.max(0.001);
        let left = (rate > 0.0).then(|| Duration::try_from_secs_f64(left).ok()).flatten();
        tell(RebuildProgress { position, head, events, rate, left });
    }
}

impl fmt::Debug for Rebuild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rebuild").field("pace", &self.pace).finish_non_exhaustive()
    }
}
