//! Bugs of beginning, dividing, serving and discarding.

use es_core::{
    Build, BuildChange, BuildStep, Builds, Checkpoint, Lookup, Part, Position, Rows, Slices,
    StoreError, StoreErrorKind, Views,
};

use super::{MutantViews, ViewBug};

pub(super) async fn change(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    match (views.bug, &change.what) {
        (Some(ViewBug::BegunTwice), BuildStep::Begin { .. }) => begin_twice(views, change).await,
        (Some(ViewBug::EpochsBeginAnew), BuildStep::Begin { .. }) => {
            begin_anew(views, change).await
        }
        (Some(ViewBug::ServesBehind), BuildStep::Serve { .. }) => serve_behind(views, change).await,
        (Some(ViewBug::ServesUnseen), BuildStep::Serve { .. }) => serve_unseen(views, change).await,
        (Some(ViewBug::ParkedLeft), BuildStep::Discard) => leave_parked(views, change).await,
        (Some(ViewBug::DividedKeepEpoch), BuildStep::Divide { .. }) => {
            keep_epoch(views, change).await
        }
        (Some(ViewBug::JoinedAnywhere), BuildStep::Divide { .. }) => {
            join_anywhere(views, change).await
        }
        _ => views.sound.change(change).await,
    }
}

async fn builds(views: &MutantViews, change: &BuildChange) -> Result<Vec<Build>, StoreError> {
    views.sound.builds(std::slice::from_ref(&change.model)).await
}

async fn build(views: &MutantViews, change: &BuildChange) -> Result<Option<Build>, StoreError> {
    let builds = builds(views, change).await?;
    Ok(builds.into_iter().find(|build| build.number == change.build))
}

async fn begin_twice(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    views.sound.change(change).await.or_else(|error| match error.kind() {
        StoreErrorKind::Fenced => Ok(()),
        _ => Err(error),
    })
}

async fn begin_anew(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    views.sound.change(change.clone()).await?;
    let Some(build) = build(views, &change).await? else { return Ok(()) };
    for part in &build.parts {
        views.set(&build.part(part.slices), Checkpoint::default()).await?;
    }
    Ok(())
}

/// Sets the build that answers back, so that whatever comes is as far.
async fn serve_behind(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    let refused = match views.sound.change(change.clone()).await {
        Err(error) if error.kind() == StoreErrorKind::Busy => error,
        other => return other,
    };
    let serving = builds(views, &change).await?.into_iter().find(|build| build.serves);
    let Some(build) = serving else { return Err(refused) };
    for part in &build.parts {
        let start = part.checkpoint.at(Position::START);
        views.set(&build.part(part.slices), start).await?;
    }
    views.sound.change(change).await
}

async fn serve_unseen(views: &MutantViews, mut change: BuildChange) -> Result<(), StoreError> {
    if let (Some(build), BuildStep::Serve { parts, .. }) =
        (build(views, &change).await?, &mut change.what)
    {
        *parts = build.parts.iter().map(|part| (part.slices, part.checkpoint)).collect();
    }
    views.sound.change(change).await
}

async fn leave_parked(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    let every = Rows::Every { after: None, limit: usize::MAX };
    let lookup = Lookup::new(change.model.clone(), every).in_build(change.build).parked();
    let parked = views.sound.rows(lookup).await?;
    views.sound.change(change.clone()).await?;
    views.left.lock().insert((change.model, change.build), parked);
    Ok(())
}

async fn keep_epoch(views: &MutantViews, change: BuildChange) -> Result<(), StoreError> {
    views.sound.change(change.clone()).await?;
    let BuildStep::Divide { from, into } = &change.what else { return Ok(()) };
    for slices in into {
        let latest = from.iter().map(|(_, checkpoint)| *checkpoint).max_by_key(|one| one.epoch);
        views.set(&part(&change, *slices), latest.unwrap_or_default()).await?;
    }
    Ok(())
}

/// Moves the parts that are to be joined to where the furthest is.
async fn join_anywhere(views: &MutantViews, mut change: BuildChange) -> Result<(), StoreError> {
    let slices = |slices| part(&BuildChange::discard(change.model.clone(), change.build), slices);
    if let BuildStep::Divide { from, .. } = &mut change.what {
        let furthest = from.iter().map(|(_, checkpoint)| checkpoint.position).max();
        for (these, checkpoint) in from {
            *checkpoint = checkpoint.at(furthest.unwrap_or_default());
            views.set(&slices(*these), *checkpoint).await.or_else(unless_fenced)?;
        }
    }
    views.sound.change(change).await
}

fn unless_fenced(error: StoreError) -> Result<(), StoreError> {
    if error.kind() == StoreErrorKind::Fenced { Ok(()) } else { Err(error) }
}

fn part(change: &BuildChange, slices: Slices) -> Part {
    Part::new(change.model.clone(), change.build, slices)
}
