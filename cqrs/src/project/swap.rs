//! Lets a build answer in the place of another.

use std::{sync::Arc, time::Duration};

use es_core::{
    BuildChange, Checkpoint, EventStoreExt, Name, Part, Position, Slices, StoreErrorKind, Taking,
    Views,
};
use tokio::sync::watch;

use super::{
    difference::{Difference, compare},
    handler::{Held, Recipe},
    inner::Inner,
    plan,
    session::{self, Handlers},
    visit::{held, visitor, while_held},
};
use crate::ProjectionError;

/// How long the build that answers stands still at most, without its owners.
const LEASE: Duration = Duration::from_secs(30);
/// How often a swap begins anew because somebody has come between.
const TRIES: u32 = 20;

/// Looks at the difference between the old rows and the new ones, and says whether
/// the new ones are to answer.
pub(crate) type Review = dyn Fn(&Difference) -> bool + Send + Sync;

/// Brings all parts of the build to where the one that answers is, and lets it
/// answer. That one stands still meanwhile, and is left to be discarded. What comes back
/// keeps the parts.
pub(crate) async fn swap<V: Views>(
    inner: &Arc<Inner<V>>,
    recipe: &dyn Recipe<V>,
    build: u64,
    owner: &Name,
    mine: Handlers<V>,
    review: Option<&Review>,
) -> Result<Handlers<V>, ProjectionError> {
    let mut mine = mine;
    let visitor = visitor(inner);
    let mut was_inline = false;
    for _ in 0..TRIES {
        let mut standing = Standing::default();
        let swapped =
            once(inner, recipe, build, owner, &visitor, mine, review, &mut standing).await;
        let released = inner.views.renew(&visitor, &standing.parts, Duration::ZERO).await;
        was_inline |= standing.was_inline;
        match swapped {
            Err(ProjectionError::Store(error)) if may_pass(error.kind()) => mine = Vec::new(),
            outcome => {
                if was_inline {
                    again_inline(inner, &recipe.about().name).await;
                }
                return outcome.and_then(|handlers| released.map(|_| handlers).map_err(Into::into));
            }
        }
    }
    let why = "its parts were taken over again and again while it was to answer, try again";
    Err(ProjectionError::Refused { name: recipe.about().name.to_string(), why })
}

/// The parts of the build that answers, while they stand still.
#[derive(Default)]
struct Standing {
    parts: Vec<(Part, u64)>,
    /// Whether its rows changed with each append until then.
    was_inline: bool,
}

/// The rows change with each append again. If that cannot be, workers keep them.
async fn again_inline<V: Views>(inner: &Inner<V>, model: &Name) {
    if let Err(error) = inner.views.keep_inline(model).await {
        tracing::warn!(%model, %error, "a model that changed with each append is left to workers");
    }
}

fn may_pass(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::Busy | StoreErrorKind::Fenced)
}

#[expect(clippy::too_many_arguments, reason = "they are what a swap is about")]
async fn once<V: Views>(
    inner: &Arc<Inner<V>>,
    recipe: &dyn Recipe<V>,
    build: u64,
    owner: &Name,
    visitor: &Name,
    mut handlers: Handlers<V>,
    review: Option<&Review>,
    standing: &mut Standing,
) -> Result<Handlers<V>, ProjectionError> {
    let (views, name) = (&inner.views, &recipe.about().name);
    let builds = views.builds(std::slice::from_ref(name)).await?;
    let builds = plan::of(name, &builds);
    let Some(new) = builds.iter().find(|one| one.number == build) else {
        let why = "the build was discarded";
        return Err(ProjectionError::Refused { name: name.to_string(), why });
    };
    let old = builds.iter().find(|one| one.serves && one.number != build);
    if let Some(old) = old {
        standing.was_inline = old.is_inline();
        for part in &old.parts {
            let part = old.part(part.slices);
            if let Some(checkpoint) = views.take(&part, visitor, LEASE, Taking::Anyway).await? {
                standing.parts.push((part.clone(), checkpoint.epoch));
            }
        }
    }
    es_core::failpoint!("rebuild.standing");
    let head = inner.store.head().await?;
    let reached = reached(inner, &standing.parts, head).await?;

    for part in &new.parts {
        let part = new.part(part.slices);
        if !handlers.iter().any(|one| one.held().part == part) {
            handlers.extend(inner.take_beside(recipe, part, owner, Taking::Anyway).await?);
        }
    }
    let ahead = handlers.iter().map(|one| one.held().checkpoint.position).max();
    let until = reached.max(ahead.unwrap_or_default());
    let (_go_on, stop) = watch::channel(false);
    let new = held(&handlers);
    let kept = [(visitor, standing.parts.as_slice()), (owner, new.as_slice())];
    let bringing = session::run(inner, handlers, Some(until), None, stop);
    let mut ended = while_held(inner, &kept, bringing).await;
    if let Some(error) = ended.error() {
        return Err(error);
    }
    if let (Some(review), Some(old)) = (review, old) {
        // Whoever took the parts over meanwhile would let them answer unseen.
        let reviewing =
            async { compare(views, name, old.number, build).await.map(|all| review(&all)) };
        if !while_held(inner, &kept, reviewing).await? {
            views.change(BuildChange::discard(name.clone(), build)).await?;
            return Err(ProjectionError::Unwanted { name: name.to_string() });
        }
    }
    let seen = |held: &Held| (held.part.slices, held.checkpoint);
    let seen: Vec<(Slices, Checkpoint)> =
        ended.handlers.iter().map(|one| seen(one.held())).collect();
    es_core::failpoint!("rebuild.before_serve");
    views.change(BuildChange::serve(name.clone(), build, seen).of_log(head)).await?;
    es_core::failpoint!("rebuild.after_serve");
    standing.parts.clear();
    for handler in &mut ended.handlers {
        handler.held_mut().changes = Some(inner.changes.clone());
    }
    inner.changes.tell(crate::Change::Everything);
    Ok(ended.handlers)
}

/// How far the parts that stand still have come. What claims to be beyond the end of the
/// log is of a log that was restored from an older copy since, and does not count.
async fn reached<V: Views>(
    inner: &Arc<Inner<V>>,
    standing: &[(Part, u64)],
    head: Position,
) -> Result<Position, ProjectionError> {
    let mut reached = Position::START;
    for (part, _) in standing {
        let (_, seen) = inner.views.begin(part).await?;
        if seen.position <= head {
            reached = reached.max(seen.position);
        }
    }
    Ok(reached)
}
