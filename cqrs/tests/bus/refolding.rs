//! Rows that are built anew, one stream's only.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cqrs::{Evolve, Fate, Keys, LiveView, ModelSettings, Poison, ProjectionError, Projector, View};
use es_core::{
    Builds, Changes, EventStoreExt, Kind, Lookup, Name, Part, Position, Read, Recorded, Row, RowId,
    Rows, Slices, Tenant, Views,
    memory::{MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, stream},
    hooked::{Hooked, Op},
};

const LONG: Duration = Duration::from_secs(20);
const MODEL: &str = "amounts";

/// The amounts of each account, and of all accounts of its letter; 13 panics in its own row,
/// and 0 ends it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Amounts<const ONE: bool> {
    amounts: Vec<i64>,
}

impl<const ONE: bool> Evolve for Amounts<ONE> {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {}
}

impl<const ONE: bool> View for Amounts<ONE> {
    const NAME: &'static str = MODEL;
    const OF_ONE_STREAM: bool = ONE;
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        let id = event.stream.id().to_owned();
        Keys::Many(vec![format!("letter {}", &id[..1]), id])
    }

    fn apply(&mut self, key: &String, event: Recorded<'_, AccountEvent>) -> Fate {
        let AccountEvent::Deposited { amount } = *event.event else { return Fate::Keep };
        let is_own = !key.starts_with("letter");
        assert!(amount != 13 || !is_own, "13 is bad luck");
        self.amounts.push(amount);
        if amount == 0 && is_own { Fate::Delete } else { Fate::Keep }
    }
}

type Shared = Amounts<false>;

/// A log, and its rows in four parts.
struct Scene {
    store: MemoryStore,
    views: MemoryViews,
}

impl Scene {
    fn new() -> Self {
        Self { store: MemoryStore::new(), views: MemoryViews::new() }
    }

    fn projector<W: View>(&self, poison: Poison) -> Projector<MemoryViews> {
        let settings = ModelSettings::new().parts(4).on_poison(poison);
        Projector::new(self.store.clone(), self.views.clone()).view_with::<W>(settings)
    }

    async fn deposit(&self, account: &str, amounts: impl IntoIterator<Item = i64>) {
        let commands = cqrs::Commands::new(self.store.clone());
        for amount in amounts {
            commands.send(crate::bank::deposit(account, amount)).await.unwrap();
        }
    }

    /// Replaces a row, as somebody does who has a hand in the database.
    async fn spoil(&self, key: &str) {
        let build = &self.views.builds(&[Name::from_static(MODEL)]).await.unwrap()[0];
        let slice = Slices::slice_of(&Tenant::default(), key);
        let state = build.parts.iter().find(|part| part.slices.contains(slice)).unwrap();
        let part = Part::new(build.model.clone(), build.number, state.slices);
        let (tx, seen) = self.views.begin(&part).await.unwrap();
        let id = RowId::new(Tenant::default(), key);
        let row = Row { id, value: Some(r#"{"amounts":[666]}"#.into()) };
        self.views.commit(&part, tx, Changes::rows([row]), seen, seen).await.unwrap();
    }

    async fn rows(&self) -> BTreeMap<String, String> {
        let every = Rows::Every { after: None, limit: 1_000 };
        let lookup = Lookup::new(Name::from_static(MODEL), every);
        assert_eq!(lookup.kind, Kind::Row);
        let text = |value: bytes::Bytes| String::from_utf8(value.to_vec()).unwrap();
        let rows = self.views.rows(lookup).await.unwrap().into_iter();
        rows.map(|row| (row.id.key, row.value.map(text).unwrap_or_default())).collect()
    }
}

#[tokio::test]
async fn the_rows_of_one_stream_are_built_anew_and_no_others() {
    let scene = Scene::new();
    scene.deposit("ada", [1, 2]).await;
    scene.deposit("ann", [3, 0]).await;
    scene.deposit("bob", [4]).await;
    let projector = scene.projector::<Shared>(Poison::Park);
    projector.catch_up().await.unwrap();
    let sound = scene.rows().await;
    for key in ["ada", "ann", "letter a", "bob"] {
        scene.spoil(key).await;
    }
    // Its own row is deleted again, that of the letter knows what other streams have brought.
    assert_eq!(projector.rebuild_stream::<Shared>(&stream("ann")).await.unwrap(), 2);
    let spoilt = r#"{"amounts":[666]}"#;
    let mut expected = sound.clone();
    for key in ["ada", "bob"] {
        expected.insert(key.to_owned(), spoilt.to_owned());
    }
    assert_eq!(scene.rows().await, expected);
    projector.rebuild_stream::<Shared>(&stream("ada")).await.unwrap();
    projector.rebuild_stream::<Shared>(&stream("bob")).await.unwrap();
    assert_eq!(scene.rows().await, sound);
    assert_eq!(projector.rebuild_stream::<Shared>(&stream("eve")).await.unwrap(), 0);
    scene.deposit("ann", [5]).await;
    projector.catch_up().await.unwrap();
    assert_eq!(scene.rows().await["letter a"], r#"{"amounts":[1,2,3,0,5]}"#);
}

/// Who says so reads no other stream, and so gets what that one has brought.
#[tokio::test]
async fn of_rows_of_one_stream_no_other_is_read() {
    let scene = Scene::new();
    scene.deposit("ada", [1, 2]).await;
    scene.deposit("ann", [3]).await;
    let projector = scene.projector::<Amounts<true>>(Poison::Park);
    projector.catch_up().await.unwrap();
    projector.rebuild_stream::<Amounts<true>>(&stream("ada")).await.unwrap();
    assert_eq!(scene.rows().await["letter a"], r#"{"amounts":[1,2]}"#);
}

#[tokio::test]
async fn rows_are_built_anew_up_to_where_workers_have_brought_them_meanwhile() {
    let scene = Scene::new();
    scene.deposit("ada", [1]).await;
    let worker = scene.projector::<Shared>(Poison::Park);
    let projecting = worker.start_worker();
    let head = scene.store.head().await.unwrap();
    worker.wait_for(head, &[MODEL], LONG).await.unwrap();

    // More comes between the look at the builds and the taking of the first part.
    let is_first = Arc::new(AtomicBool::new(true));
    let hooked = Hooked::new(&scene.views);
    let (store, others) = (scene.store.clone(), worker.clone());
    hooked.before(move |op| {
        let (store, others) = (store.clone(), others.clone());
        let comes = matches!(op, Op::Take(_)) && is_first.swap(false, Ordering::SeqCst);
        async move {
            if comes {
                let commands = cqrs::Commands::new(store);
                let sent = commands.send(crate::bank::deposit("ann", 7)).await.unwrap();
                others.wait_for(sent.position, &[MODEL], LONG).await.unwrap();
            }
            Ok(())
        }
    });
    let settings = ModelSettings::new().parts(4);
    let operator = Projector::new(scene.store.clone(), hooked).view_with::<Shared>(settings);
    operator.rebuild_stream::<Shared>(&stream("ada")).await.unwrap();
    scene.deposit("ada", [2]).await;
    let head = scene.store.head().await.unwrap();
    worker.wait_for(head, &[MODEL], LONG).await.unwrap();
    projecting.stop().await.unwrap();
    let rows = scene.rows().await;
    assert_eq!(rows["letter a"], r#"{"amounts":[1,7,2]}"#);
    assert_eq!(rows["ada"], r#"{"amounts":[1,2]}"#);
}

#[tokio::test]
async fn while_events_are_parked_no_rows_are_built_anew() {
    let scene = Scene::new();
    scene.deposit("ada", [1, 13, 2]).await;
    let projector = scene.projector::<Shared>(Poison::Park);
    projector.catch_up().await.unwrap();
    let before = scene.rows().await;
    let refused = projector.rebuild_stream::<Shared>(&stream("ada")).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
    assert_eq!(scene.rows().await, before);
    // What was discarded stays so, in its own row only.
    projector.discard(MODEL, "row ada", "eve", "bad luck").await.unwrap();
    projector.retry(MODEL, "row ada").await.unwrap();
    scene.spoil("ada").await;
    scene.spoil("letter a").await;
    projector.rebuild_stream::<Shared>(&stream("ada")).await.unwrap();
    let rows = scene.rows().await;
    assert_eq!(rows["ada"], r#"{"amounts":[1,2]}"#);
    assert_eq!(rows["letter a"], r#"{"amounts":[1,13,2]}"#);
}

#[tokio::test]
async fn a_view_that_nobody_keeps_or_knows_has_no_rows_to_build_anew() {
    let scene = Scene::new();
    scene.deposit("ada", [1]).await;
    let projector = scene.projector::<Shared>(Poison::Skip);
    let refused = projector.rebuild_stream::<Shared>(&stream("ada")).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
    let stranger = Projector::new(scene.store.clone(), scene.views.clone());
    let refused = stranger.rebuild_stream::<Shared>(&stream("ada")).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
    assert_eq!(scene.store.head().await.unwrap(), Position::new(1));
}

#[tokio::test]
async fn a_row_that_is_folded_when_asked_equals_the_one_that_is_kept() {
    let scene = Scene::new();
    scene.deposit("ada", [1, 2]).await;
    scene.deposit("ann", [3, 0]).await;
    let projector = scene.projector::<Shared>(Poison::Park);
    projector.catch_up().await.unwrap();
    for key in ["ada", "ann", "letter a", "nobody"] {
        let key = key.to_owned();
        let kept = projector.get::<Shared>(&key).await.unwrap();
        let (live, as_of) = Shared::live(&scene.store, &key, Read::all()).await.unwrap();
        assert_eq!((live, as_of), (kept, Position::new(4)), "{key}");
    }
    let of_ann = Read::stream(&stream("ann"));
    let (live, _) = Shared::live(&scene.store, &"letter a".into(), of_ann).await.unwrap();
    assert_eq!(live.unwrap().amounts, [3, 0]);
    scene.deposit("ada", [13]).await;
    let failed = Shared::live(&scene.store, &"ada".into(), Read::all()).await;
    assert!(matches!(failed, Err(ProjectionError::Handler(_))), "{failed:?}");
}

/// Between two pages of rows another build begins to answer.
#[tokio::test]
async fn all_rows_are_of_one_build() {
    let scene = Scene::new();
    for number in 0..1_100 {
        scene.deposit(&format!("{number:04}"), [7]).await;
    }
    let rebuilder = scene.projector::<Shared>(Poison::Park);
    rebuilder.catch_up().await.unwrap();
    scene.spoil("0000").await;
    scene.spoil("1099").await;
    let hooked = Hooked::new(&scene.views);
    let asked = Arc::new(AtomicUsize::new(0));
    hooked.before(move |op| {
        let is_second_page = |lookup: &Lookup| match &lookup.rows {
            Rows::Of { after, .. } => lookup.kind == Kind::Row && after.is_some(),
            _ => false,
        };
        let swaps = matches!(&op, Op::Rows(lookup) if is_second_page(lookup))
            && asked.fetch_add(1, Ordering::SeqCst) == 0;
        let rebuilder = rebuilder.clone();
        async move {
            if swaps {
                rebuilder.rebuild().await.unwrap();
            }
            Ok(())
        }
    });
    let settings = ModelSettings::new().parts(4);
    let asking = Projector::new(scene.store.clone(), hooked).view_with::<Shared>(settings);
    let rows: BTreeMap<_, _> = asking.all::<Shared>().await.unwrap().into_iter().collect();
    assert_eq!(rows.len(), 1_102);
    assert_eq!(rows["0000"].amounts, [7]);
    assert_eq!(rows["1099"].amounts, [7]);
}
