//! What is told of queries: spans, and numbers.

use cqrs::{Answer, BoxError, Projector, Queries, Query, QuerySettings, Trace};
use es_core::{
    Metadata, Tenant,
    memory::{MemoryStore, MemoryViews},
};

use crate::spans::Spans;

#[derive(Debug, Query)]
#[query(output = u64)]
struct Half(u64);

struct Calculator;

impl Answer<Half> for Calculator {
    async fn answer(&self, query: &Half, _: &Tenant) -> Result<u64, BoxError> {
        if query.0.is_multiple_of(2) { Ok(query.0 / 2) } else { Err("it is odd".into()) }
    }
}

fn calculator() -> Queries {
    let projector = Projector::new(MemoryStore::new(), MemoryViews::new());
    let settings = QuerySettings::<Half>::new();
    Queries::builder(projector).answer(Calculator, settings).layer(Trace).build()
}

#[tokio::test]
async fn a_trace_tells_each_query_and_what_became_of_it() {
    let spans = Spans::default();
    let _recording = tracing::subscriber::set_default(spans.clone());
    let queries = calculator().with(Metadata::new().user_id("ada"));
    queries.ask(Half(4)).await.unwrap();
    queries.ask(Half(5)).await.unwrap_err();
    let known = "query name=half tenant=default at_least=0 user=ada";
    assert_eq!(
        spans.told(),
        [format!("{known}: answered"), format!("{known}: not answered kind=failed")]
    );
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn queries_are_counted_by_their_outcome() {
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let queries = calculator();
    queries.ask(Half(4)).await.unwrap();
    queries.ask(Half(5)).await.unwrap_err();
    let ahead = queries.at_least(es_core::Position::new(9)).within(std::time::Duration::ZERO);
    ahead.ask(Half(4)).await.unwrap_err();
    ahead.or_stale().ask(Half(4)).await.unwrap();

    let told = crate::counted::told(&snapshotter);
    let queries = |outcome: &str| told[&format!("gesta_queries_total {outcome}")];
    let counts = ["loaded", "failed", "behind", "stale", "cached", "refused"].map(queries);
    assert_eq!(counts, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!(told["gesta_query_loads_total"], 3.0);
}
