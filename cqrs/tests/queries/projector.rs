//! The bus over a projector that runs: what it commits is what takes answers away.

use cqrs::{
    Aggregate, Answer, BoxError, CacheTag, Change, Command, Commands, Decide, Event, Evolve, Keys,
    Projection, ProjectionError, Projector, Queries, Query, QuerySettings, View,
};
use es_core::{
    Recorded, Rejection, Tenant,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use futures_util::{FutureExt, StreamExt, future::join_all};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
struct Rung;

#[derive(Default, Serialize, Deserialize, Aggregate)]
struct Bell {
    times: u64,
}

impl Evolve for Bell {
    type Event = Rung;

    fn evolve(&mut self, _: &Rung) {
        self.times += 1;
    }
}

impl View for Bell {
    const NAME: &'static str = "bells";
    type Key = String;

    fn keys(rung: Recorded<'_, Rung>) -> Keys<String> {
        Keys::One(rung.stream.id().to_owned())
    }
}

#[derive(Command)]
struct Ring {
    #[id(Bell)]
    tower: String,
}

impl Decide<Ring> for Bell {
    fn decide(&self, _: &Ring) -> Result<Vec<Rung>, Rejection> {
        Ok(vec![Rung])
    }
}

#[derive(Query)]
#[query(output = u64)]
struct TimesRung {
    tower: String,
}

struct Bells(Projector<MemoryViews>);

impl Answer<TimesRung> for Bells {
    async fn answer(&self, query: &TimesRung, tenant: &Tenant) -> Result<u64, BoxError> {
        let bell = self.0.of(tenant.clone()).get::<Bell>(&query.tower).await?;
        Ok(bell.map_or(0, |bell| bell.times))
    }
}

/// A model that is kept in no rows.
struct Silence;

impl Projection<MemoryTx> for Silence {
    const NAME: &'static str = "silence";
    type Event = Rung;

    async fn project(
        &self,
        _: Recorded<'_, Rung>,
        _: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        Ok(())
    }

    async fn reset(&self, _: &mut MemoryTx) -> Result<(), ProjectionError> {
        Ok(())
    }
}

fn ring(tower: &str) -> Ring {
    Ring { tower: tower.into() }
}

fn times(tower: &str) -> TimesRung {
    TimesRung { tower: tower.into() }
}

fn bus(projector: &Projector<MemoryViews>) -> Queries {
    let settings = QuerySettings::<TimesRung>::new()
        .tags(|query| vec![CacheTag::row::<Bell>(&query.tower)])
        .cached(|query| query.tower.clone());
    Queries::builder(projector.clone()).answer(Bells(projector.clone()), settings).build()
}

#[tokio::test]
async fn a_projector_tells_the_rows_that_it_has_committed() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store, MemoryViews::new()).view::<Bell>().projection(Silence);
    let mut changes = projector.changes();
    commands.send(ring("ghent")).await.unwrap();
    let sent = commands.of(Tenant::new("them").unwrap()).send(ring("bruges")).await.unwrap();
    projector.catch_up().await.unwrap();

    assert_eq!(changes.next().await, Some(Change::Everything), "a new owner");
    let (mut rows, mut model) = (Vec::new(), None);
    while let Some(Some(change)) = changes.next().now_or_never() {
        match change {
            Change::Rows { model, rows: changed, position } => {
                assert_eq!((&*model, position), ("bells", sent.position));
                rows.extend(changed.iter().map(|id| format!("{}/{}", id.tenant, id.key)));
            }
            Change::Model { model: changed, position } => model = Some((changed, position)),
            other => panic!("{other:?}"),
        }
    }
    rows.sort_unstable();
    assert_eq!(rows, ["default/ghent", "them/bruges"]);
    assert_eq!(
        model.map(|(model, position)| (model.to_string(), position)).unwrap(),
        ("silence".into(), sent.position)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_rung_sees_it_while_many_others_ring_and_ask() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store, MemoryViews::new()).view::<Bell>();
    let queries = bus(&projector);
    let projecting = projector.start();
    let ringers = (0..16).map(|_| {
        let (commands, queries) = (commands.clone(), queries.clone());
        async move {
            for _ in 0..100 {
                let sent = commands.send(ring("ghent")).await.unwrap();
                let seen = queries.at_least(sent).ask(times("ghent")).await.unwrap();
                assert!(*seen >= sent.version.get(), "{seen:?}, {sent:?}");
                queries.ask(times("ghent")).await.unwrap();
            }
        }
    });
    join_all(ringers).await;
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_rebuild_takes_all_answers_away() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store, MemoryViews::new()).view::<Bell>();
    let queries = bus(&projector);
    commands.send(ring("ghent")).await.unwrap();
    projector.catch_up().await.unwrap();
    queries.ask(times("ghent")).await.unwrap();
    crate::world::settle().await;
    assert!(queries.ask(times("ghent")).await.unwrap().cached);
    projector.rebuild().await.unwrap();
    crate::world::settle().await;
    let after = queries.ask(times("ghent")).await.unwrap();
    assert_eq!((*after, after.cached), (1, false));
}
