//! Short words for what promises do again and again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use es_core::{
    AppendError, Appended, Batch, Build, BuildChange, Changes, Checkpoint, EventStore,
    EventStoreExt, Inline, Lookup, Name, NewEvent, Part, Position, Read, RecordedEvent, Row, RowId,
    Rows, Slices, StoreError, Taking, Tenant, Views,
};

use super::{InlineModels, Tallies, tallies::Added};
use crate::{
    contract::{Site, run::together},
    fake,
};

pub(super) type Models<V> = Site<InlineModels<V>>;

pub(super) const TALLY: Name = Name::from_static("tally");
pub(super) const NOBODY: Name = Name::from_static("nobody");

/// The event of this number for these rows.
pub(super) fn added(number: u64, rows: &[&str]) -> NewEvent {
    event("tally.added", number, rows)
}

pub(super) fn event(event_type: &str, number: u64, rows: &[&str]) -> NewEvent {
    let rows = rows.iter().map(ToString::to_string).collect();
    fake::event(event_type).json(&Added { rows, number }).build()
}

pub(super) fn batch(stream: &str, number: u64, rows: &[&str]) -> Batch {
    Batch::to(fake::stream(stream)).event(added(number, rows))
}

/// What is in the way of the model.
pub(super) fn model_of(refusal: Result<Appended, AppendError>) -> String {
    match refusal.expect_err("an append that is refused") {
        AppendError::Model { model, .. } => model.to_string(),
        other => panic!("{other:?}"),
    }
}

impl<V: Views> Site<InlineModels<V>> {
    pub(super) async fn append(&self, batch: Batch) -> Appended {
        self.log.append(batch).await.expect("an append that nothing is against")
    }

    /// Appends one event of this number.
    pub(super) async fn add(&self, number: u64, rows: &[&str]) -> Position {
        self.append(batch(&format!("t-{number}"), number, rows)).await.position
    }

    /// Begins the first build of the model, in so many parts.
    pub(super) async fn begun_in(&self, parts: u16) -> Vec<Part> {
        let change = BuildChange::begin(TALLY, 1).revision(1).parts(Slices::split(parts));
        self.views.change(change).await.expect("a build that begins");
        let part = |slices| Part::new(TALLY, 1, slices);
        Slices::split(parts).into_iter().map(part).collect()
    }

    pub(super) async fn keep_inline(&self) -> Result<(), StoreError> {
        self.views.keep_inline(&TALLY).await
    }

    /// Begins a build, and keeps it with each append.
    pub(super) async fn kept(&self) -> Part {
        let mut parts = self.begun_in(1).await;
        self.keep_inline().await.expect("a model that is kept with each append");
        parts.remove(0)
    }

    /// Ends that.
    pub(super) async fn end(&self, part: &Part) -> Checkpoint {
        let taken = self.views.take(part, &NOBODY, Duration::ZERO, Taking::Anyway).await;
        taken.expect("an answer").expect("a part that is there")
    }

    pub(super) async fn build(&self) -> Build {
        let builds = self.views.builds(&[TALLY]).await.expect("builds");
        builds.into_iter().find(|build| build.serves).expect("a build that answers")
    }

    /// The numbers in a row of the default tenant; `None` if there is none.
    pub(super) async fn row(&self, key: &str) -> Option<Vec<u64>> {
        self.row_of(&Tenant::default(), key).await
    }

    pub(super) async fn row_of(&self, tenant: &Tenant, key: &str) -> Option<Vec<u64>> {
        let ids = Rows::These(vec![RowId::new(tenant.clone(), key)]);
        let rows = self.views.rows(Lookup::new(TALLY, ids)).await.expect("rows");
        let value = rows.into_iter().next().and_then(|row| row.value);
        value.map(|value| serde_json::from_slice(&value).expect("numbers"))
    }

    /// What the log says that a row is to show.
    pub(super) async fn in_the_log(&self, key: &str) -> Vec<u64> {
        let read = Read::all().types([Name::from_static("tally.added")]);
        let events = self.log.events(read).await.expect("events");
        let added = |event: &RecordedEvent| serde_json::from_slice(&event.payload);
        let added = events.iter().map(|event| added(event).expect("numbers"));
        let ours = added.filter(|added: &Added| added.rows.iter().any(|row| row == key));
        ours.map(|added| added.number).collect()
    }

    /// Folds what has come since a checkpoint, as a worker would.
    pub(super) async fn work(&self, part: &Part) {
        let (tx, seen) = self.views.begin(part).await.expect("a transaction");
        let read = Read::all().every_tenant().after(seen.position);
        let events = self.log.events(read.types([Name::from_static("tally.added")])).await;
        let events = events.expect("events");
        let Some(last) = events.last() else { return };
        let model = &self.tallies.models()[0];
        let inline: &dyn Inline = &self.tallies;
        let ids = inline.rows_in(model, &events, part.slices).expect("rows");
        let lookup = Lookup::new(TALLY, Rows::These(ids.clone())).in_build(part.build);
        let found = self.views.rows(lookup).await.expect("rows");
        let value = |id: &RowId| found.iter().find(|row| row.id == *id)?.value.clone();
        let rows = ids.into_iter().map(|id| Row { value: value(&id), id }).collect();
        let rows = self.tallies.fold(model, &events, rows).expect("a fold");
        let next = seen.at(last.position);
        self.views.commit(part, tx, Changes::rows(rows), seen, next).await.expect("a commit");
    }

    /// The log as another program has it.
    pub(super) async fn as_another(&self, tallies: Option<Tallies>) -> Arc<dyn EventStore> {
        let open = self.another.as_ref().expect("a store that several programs have");
        open(tallies).await
    }
}

/// Most events of each of four that append: together fewer than may be folded when a model
/// begins to be kept with each append, however slow whoever lets it begin is.
const MOST: u64 = 2_000;

/// Four append at once to these rows, at least ten events each, as long as something else
/// goes on, and as long as `goes_on` says of what they are told.
pub(super) async fn beside_appends<T>(
    log: &Arc<dyn EventStore>,
    rows: &'static [&'static str],
    goes_on: fn(Result<Appended, AppendError>) -> bool,
    work: impl Future<Output = T>,
) -> T {
    let is_over = Arc::new(AtomicBool::new(false));
    let appenders = (0..4_u64).map(|appender| {
        let (log, is_over) = (Arc::clone(log), Arc::clone(&is_over));
        async move {
            let mut number = 0;
            while number < 10 || (number < MOST && !is_over.load(Ordering::SeqCst)) {
                let one = batch(&format!("t-{appender}"), 100 + number * 4 + appender, rows);
                if !goes_on(log.append(one).await) {
                    return;
                }
                number += 1;
            }
        }
    });
    let work = async {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let done = work.await;
        is_over.store(true, Ordering::SeqCst);
        done
    };
    tokio::join!(work, together(appenders)).0
}

/// An append that nothing is against.
pub(super) fn must(told: Result<Appended, AppendError>) -> bool {
    told.expect("an append");
    true
}
