//! What schedules of read models do again and again: who holds what, and who waits.

use std::time::Duration;

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, StoreError, StoreErrorKind, Taking, Tenant, Views,
};
use sqlx::PgConnection;

use crate::log::{Begun, Log, begin, run};

pub(crate) const CHANGE: &str = include_str!("../../src/schema/change_build.sql");

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) const FENCED: Outcome = Err(StoreErrorKind::Fenced);
pub(crate) const BUSY: Outcome = Err(StoreErrorKind::Busy);

pub(crate) type Outcome = Result<(), StoreErrorKind>;

pub(crate) fn model() -> Name {
    Name::from_static("model")
}

pub(crate) fn part(build: u64) -> Part {
    Part::new(model(), build, Slices::ALL)
}

pub(crate) fn at(epoch: u64, position: u64) -> Checkpoint {
    Checkpoint { epoch, position: Position::new(position) }
}

pub(crate) fn kind<T>(outcome: Result<T, StoreError>) -> Result<T, StoreErrorKind> {
    outcome.map_err(|error| error.kind())
}

/// What one of two came to, and what the other.
pub(crate) type Both = (Outcome, Outcome);

/// A session that keeps others waiting until it is let go.
pub(crate) struct Holding(PgConnection);

impl Holding {
    pub(crate) async fn these(log: &Log, sql: &str) -> Self {
        let mut session = log.session().await;
        run(&mut session, "BEGIN").await;
        run(&mut session, &log.sql(sql)).await;
        Self(session)
    }

    /// A commit of the row `one` to this build waits, with its part locked.
    pub(crate) async fn row(log: &Log, build: u64) -> Self {
        let sql = format!(
            "INSERT INTO {{schema}}.view_rows (model, build, kind, tenant, key, value) \
             VALUES ('model', {build}, 0, 'default', 'one', '')"
        );
        Self::these(log, &sql).await
    }

    /// Whoever writes to the part waits, in the order in which they have come.
    pub(crate) async fn part(log: &Log, build: u64) -> Self {
        let sql = format!("SELECT FROM {{schema}}.parts WHERE build = {build} FOR UPDATE");
        Self::these(log, &sql).await
    }

    /// Whoever lets another build answer waits, with all parts locked and some deleted.
    pub(crate) async fn build(log: &Log, build: u64) -> Self {
        let sql = format!("SELECT FROM {{schema}}.builds WHERE number = {build} FOR UPDATE");
        Self::these(log, &sql).await
    }

    pub(crate) async fn let_go(mut self) {
        run(&mut self.0, "ROLLBACK").await;
    }
}

/// Words for what the schedules do again and again.
impl Log {
    pub(crate) async fn change(&self, change: BuildChange) {
        self.store.change(change).await.expect("a change that nothing is against");
    }

    pub(crate) async fn begun(&self, builds: &[u64]) {
        for build in builds {
            self.change(BuildChange::begin(model(), *build)).await;
        }
    }

    pub(crate) async fn checkpoint(&self, part: &Part) -> Checkpoint {
        self.store.begin(part).await.expect("a checkpoint").1
    }

    pub(crate) fn begin_change(&self, change: BuildChange) -> Begun<Outcome> {
        let store = self.store.clone();
        begin(async move { kind(store.change(change).await) })
    }

    /// Lets a build answer that has not moved.
    pub(crate) fn begin_serve(&self, build: u64) -> Begun<Outcome> {
        self.begin_change(BuildChange::serve(model(), build, vec![(Slices::ALL, at(0, 0))]))
    }

    /// The row `one`, and position 5, to a build that has not moved.
    pub(crate) fn begin_commit(&self, build: u64) -> Begun<Outcome> {
        self.begin_commit_at(build, at(0, 0))
    }

    pub(crate) fn begin_commit_at(&self, build: u64, seen: Checkpoint) -> Begun<Outcome> {
        let store = self.store.clone();
        let id = RowId::new(Tenant::default(), "one");
        let changes = Changes::rows([Row { id, value: Some("1".into()) }]);
        begin(async move {
            let (tx, _) = store.begin(&part(build)).await.expect("a transaction");
            let next = seen.at(Position::new(5));
            kind(store.commit(&part(build), tx, changes, seen, next).await)
        })
    }

    /// An hour's lease for this owner, if nobody has one.
    pub(crate) fn begin_take(
        &self,
        owner: &'static str,
    ) -> Begun<Result<Option<Checkpoint>, StoreErrorKind>> {
        let (store, owner) = (self.store.clone(), Name::from_static(owner));
        begin(async move { kind(store.take(&part(1), &owner, HOUR, Taking::IfFree).await) })
    }

    /// Lets one come before another, both of which wait for who is holding.
    pub(crate) async fn in_order<A, B>(
        &self,
        holding: Holding,
        first: impl FnOnce() -> Begun<A>,
        second: impl FnOnce() -> Begun<B>,
    ) -> (A, B) {
        let first = first();
        self.until_waiting(1).await;
        let second = second();
        self.until_waiting(2).await;
        holding.let_go().await;
        (first.end().await, second.end().await)
    }

    /// Of each build: its number, whether it answers, its parts and its rows.
    pub(crate) async fn looks(&self) -> Vec<(u64, bool, usize, usize)> {
        let mut looks = Vec::new();
        for build in self.store.builds(&[model()]).await.expect("builds") {
            let rows = self.rows(build.number).await;
            looks.push((build.number, build.serves, build.parts.len(), rows));
        }
        looks
    }

    pub(crate) async fn rows(&self, build: u64) -> usize {
        let every = Rows::Every { after: None, limit: 10 };
        self.store.rows(Lookup::new(model(), every).in_build(build)).await.expect("rows").len()
    }

    /// Takes the locks of parts away from one of the functions.
    pub(crate) async fn without_locks(&self, function: &str) {
        let from = function.find("PERFORM FROM").expect("a statement that locks");
        let length = function[from..].find("FOR UPDATE;").expect("the end of it") + 11;
        let broken = [&function[..from], &function[from + length..]].concat();
        let broken = broken.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        run(&mut self.session().await, &self.sql(&broken)).await;
    }
}
