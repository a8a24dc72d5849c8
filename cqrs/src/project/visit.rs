//! Holds parts for a moment, without their owners.

use std::{sync::Arc, time::Duration};

use es_core::{Build, Name, Part, PartState, StoreError, StoreErrorKind, Taking, Views, failpoint};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    handler::{Handler, Held, Recipe},
    inner::Inner,
    session::Handlers,
};
use crate::ProjectionError;

/// The owner of parts that somebody has paused.
pub(crate) const PAUSED: Name = Name::from_static("gesta.paused");
/// What the names of owners begin with who only hold a part for a moment.
const VISITOR: &str = "gesta.visitor.";
/// The share of a lease after which it begins anew.
const RENEWALS: u32 = 3;
/// How long a part that was paused stays so: for ever.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A name for an owner who will soon be gone.
pub(crate) fn visitor<V: Views>(inner: &Inner<V>) -> Name {
    let name = format!("{VISITOR}{:016x}", inner.world.random_u64());
    Name::new(name).unwrap_or(Name::from_static("gesta.visitor"))
}

/// Whether this owner will soon be gone.
fn is_visitor(owner: &Name) -> bool {
    owner.as_str().starts_with(VISITOR)
}

/// Whether somebody has the part who will soon be gone.
pub(crate) fn is_visited(part: &PartState) -> bool {
    !part.is_free() && part.owner.as_ref().is_some_and(is_visitor)
}

/// Whether somebody has paused the part.
pub(crate) fn is_paused(part: &PartState) -> bool {
    !part.is_free() && part.owner.as_ref() == Some(&PAUSED)
}

/// The parts with their epochs.
pub(crate) fn held<V: Views>(handlers: &Handlers<V>) -> Vec<(Part, u64)> {
    let held = handlers.iter().map(|one| one.held());
    held.map(|held| (held.part.clone(), held.checkpoint.epoch)).collect()
}

/// Parts of which one has the leases until one [leaves](Self::leave).
pub(crate) struct Visit<'a, V: Views> {
    inner: &'a Arc<Inner<V>>,
    owner: Name,
    held: Arc<Mutex<Vec<(Part, u64)>>>,
    /// A model whose rows changed with each append before.
    inline: Mutex<Option<Name>>,
}

impl<'a, V: Views> Visit<'a, V> {
    pub(crate) fn new(inner: &'a Arc<Inner<V>>) -> Self {
        Self { inner, owner: visitor(inner), held: Arc::default(), inline: Mutex::default() }
    }

    /// Takes a part, whoever has it; it is fenced if the part is gone.
    pub(crate) async fn hold(
        &self,
        build: &Build,
        state: &PartState,
    ) -> Result<Held, ProjectionError> {
        let Inner { views, lease, changes, .. } = &**self.inner;
        let part = build.part(state.slices);
        let mut taken = None;
        if is_paused(state) {
            // It stays paused, also if this visitor dies.
            taken = views.take(&part, &PAUSED, FOR_EVER, Taking::IfFree).await?;
        }
        if taken.is_none() {
            taken = views.take(&part, &self.owner, *lease, Taking::Anyway).await?;
        }
        let checkpoint = taken.ok_or_else(|| {
            let message = format!("{part} is gone, look at the builds again");
            StoreError::new(StoreErrorKind::Fenced, message)
        })?;
        self.held.lock().push((part.clone(), checkpoint.epoch));
        if state.is_inline() {
            *self.inline.lock() = Some(part.model.clone());
        }
        failpoint!("part.after_take");
        Ok(Held { part, checkpoint, changes: Some(changes.clone()) })
    }

    /// Takes a part, and makes what keeps it.
    pub(crate) async fn take(
        &self,
        recipe: &dyn Recipe<V>,
        build: &Build,
        state: &PartState,
    ) -> Result<Box<dyn Handler<V>>, ProjectionError> {
        let held = self.hold(build, state).await?;
        let Inner { views, world, .. } = &**self.inner;
        recipe.handler(views, held, world.clone()).await
    }

    /// Does the work, and renews the leases of what it takes meanwhile.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let (owner, held) = (self.owner.clone(), Arc::clone(&self.held));
        renewing(self.inner, move || vec![(owner.clone(), held.lock().clone())], work).await
    }

    /// Hands the parts over; those that are paused stay so, and those that were inline are
    /// so again.
    pub(crate) async fn leave(self) -> Result<(), ProjectionError> {
        let held = std::mem::take(&mut *self.held.lock());
        self.inner.views.renew(&self.owner, &held, Duration::ZERO).await?;
        if let Some(model) = self.inline.into_inner() {
            self.inner.views.keep_inline(&model).await?;
        }
        Ok(())
    }
}

/// Does something that may take long, and renews these leases meanwhile.
pub(crate) async fn while_held<V: Views, T>(
    inner: &Arc<Inner<V>>,
    held: &[(&Name, &[(Part, u64)])],
    work: impl Future<Output = T>,
) -> T {
    let held: Vec<_> =
        held.iter().map(|(owner, parts)| ((*owner).clone(), parts.to_vec())).collect();
    renewing(inner, move || held.clone(), work).await
}

/// The leases are renewed by a task of their own: the work may keep its thread, and may
/// have locked a part that is to be renewed. The last renewal is waited for, as it would
/// come after the parts are handed over.
async fn renewing<V: Views, T>(
    inner: &Arc<Inner<V>>,
    held: impl Fn() -> Vec<(Name, Vec<(Part, u64)>)> + Send + 'static,
    work: impl Future<Output = T>,
) -> T {
    let (over, is_over) = oneshot::channel::<()>();
    let (ended, has_ended) = oneshot::channel::<()>();
    let renewing = Arc::clone(inner);
    inner.world.detach(async move {
        renew(&renewing, held, is_over).await;
        drop(ended);
    });
    let done = work.await;
    drop(over);
    let _ = has_ended.await;
    done
}

/// Until it is over, or whoever waited for it was dropped.
async fn renew<V: Views>(
    inner: &Inner<V>,
    held: impl Fn() -> Vec<(Name, Vec<(Part, u64)>)> + Send,
    mut is_over: oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            biased;
            _ = &mut is_over => return,
            () = inner.world.sleep(inner.lease / RENEWALS) => {}
        }
        for (owner, parts) in held() {
            // Whoever has lost a part meets its epoch.
            if let Err(error) = inner.views.renew(&owner, &parts, inner.lease).await {
                tracing::warn!(%error, "leases were not renewed");
            }
        }
    }
}
