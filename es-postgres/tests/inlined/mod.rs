//! A read model whose one row lists the positions of its events, in the order in which they
//! came.

use std::{fmt, sync::Arc};

use es_core::{
    Batch, BuildChange, Builds, EventStoreExt, Folded, Inline, InlineModel, Lookup, Name, Read,
    RecordedEvent, Row, RowId, Rows, Tenant, Views,
};
use es_postgres::PostgresStore;
use es_testkit::fake;

pub(crate) const SEEN: Name = Name::from_static("seen");
const EVENT: Name = Name::from_static("thing.seen");

/// The model, and what happens whenever it folds so many events.
#[derive(Clone)]
pub(crate) struct Seen {
    models: Vec<InlineModel>,
    on_fold: Arc<dyn Fn(usize) -> Result<(), String> + Send + Sync>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self::when_folding(|_| Ok(()))
    }

    pub(crate) fn when_folding(
        happens: impl Fn(usize) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        let models = vec![InlineModel { name: SEEN, revision: 1, types: vec![EVENT] }];
        Self { models, on_fold: Arc::new(happens) }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl Inline for Seen {
    fn models(&self) -> &[InlineModel] {
        &self.models
    }

    fn rows(&self, _: &InlineModel, _: &[RecordedEvent]) -> Result<Vec<RowId>, String> {
        Ok(vec![id()])
    }

    fn fold(
        &self,
        _: &InlineModel,
        events: &[RecordedEvent],
        mut rows: Vec<Row>,
    ) -> Result<Vec<Row>, String> {
        (self.on_fold)(events.len())?;
        for row in &mut rows {
            let mut seen = positions(row);
            seen.extend(events.iter().map(|event| event.position.get()));
            let seen: Vec<_> = seen.iter().map(ToString::to_string).collect();
            row.value = Some(seen.join(" ").into());
        }
        Ok(rows)
    }

    fn committed(&self, _: &[Folded]) {}
}

fn id() -> RowId {
    RowId::new(Tenant::default(), "all")
}

fn positions(row: &Row) -> Vec<u64> {
    let text = row.value.as_deref().map(|value| std::str::from_utf8(value).expect("a text"));
    let numbers = text.unwrap_or_default().split_whitespace();
    numbers.map(|number| number.parse().expect("a number")).collect()
}

/// An event that the model takes.
pub(crate) fn seen(stream: &str) -> Batch {
    Batch::to(fake::stream(stream)).event(fake::event(&EVENT).build())
}

/// Begins a build, which nobody keeps yet.
pub(crate) async fn begun(store: &PostgresStore) {
    store.change(BuildChange::begin(SEEN, 1).revision(1)).await.expect("a build that begins");
}

/// The same, and keeps it with each append.
pub(crate) async fn kept(store: &PostgresStore) {
    begun(store).await;
    store.keep_inline(&SEEN).await.expect("a model that is kept with each append");
}

/// What the row shows.
pub(crate) async fn shown(store: &PostgresStore) -> Vec<u64> {
    let rows = store.rows(Lookup::new(SEEN, Rows::These(vec![id()]))).await.expect("rows");
    rows.first().map(positions).unwrap_or_default()
}

/// What it is to show.
pub(crate) async fn logged(store: &PostgresStore) -> Vec<u64> {
    let events = store.events(Read::all().every_tenant().types([EVENT])).await.expect("events");
    events.iter().map(|event| event.position.get()).collect()
}

/// Says that it shows so many events, and all that are in the log.
pub(crate) async fn assert_shows(store: &PostgresStore, events: usize) {
    let shown = shown(store).await;
    assert_eq!(shown, logged(store).await, "what the row shows, and what it should");
    assert_eq!(shown.len(), events);
}
