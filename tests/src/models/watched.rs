//! Read models that tell what is refused, and some with a bug put in.

use std::{collections::HashMap, io::Write, sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    Build, BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Row, StoreError,
    StoreErrorKind, Taking, Views, failpoint,
};
use parking_lot::Mutex;

/// A bug that a control puts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None.
    Sound,
    /// A commit does not ask whose the part is: an owner who has lost it goes on.
    AnyEpoch,
    /// The checkpoint is committed before what it stands for.
    CheckpointFirst,
}

/// Hands everything on, and prints a line for each part that is taken, for each commit,
/// and for each that is refused because somebody else has the part.
#[derive(Debug, Clone)]
pub struct Watched<V> {
    views: V,
    fault: Fault,
    /// What this process believes of its parts.
    believed: Arc<Mutex<HashMap<Part, Checkpoint>>>,
}

impl<V: Views> Watched<V> {
    /// Watches these, with this bug.
    pub fn new(views: V, fault: Fault) -> Self {
        Self { views, fault, believed: Arc::default() }
    }

    fn believe(&self, part: &Part, checkpoint: Checkpoint) {
        self.believed.lock().insert(part.clone(), checkpoint);
    }

    /// Commits whoever has the part by now.
    async fn commit_anyway(
        &self,
        part: &Part,
        tx: V::Tx,
        changes: Changes,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let (_, now) = self.views.begin(part).await?;
        self.views.commit(part, tx, changes, now, now.at(next.position)).await
    }

    /// Commits the checkpoint, then the rest.
    async fn commit_twice(
        &self,
        part: &Part,
        tx: V::Tx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let (empty, _) = self.views.begin(part).await?;
        self.views.commit(part, empty, Changes::default(), seen, next).await?;
        failpoint!("control.between_commits");
        self.views.commit(part, tx, changes, next, next).await
    }
}

/// One line, whole or not at all.
fn say(what: &str, part: &Part, Checkpoint { epoch, position }: Checkpoint, more: &str) {
    let Part { model, build, slices } = part;
    let line = format!("{what} {model} {build} {slices} {epoch} {position} {more}\n");
    // Nobody may be listening any more.
    let _ = std::io::stdout().write_all(line.as_bytes());
    let _ = std::io::stdout().flush();
}

#[async_trait]
impl<V: Views> Builds for Watched<V> {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        self.views.builds(models).await
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        self.views.change(change).await
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let taken = self.views.take(part, owner, lease, taking).await?;
        if let Some(checkpoint) = taken {
            self.believe(part, checkpoint);
            say("took", part, checkpoint, owner.as_str());
        }
        Ok(taken)
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        self.views.renew(owner, held, lease).await
    }
}

impl<V: Views> Views for Watched<V> {
    type Tx = V::Tx;

    async fn begin(&self, part: &Part) -> Result<(V::Tx, Checkpoint), StoreError> {
        let (tx, found) = self.views.begin(part).await?;
        let believed = self.believed.lock().get(part).copied();
        match (believed, self.fault) {
            (Some(believed), Fault::AnyEpoch) => Ok((tx, believed)),
            (Some(believed), _) if believed.epoch != found.epoch => {
                say("stale", part, believed, "");
                Ok((tx, found))
            }
            _ => Ok((tx, found)),
        }
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        self.views.rows(lookup).await
    }

    async fn commit(
        &self,
        part: &Part,
        tx: V::Tx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let committed = match self.fault {
            Fault::Sound => self.views.commit(part, tx, changes, seen, next).await,
            Fault::AnyEpoch => self.commit_anyway(part, tx, changes, next).await,
            Fault::CheckpointFirst => self.commit_twice(part, tx, changes, seen, next).await,
        };
        match &committed {
            Ok(()) => {
                self.believe(part, next);
                say("committed", part, next, "");
            }
            Err(error) if error.kind() == StoreErrorKind::Fenced => say("fenced", part, seen, ""),
            Err(_) => {}
        }
        committed
    }
}
