//! Short words for what promises do again and again.

use std::time::Duration;

use bytes::Bytes;
use es_core::{
    Build, BuildChange, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, StoreError, StoreErrorKind, Taking, Tenant, Views,
};

use super::ReadModels;
use crate::{contract::Site, fake};

pub(super) type Models<V> = Site<ReadModels<V>>;

/// A lease that does not end while a test runs.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) const FENCED: StoreErrorKind = StoreErrorKind::Fenced;

pub(super) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The one part of a build.
pub(super) fn whole(model: &str, build: u64) -> Part {
    Part::new(name(model), build, Slices::ALL)
}

pub(super) fn begin(model: &str, build: u64) -> BuildChange {
    BuildChange::begin(name(model), build)
}

pub(super) fn at(epoch: u64, position: u64) -> Checkpoint {
    Checkpoint { epoch, position: Position::new(position) }
}

pub(super) fn id(key: &str) -> RowId {
    RowId::new(Tenant::default(), key)
}

pub(super) fn row(key: &str, value: &str) -> Row {
    Row { id: id(key), value: Some(Bytes::copy_from_slice(value.as_bytes())) }
}

pub(super) fn row_of(tenant: &str, key: &str, value: &str) -> Row {
    Row { id: RowId::new(fake::tenant(tenant), key), ..row(key, value) }
}

pub(super) fn deleted(key: &str) -> Row {
    Row { id: id(key), value: None }
}

/// Every row of the build that answers.
pub(super) fn every(model: &str) -> Lookup {
    Lookup::new(name(model), Rows::Every { after: None, limit: 10_000 })
}

/// What the parts of a build look like.
pub(super) fn seen(build: &Build) -> Vec<(Slices, Checkpoint)> {
    build.parts.iter().map(|part| (part.slices, part.checkpoint)).collect()
}

impl<V: Views> Site<ReadModels<V>> {
    pub(super) async fn must(&self, change: BuildChange) {
        self.change(change).await.expect("a change that nothing is against");
    }

    pub(super) async fn refused(&self, change: BuildChange) -> StoreErrorKind {
        self.change(change).await.expect_err("a change that is refused").kind()
    }

    /// Begins a build in one part.
    pub(super) async fn begun(&self, model: &str, build: u64) -> Part {
        self.must(begin(model, build)).await;
        whole(model, build)
    }

    /// Begins a build in so many parts.
    pub(super) async fn begun_in(&self, model: &str, build: u64, parts: u16) -> Vec<Part> {
        let slices = Slices::split(parts);
        self.must(begin(model, build).parts(slices.clone())).await;
        slices.into_iter().map(|slices| Part::new(name(model), build, slices)).collect()
    }

    pub(super) async fn every_build(&self, model: &str) -> Vec<Build> {
        self.builds(&[name(model)]).await.expect("builds")
    }

    pub(super) async fn build(&self, model: &str, number: u64) -> Build {
        let builds = self.every_build(model).await;
        builds.into_iter().find(|one| one.number == number).expect("a build of this number")
    }

    /// The numbers of the builds that answer: one, if there are any builds.
    pub(super) async fn serving(&self, model: &str) -> Vec<u64> {
        let builds = self.every_build(model).await;
        builds.iter().filter(|one| one.serves).map(|one| one.number).collect()
    }

    pub(super) async fn checkpoint(&self, part: &Part) -> Checkpoint {
        self.begin(part).await.expect("a transaction").1
    }

    pub(super) async fn write(
        &self,
        part: &Part,
        changes: Changes,
        seen: Checkpoint,
        next: Checkpoint,
    ) -> Result<(), StoreError> {
        let (tx, _) = self.begin(part).await.expect("a transaction");
        self.commit(part, tx, changes, seen, next).await
    }

    /// Writes, under whatever checkpoint the part has.
    pub(super) async fn wrote(&self, part: &Part, changes: Changes) -> Checkpoint {
        let (tx, seen) = self.begin(part).await.expect("a transaction");
        let next = seen.at(Position::new(seen.position.get() + 1));
        self.commit(part, tx, changes, seen, next).await.expect("a commit");
        next
    }

    /// Moves the part on without a row.
    pub(super) async fn moved(&self, part: &Part, position: u64) {
        let seen = self.checkpoint(part).await;
        let next = seen.at(Position::new(position));
        self.write(part, Changes::default(), seen, next).await.expect("a commit");
    }

    pub(super) async fn find(&self, lookup: Lookup) -> Vec<Row> {
        self.rows(lookup).await.expect("rows")
    }

    /// Takes a part that must be free.
    pub(super) async fn took(&self, part: &Part, owner: &str, lease: Duration) -> Checkpoint {
        self.tries(part, owner, lease).await.expect("a part that is free")
    }

    pub(super) async fn tries(
        &self,
        part: &Part,
        owner: &str,
        lease: Duration,
    ) -> Option<Checkpoint> {
        self.take(part, &name(owner), lease, Taking::IfFree).await.expect("an answer")
    }

    pub(super) async fn stole(&self, part: &Part, owner: &str, lease: Duration) -> Checkpoint {
        let taken = self.take(part, &name(owner), lease, Taking::Anyway).await;
        taken.expect("an answer").expect("a part that is there")
    }

    pub(super) async fn serve(&self, model: &str, build: u64) -> Result<(), StoreError> {
        let parts = seen(&self.build(model, build).await);
        self.change(BuildChange::serve(name(model), build, parts)).await
    }

    pub(super) async fn served(&self, model: &str, build: u64) {
        self.serve(model, build).await.expect("a build that may answer");
    }
}

/// Writes rows to the first build of a read model, which begins if it is not there.
pub(super) async fn put<V: Views>(models: &Models<V>, model: &str, rows: Vec<Row>) -> Checkpoint {
    if models.every_build(model).await.is_empty() {
        models.begun(model, 1).await;
    }
    models.wrote(&whole(model, 1), Changes::rows(rows)).await
}

pub(super) async fn all<V: Views>(models: &Models<V>, model: &str) -> Vec<Row> {
    page(models, model, None, 10_000).await
}

pub(super) async fn page<V: Views>(
    models: &Models<V>,
    model: &str,
    after: Option<&str>,
    limit: usize,
) -> Vec<Row> {
    let after = after.map(ToOwned::to_owned);
    let rows = Rows::Of { tenant: Tenant::default(), after, limit };
    models.find(Lookup::new(name(model), rows)).await
}
