use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use es_core::{
    Build, BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, PartState, Row,
    StoreError, Taking, Views,
    memory::{MemoryTx, MemoryViews},
};
use parking_lot::Mutex;

use super::{ViewBug, changes, commits, leases};

/// Read models in memory with one bug.
///
/// ```
/// use es_core::{Builds, BuildChange, Name, Taking, memory::MemoryViews};
/// use es_testkit::mutants::{MutantViews, ViewBug};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let views = MutantViews::new(Some(ViewBug::LeaseIgnored), MemoryViews::new());
/// views.change(BuildChange::begin(Name::new("balances")?, 1)).await?;
/// let build = views.builds(&[Name::new("balances")?]).await?.remove(0);
/// let (part, hour) = (build.part(build.parts[0].slices), std::time::Duration::from_secs(3_600));
/// for owner in ["one", "two"] {
///     let taken = views.take(&part, &Name::new(owner)?, hour, Taking::IfFree).await?;
///     assert!(taken.is_some(), "without the bug the second would get nothing");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct MutantViews {
    pub(super) bug: Option<ViewBug>,
    pub(super) sound: MemoryViews,
    /// What discarded builds have left.
    pub(super) left: Arc<Mutex<Left>>,
}

/// Rows of builds that are not there any more.
type Left = BTreeMap<(Name, u64), Vec<Row>>;

impl MutantViews {
    /// Puts the bug into sound read models; `None` leaves them sound.
    pub fn new(bug: Option<ViewBug>, sound: MemoryViews) -> Self {
        Self { bug, sound, left: Arc::default() }
    }

    pub(super) fn has(&self, bug: ViewBug) -> bool {
        self.bug == Some(bug)
    }

    /// What a part looks like, if it is there.
    pub(super) async fn state(&self, part: &Part) -> Result<Option<PartState>, StoreError> {
        let builds = self.sound.builds(std::slice::from_ref(&part.model)).await?;
        let build = builds.into_iter().find(|build| build.number == part.build);
        let parts = build.map(|build| build.parts).unwrap_or_default();
        Ok(parts.into_iter().find(|state| state.slices == part.slices))
    }

    /// Sets a checkpoint, whatever it was.
    pub(super) async fn set(&self, part: &Part, next: Checkpoint) -> Result<(), StoreError> {
        let (tx, seen) = self.sound.begin(part).await?;
        self.sound.commit(part, tx, Changes::default(), seen, next).await
    }
}

#[async_trait]
impl Builds for MutantViews {
    async fn builds(&self, models: &[Name]) -> Result<Vec<Build>, StoreError> {
        self.sound.builds(models).await
    }

    async fn change(&self, change: BuildChange) -> Result<(), StoreError> {
        changes::change(self, change).await
    }

    async fn take(
        &self,
        part: &Part,
        owner: &Name,
        lease: Duration,
        taking: Taking,
    ) -> Result<Option<Checkpoint>, StoreError> {
        leases::take(self, part, owner, lease, taking).await
    }

    async fn renew(
        &self,
        owner: &Name,
        held: &[(Part, u64)],
        lease: Duration,
    ) -> Result<Vec<Part>, StoreError> {
        leases::renew(self, owner, held, lease).await
    }
}

impl Views for MutantViews {
    type Tx = MemoryTx;

    async fn begin(&self, part: &Part) -> Result<(MemoryTx, Checkpoint), StoreError> {
        self.sound.begin(part).await
    }

    async fn rows(&self, lookup: Lookup) -> Result<Vec<Row>, StoreError> {
        commits::rows(self, lookup).await
    }

    async fn commit(
        &self,
        part: &Part,
        tx: MemoryTx,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        commits::commit(self, part, tx, changes, seen, next).await
    }
}
