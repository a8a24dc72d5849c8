//! Events that a model cannot take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cqrs::{
    Commands, Evolve, FailureClass, Fate, Keys, ModelSettings, ParkedState, Poison, Projection,
    ProjectionError, Projector, View,
};
use es_core::{
    Batch, Builds, Changes, ContentType, EventStore, EventStoreExt, Name, NewEvent, Part, Recorded,
    Slices, Taking, Tenant, Views, World,
    memory::{MemoryStore, MemoryTx, MemoryViews},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, deposit, rename, stream},
    hooked::until,
};

/// Whether the fold of [`Balance`] takes the amount of 13.
static IS_FIXED: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Balance {
    amounts: Vec<i64>,
}

impl Evolve for Balance {
    type Event = AccountEvent;
    fn evolve(&mut self, _: &AccountEvent) {}
}

impl View for Balance {
    const NAME: &'static str = "balances";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        match event.event {
            // Two rows: its own, and that of all accounts of its letter.
            AccountEvent::Deposited { .. } => {
                let id = event.stream.id().to_owned();
                Keys::Many(vec![format!("letter {}", &id[..1]), id])
            }
            _ => Keys::None,
        }
    }

    fn apply(&mut self, key: &String, event: Recorded<'_, AccountEvent>) -> Fate {
        let AccountEvent::Deposited { amount } = *event.event else { return Fate::Keep };
        self.amounts.push(amount);
        let is_own = !key.starts_with("letter");
        assert!(amount != 13 || !is_own || IS_FIXED.load(Ordering::SeqCst), "13 is bad luck");
        Fate::Keep
    }
}

async fn amounts(projector: &Projector<MemoryViews>, key: &str) -> Vec<i64> {
    let row = projector.get::<Balance>(&key.to_owned()).await.unwrap();
    row.map(|row| row.amounts).unwrap_or_default()
}

async fn broken(store: &MemoryStore, account: &str) {
    let name = Name::from_static("account.deposited");
    let garbage = NewEvent::raw(World::real().event_id(), name, ContentType::JSON, "{");
    store.append(Batch::to(stream(account)).event(garbage)).await.unwrap();
}

/// One test, as the fold is fixed for all.
#[tokio::test]
async fn a_row_that_panics_stands_still_alone_and_goes_on_in_order_once_it_is_fixed() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store.clone(), views.clone()).view::<Balance>();
    for (account, amount) in [("ada", 1), ("bob", 2), ("ada", 13), ("abe", 4), ("ada", 5)] {
        commands.send(deposit(account, amount)).await.unwrap();
    }
    projector.catch_up().await.unwrap();
    commands.send(deposit("ada", 6)).await.unwrap();
    projector.catch_up().await.unwrap();
    assert_eq!(amounts(&projector, "ada").await, [1]);
    assert_eq!(amounts(&projector, "bob").await, [2]);
    assert_eq!(amounts(&projector, "letter a").await, [1, 13, 4, 5, 6]);

    let parked = projector.parked("balances").await.unwrap();
    let seen: Vec<_> = parked.iter().map(|one| (one.position.get(), one.class)).collect();
    let behind = FailureClass::OutOfOrder;
    assert_eq!(seen, [(3, FailureClass::Panic), (5, behind), (6, behind)]);
    assert!(parked.iter().all(|one| one.sequence == "row ada" && one.tenant == "default"));
    assert!(parked[0].error.contains("13 is bad luck"), "{}", parked[0].error);
    let status = projector.status().await.unwrap();
    assert_eq!((status[0].parked, status[0].lag.events), (1, 0));

    // It still cannot be taken: nothing changes but the count.
    let again = projector.retry("balances", "row ada").await;
    assert!(again.unwrap_err().to_string().contains("13 is bad luck"));
    assert_eq!(projector.parked("balances").await.unwrap()[0].tries, 2);
    assert_eq!(amounts(&projector, "ada").await, [1]);
    // A new process knows what is parked.
    let other = Projector::new(store.clone(), views).view::<Balance>();
    commands.send(deposit("ada", 7)).await.unwrap();
    other.catch_up().await.unwrap();
    assert_eq!(other.parked("balances").await.unwrap().len(), 4);

    IS_FIXED.store(true, Ordering::SeqCst);
    assert_eq!(projector.retry("balances", "row ada").await.unwrap(), 4);
    assert_eq!(amounts(&projector, "ada").await, [1, 13, 5, 6, 7]);
    assert_eq!(amounts(&projector, "letter a").await, [1, 13, 4, 5, 6, 7]);
    assert!(projector.parked("balances").await.unwrap().is_empty());
    commands.send(deposit("ada", 8)).await.unwrap();
    projector.catch_up().await.unwrap();
    assert_eq!(amounts(&projector, "ada").await, [1, 13, 5, 6, 7, 8]);
}

#[tokio::test]
async fn an_event_that_cannot_be_read_parks_its_stream_until_it_is_edited_or_discarded() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let settings = ModelSettings::new().parts(4);
    let projector = Projector::new(store.clone(), MemoryViews::new());
    let projector = projector.view_with::<Balance>(settings);
    commands.send(deposit("cid", 1)).await.unwrap();
    broken(&store, "cid").await;
    commands.send(deposit("cat", 2)).await.unwrap();
    broken(&store, "dan").await;
    for _ in 0..2 {
        let named = NewEvent::raw(
            World::real().event_id(),
            Name::from_static("account.deposited"),
            ContentType::JSON,
            r#"{"amount":3}"#,
        );
        store.append(Batch::to(stream("cid")).event(named)).await.unwrap();
    }
    projector.catch_up().await.unwrap();
    assert_eq!(amounts(&projector, "cid").await, [1]);
    assert_eq!(amounts(&projector, "letter c").await, [1, 2]);
    let parked = projector.parked("balances").await.unwrap();
    assert!(parked.iter().any(|one| one.class == FailureClass::Decode));
    assert!(parked.iter().all(|one| one.sequence.starts_with("stream account-")));

    let (cid, dan) = ("stream account-cid", "stream account-dan");
    let edited = projector.edit("balances", cid, r#"{"amount":9}"#, "eve", "typed by hand").await;
    edited.unwrap();
    projector.retry("balances", cid).await.unwrap();
    assert_eq!(amounts(&projector, "cid").await, [1, 9, 3, 3]);
    assert_eq!(amounts(&projector, "letter c").await, [1, 2, 9, 3, 3]);
    projector.discard("balances", dan, "eve", "it never happened").await.unwrap();
    let left = projector.parked("balances").await.unwrap();
    assert!(!left.is_empty() && left.iter().all(|one| one.state == ParkedState::Discarded));
    assert_eq!(
        (&*left[0].notes[0].actor, &*left[0].notes[0].text),
        ("eve", "discarded: it never happened")
    );
    let more = NewEvent::raw(
        World::real().event_id(),
        Name::from_static("account.deposited"),
        ContentType::JSON,
        r#"{"amount":5}"#,
    );
    store.append(Batch::to(stream("dan")).event(more)).await.unwrap();
    projector.catch_up().await.unwrap();
    assert_eq!(amounts(&projector, "dan").await, [5]);
}

#[tokio::test]
async fn a_model_that_skips_goes_on_and_keeps_a_record() {
    let store = MemoryStore::new();
    broken(&store, "ada").await;
    let more = NewEvent::raw(
        World::real().event_id(),
        Name::from_static("account.deposited"),
        ContentType::JSON,
        r#"{"amount":5}"#,
    );
    store.append(Batch::to(stream("ada")).event(more)).await.unwrap();
    let settings = ModelSettings::new().on_poison(Poison::Skip);
    let projector = Projector::new(store, MemoryViews::new()).view_with::<Balance>(settings);
    projector.catch_up().await.unwrap();
    assert_eq!(amounts(&projector, "ada").await, [5]);
    let skipped = projector.parked("balances").await.unwrap();
    assert_eq!((skipped.len(), skipped[0].state), (1, ParkedState::Skipped));
}

/// What a free-form projection was given and has committed.
#[derive(Clone, Default)]
struct Notes {
    committed: Arc<Mutex<Vec<u64>>>,
    refuses: Arc<Mutex<Vec<u64>>>,
    panics: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<u64>>>,
}

impl Projection<MemoryTx> for Notes {
    const NAME: &'static str = "notes";
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        let position = event.position.get();
        self.asked.lock().push(position);
        if self.refuses.lock().contains(&position) {
            assert!(!self.panics.load(Ordering::SeqCst), "as the test wants");
            return Err(ProjectionError::handler("no such table"));
        }
        let committed = Arc::clone(&self.committed);
        tx.run(move || committed.lock().push(position));
        Ok(())
    }

    async fn reset(&self, tx: &mut MemoryTx) -> Result<(), ProjectionError> {
        let committed = Arc::clone(&self.committed);
        tx.run(move || committed.lock().clear());
        Ok(())
    }
}

/// Takes all that it is given at once, or none of it.
#[derive(Clone, Default)]
struct Bulk {
    notes: Notes,
    given: Arc<Mutex<Vec<usize>>>,
}

impl Projection<MemoryTx> for Bulk {
    const NAME: &'static str = "bulk";
    type Event = AccountEvent;

    async fn project(
        &self,
        event: Recorded<'_, AccountEvent>,
        tx: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        self.project_all(&[event], tx).await
    }

    async fn project_all(
        &self,
        events: &[Recorded<'_, AccountEvent>],
        tx: &mut MemoryTx,
    ) -> Result<(), ProjectionError> {
        self.given.lock().push(events.len());
        for event in events {
            self.notes.project(*event, tx).await?;
        }
        Ok(())
    }

    async fn reset(&self, tx: &mut MemoryTx) -> Result<(), ProjectionError> {
        Projection::reset(&self.notes, tx).await
    }
}

#[tokio::test]
async fn a_projection_is_given_a_batch_at_once_and_the_event_at_fault_is_found() {
    let (store, bulk) = (MemoryStore::new(), Bulk::default());
    ten_events(&store).await;
    let projector = Projector::new(store.clone(), MemoryViews::new()).projection(bulk.clone());
    projector.catch_up().await.unwrap();
    assert_eq!(*bulk.given.lock(), [10]);

    ten_events(&store).await;
    bulk.notes.refuses.lock().extend([13, 18]);
    projector.catch_up().await.unwrap();
    let first: Vec<_> = (1..=10).collect();
    assert_eq!(*bulk.notes.committed.lock(), [&first[..], &[11, 12, 14, 16]].concat());
    let seen: Vec<_> = projector.parked("bulk").await.unwrap();
    let seen: Vec<_> = seen.iter().map(|one| one.position.get()).collect();
    assert_eq!(seen, [13, 15, 17, 19, 18, 20]);

    bulk.notes.refuses.lock().clear();
    assert_eq!(projector.retry("bulk", "stream account-ada").await.unwrap(), 4);
    assert_eq!(bulk.notes.committed.lock()[14..], [13, 15, 17, 19]);
}

async fn ten_events(store: &MemoryStore) {
    let commands = Commands::new(store.clone());
    for round in 0..5 {
        commands.send(deposit("ada", round)).await.unwrap();
        commands.send(rename("bob", "bob")).await.unwrap();
    }
}

#[tokio::test]
async fn a_free_form_projection_parks_the_stream_and_handles_each_other_event_once() {
    for panics in [false, true] {
        let (store, notes) = (MemoryStore::new(), Notes::default());
        notes.panics.store(panics, Ordering::SeqCst);
        ten_events(&store).await;
        notes.refuses.lock().extend([3, 8]);
        let projector = Projector::new(store.clone(), MemoryViews::new());
        let projector = projector.projection(notes.clone());
        projector.catch_up().await.unwrap();
        assert_eq!(*notes.committed.lock(), [1, 2, 4, 6], "panics: {panics}");
        let class = if panics { FailureClass::Panic } else { FailureClass::Handler };
        let parked = projector.parked("notes").await.unwrap();
        let seen: Vec<_> = parked.iter().map(|one| one.position.get()).collect();
        assert_eq!(seen, [3, 5, 7, 9, 8, 10]);
        assert_eq!((parked[0].class, parked[0].tries), (class, 3));
        assert_eq!(notes.asked.lock().iter().filter(|one| **one == 5).count(), 0);

        notes.refuses.lock().clear();
        assert_eq!(projector.retry("notes", "stream account-ada").await.unwrap(), 4);
        assert_eq!(*notes.committed.lock(), [1, 2, 4, 6, 3, 5, 7, 9]);
        ten_events(&store).await;
        projector.catch_up().await.unwrap();
        assert_eq!(projector.retry("notes", "stream account-bob").await.unwrap(), 7);
        assert_eq!(notes.committed.lock().len(), 20);
    }
}

#[tokio::test]
async fn a_retry_stops_at_the_first_event_that_still_cannot_be_taken() {
    let (store, notes) = (MemoryStore::new(), Notes::default());
    ten_events(&store).await;
    notes.refuses.lock().extend([3, 7]);
    let projector = Projector::new(store, MemoryViews::new()).projection(notes.clone());
    projector.catch_up().await.unwrap();
    *notes.refuses.lock() = vec![7];
    assert!(projector.retry("notes", "stream account-ada").await.is_err());
    let left: Vec<_> = projector.parked("notes").await.unwrap();
    assert_eq!(left.iter().map(|one| one.position.get()).collect::<Vec<_>>(), [7, 9]);
    *notes.refuses.lock() = vec![];
    assert_eq!(projector.retry("notes", "stream account-ada").await.unwrap(), 2);
    assert_eq!(*notes.committed.lock(), [1, 2, 4, 6, 8, 10, 3, 5, 7, 9]);
}

#[tokio::test]
async fn a_parked_event_of_another_tenant_is_not_retried() {
    let store = MemoryStore::new();
    broken(&store, "ada").await;
    let projector = Projector::new(store, MemoryViews::new()).view::<Balance>();
    projector.catch_up().await.unwrap();
    let theirs = projector.of(Tenant::new("acme").unwrap());
    assert_eq!(theirs.retry("balances", "stream account-ada").await.unwrap(), 0);
    assert_eq!(projector.parked("balances").await.unwrap().len(), 1);
}

/// Between its check and the change of its parts a model may park something: each half
/// would take its own share of the event only, and the first would forget it.
#[tokio::test]
async fn a_model_that_parks_something_while_it_is_divided_is_not_divided() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let settings = ModelSettings::new().parts(2);
    let projector = Projector::new(store.clone(), views.clone()).view_with::<Balance>(settings);
    Commands::new(store.clone()).send(deposit("ada", 1)).await.unwrap();
    projector.catch_up().await.unwrap();
    broken(&store, "ada").await;
    let head = store.head().await.unwrap();
    // One half has come further than the other.
    let builds = views.builds(&[Name::from_static("balances")]).await.unwrap();
    let slice = Slices::slice_of(&es_core::Tenant::default(), "ada");
    let ahead = builds[0].parts.iter().find(|part| !part.slices.contains(slice)).unwrap();
    let part = builds[0].part(ahead.slices);
    let (tx, seen) = views.begin(&part).await.unwrap();
    views.commit(&part, tx, Changes::default(), seen, seen.at(head)).await.unwrap();

    let divided = projector.divide("balances", 1).await;
    assert!(matches!(divided, Err(ProjectionError::Refused { .. })), "{divided:?}");
    assert_eq!(views.builds(&[part.model]).await.unwrap()[0].parts.len(), 2);
    assert_eq!(projector.parked("balances").await.unwrap().len(), 1);
}

/// Each account has a row, in which an amount of 13 panics for ever.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Unlucky {
    amounts: Vec<i64>,
}

impl Evolve for Unlucky {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            assert!(*amount != 13, "13 is bad luck");
            self.amounts.push(*amount);
        }
    }
}

impl View for Unlucky {
    const NAME: &'static str = "unlucky";
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One(event.stream.id().to_owned())
    }
}

async fn parts(views: &MemoryViews) -> Vec<es_core::PartState> {
    let builds = views.builds(&[Name::from_static("unlucky")]).await.unwrap();
    builds.into_iter().flat_map(|build| build.parts).collect()
}

#[tokio::test]
async fn a_model_is_not_divided_while_events_are_parked() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store.clone(), views.clone());
    let projector = projector.view_with::<Unlucky>(ModelSettings::new().parts(2));
    commands.send(deposit("ada", 13)).await.unwrap();
    projector.catch_up().await.unwrap();
    let refused = projector.divide("unlucky", 4).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
    assert_eq!(parts(&views).await.len(), 2);
    assert_eq!(projector.parked("unlucky").await.unwrap().len(), 1);
    projector.discard("unlucky", "row ada", "eve", "bad luck").await.unwrap();
    projector.divide("unlucky", 4).await.unwrap();
    assert_eq!(parts(&views).await.len(), 4);
}

/// One part is ahead of the other, which has the event before it that cannot be taken.
#[tokio::test]
async fn a_division_that_parks_events_on_its_way_is_refused_and_keeps_them() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let commands = Commands::new(store.clone());
    let settings = ModelSettings::new().parts(2);
    let projector = || Projector::new(store.clone(), views.clone()).view_with::<Unlucky>(settings);
    let one = projector();
    one.catch_up().await.unwrap();
    let behind = Part::new(Name::from_static("unlucky"), 1, Slices::split(2)[1]);
    let slow = Name::from_static("slow");
    views.take(&behind, &slow, Duration::from_secs(600), Taking::Anyway).await.unwrap();
    let is_behind =
        |key: &String| behind.slices.contains(Slices::slice_of(&Tenant::default(), key));
    let account = (0..).map(|number| format!("ada{number}")).find(is_behind).unwrap();
    commands.send(deposit(&account, 13)).await.unwrap();
    let head = store.head().await.unwrap();
    let ahead = projector().start_worker();
    until(async || parts(&views).await[0].checkpoint.position >= head).await;
    ahead.stop().await.unwrap();
    assert!(parts(&views).await[1].checkpoint.position < head);
    assert!(one.parked("unlucky").await.unwrap().is_empty());

    let refused = one.divide("unlucky", 4).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
    let parked = one.parked("unlucky").await.unwrap();
    assert_eq!((parked.len(), &*parked[0].sequence), (1, &*format!("row {account}")));
    assert_eq!(parts(&views).await.len(), 2);
}

/// Whether the fold of [`Together`] takes the amount of 13.
static IS_LUCKY: AtomicBool = AtomicBool::new(false);

/// One row for all accounts.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Together {
    amounts: Vec<i64>,
}

impl Evolve for Together {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            assert!(*amount != 13 || IS_LUCKY.load(Ordering::SeqCst), "13 is bad luck");
            self.amounts.push(*amount);
        }
    }
}

impl View for Together {
    const NAME: &'static str = "together";
    type Key = String;

    fn keys(_: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One("all".to_owned())
    }
}

/// One test, as the fold is fixed for all.
#[tokio::test]
async fn a_stream_that_is_retried_goes_into_a_row_behind_what_the_row_waits_for() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let projector = Projector::new(store.clone(), MemoryViews::new()).view::<Together>();
    for (account, amount) in [("tom", 1), ("tom", 13), ("sue", 3)] {
        commands.send(deposit(account, amount)).await.unwrap();
    }
    broken(&store, "sue").await;
    raw(&store, "sue", 5).await;
    projector.catch_up().await.unwrap();

    let sue = "stream account-sue";
    projector.edit("together", sue, r#"{"amount":4}"#, "eve", "by hand").await.unwrap();
    projector.retry("together", sue).await.unwrap();
    let parked = projector.parked("together").await.unwrap();
    assert!(parked.iter().all(|one| one.sequence == "row all"), "{parked:?}");
    IS_LUCKY.store(true, Ordering::SeqCst);
    projector.retry("together", "row all").await.unwrap();
    let row = projector.get::<Together>(&"all".to_owned()).await.unwrap().unwrap();
    assert_eq!(row.amounts, [1, 13, 3, 4, 5]);
    assert!(projector.parked("together").await.unwrap().is_empty());
}

async fn raw(store: &MemoryStore, account: &str, amount: i64) {
    let name = Name::from_static("account.deposited");
    let payload = format!(r#"{{"amount":{amount}}}"#);
    let event = NewEvent::raw(World::real().event_id(), name, ContentType::JSON, payload);
    store.append(Batch::to(stream(account)).event(event)).await.unwrap();
}

#[tokio::test]
async fn a_row_skips_each_event_that_panics_and_takes_all_others() {
    let store = MemoryStore::new();
    for amount in [1, 13, 2, 13, 3] {
        raw(&store, "ada", amount).await;
    }
    let settings = ModelSettings::new().on_poison(Poison::Skip);
    let projector = Projector::new(store, MemoryViews::new()).view_with::<Unlucky>(settings);
    projector.catch_up().await.unwrap();
    let row = projector.get::<Unlucky>(&"ada".to_owned()).await.unwrap().unwrap();
    assert_eq!(row.amounts, [1, 2, 3]);
    let skipped = projector.parked("unlucky").await.unwrap();
    let skipped: Vec<_> = skipped.iter().map(|one| (one.position.get(), one.state)).collect();
    assert_eq!(skipped, [(2, ParkedState::Skipped), (4, ParkedState::Skipped)]);
}

#[tokio::test]
async fn a_model_stays_paused_when_what_it_has_parked_is_edited_retried_or_discarded() {
    let store = MemoryStore::new();
    broken(&store, "ada").await;
    broken(&store, "bob").await;
    let projector = Projector::new(store, MemoryViews::new()).view::<Unlucky>();
    projector.catch_up().await.unwrap();
    projector.pause("unlucky").await.unwrap();
    let is_paused = async || projector.status().await.unwrap()[0].parts[0].paused;
    let (ada, bob) = ("stream account-ada", "stream account-bob");
    projector.edit("unlucky", ada, r#"{"amount":1}"#, "eve", "by hand").await.unwrap();
    assert!(is_paused().await, "edited");
    projector.retry("unlucky", ada).await.unwrap();
    assert!(is_paused().await, "retried");
    projector.discard("unlucky", bob, "eve", "never happened").await.unwrap();
    assert!(is_paused().await, "discarded");
}
