//! Builds a free-form projection anew in its place.

use std::sync::Arc;

use es_core::{
    BuildChange, EventStoreExt, Name, Slices, StoreError, StoreErrorKind, Taking, Views, failpoint,
};

use super::{
    handler::{Held, Recipe},
    inner::Inner,
    plan,
    visit::{is_visited, visitor, while_held},
};
use crate::ProjectionError;

/// How often it begins anew because somebody has come between, and the share of a lease
/// before each time: what a dead one has is free by then.
const TRIES: u32 = 20;
const PAUSES: u32 = 10;

/// Empties what the projection has written, and begins a build by this code that
/// answers at once, from nothing. Killed on the way, it begins again: until the build
/// answers, the old one stands at the start, and is by other code.
pub(crate) async fn rebuild<V: Views>(
    inner: &Arc<Inner<V>>,
    recipe: &dyn Recipe<V>,
) -> Result<(), ProjectionError> {
    let (name, owner) = (&recipe.about().name, visitor(inner));
    let Some(old) = serving(inner, name).await? else { return Ok(()) };
    for _ in 0..TRIES {
        match once(inner, recipe, &owner, old).await {
            Err(error) if error.is_fenced() || error.is_transient() => {
                inner.world.sleep(inner.lease / PAUSES).await;
            }
            outcome => return outcome,
        }
    }
    let why = "it was taken over again and again while it was emptied, try again";
    Err(ProjectionError::Refused { name: name.to_string(), why })
}

async fn serving<V: Views>(inner: &Inner<V>, name: &Name) -> Result<Option<u64>, StoreError> {
    let builds = inner.views.builds(std::slice::from_ref(name)).await?;
    Ok(builds.iter().find(|build| build.serves).map(|build| build.number))
}

/// If the build that is to be replaced does not answer any more, somebody else has
/// done it.
async fn once<V: Views>(
    inner: &Arc<Inner<V>>,
    recipe: &dyn Recipe<V>,
    owner: &Name,
    old: u64,
) -> Result<(), ProjectionError> {
    let (views, name) = (&inner.views, &recipe.about().name);
    let builds = views.builds(std::slice::from_ref(name)).await?;
    let builds = plan::of(name, &builds);
    let Some(old) = builds.iter().find(|build| build.serves && build.number == old) else {
        return Ok(());
    };
    let [state] = old.parts.as_slice() else {
        let why = "it is divided, and cannot be emptied in one transaction: join its parts first";
        return Err(ProjectionError::Refused { name: name.to_string(), why });
    };
    let part = old.part(state.slices);
    if is_visited(state) && state.owner.as_ref() != Some(owner) {
        // Two who empty it would fence each other for ever.
        let message = format!("{part} is emptied or repaired by another");
        return Err(StoreError::new(StoreErrorKind::Busy, message).into());
    }
    let taken = views.take(&part, owner, inner.lease, Taking::Anyway).await?;
    let Some(checkpoint) = taken else { return Ok(()) };
    let mut held = Held { part, checkpoint, changes: Some(inner.changes.clone()) };
    let mine = [(held.part.clone(), held.checkpoint.epoch)];
    while_held(inner, &[(owner, mine.as_slice())], recipe.empty(views, &mut held)).await?;
    failpoint!("in_place.after_empty");
    let change = plan::next(recipe.about(), &builds).parts([Slices::ALL]);
    let build = change.build;
    views.change(change).await?;
    let begun = views.builds(std::slice::from_ref(name)).await?;
    let begun = begun.iter().filter(|one| one.number == build).flat_map(|one| &one.parts);
    let seen = begun.map(|part| (part.slices, part.checkpoint)).collect();
    let head = inner.store.head().await?;
    failpoint!("in_place.before_serve");
    views.change(BuildChange::serve(name.clone(), build, seen).of_log(head)).await?;
    failpoint!("in_place.after_serve");
    Ok(())
}
