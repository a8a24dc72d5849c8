//! Parked events that are given back, beside workers, and however many they are.

use std::{collections::BTreeSet, time::Duration};

use cqrs::{
    Evolve, FailureClass, Fate, Keys, ModelSettings, ParkedState, Poison, ProjectionError,
    Projector, View,
};
use es_core::{
    Batch, ContentType, EventStore, EventStoreExt, Expected, Kind, Name, NewEvent, Recorded,
    Retention, SLICES, Slices, Tenant, Version, Views, World,
    memory::{MemoryStore, MemoryViews},
};
use serde::{Deserialize, Serialize};

use crate::{
    bank::{AccountEvent, stream},
    hooked::{Count, Hooked, Once, Op},
};

const LEASE: Duration = Duration::from_millis(900);
const LONG: Duration = Duration::from_secs(20);
const MODEL: &str = "luck";

/// The amounts of each account, and of all accounts of its letter; in its own row an
/// amount of 13 panics.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Luck {
    amounts: Vec<i64>,
}

impl Evolve for Luck {
    type Event = AccountEvent;

    fn evolve(&mut self, _: &AccountEvent) {}
}

impl View for Luck {
    const NAME: &'static str = MODEL;
    type Key = String;

    fn keys(event: Recorded<'_, AccountEvent>) -> Keys<String> {
        let id = event.stream.id().to_owned();
        Keys::Many(vec![format!("letter {}", &id[..1]), id])
    }

    fn apply(&mut self, key: &String, event: Recorded<'_, AccountEvent>) -> Fate {
        let AccountEvent::Deposited { amount } = *event.event else { return Fate::Keep };
        assert!(amount != 13 || key.starts_with("letter"), "13 is bad luck");
        self.amounts.push(amount);
        Fate::Keep
    }
}

fn projector<V: Views>(store: &MemoryStore, views: &V) -> Projector<V> {
    let settings = ModelSettings::new().parts(4);
    Projector::new(store.clone(), views.clone()).lease(LEASE).view_with::<Luck>(settings)
}

async fn amounts<V: Views>(projector: &Projector<V>, key: &str) -> Vec<i64> {
    let row = projector.get::<Luck>(&key.to_owned()).await.unwrap();
    row.map(|row| row.amounts).unwrap_or_default()
}

async fn deposits(store: &MemoryStore, account: &str, amounts: impl IntoIterator<Item = i64>) {
    for amount in amounts {
        raw(store, account, &format!(r#"{{"amount":{amount}}}"#)).await;
    }
}

async fn raw(store: &MemoryStore, account: &str, payload: &str) {
    let name = Name::from_static("account.deposited");
    let id = World::real().event_id();
    let event = NewEvent::raw(id, name, ContentType::JSON, payload.to_owned());
    store.append(Batch::to(stream(account)).event(event)).await.unwrap();
}

async fn edit<V: Views>(projector: &Projector<V>, sequence: &str, amount: i64) {
    let payload = format!(r#"{{"amount":{amount}}}"#);
    projector.edit(MODEL, sequence, &payload, "eve", "by hand").await.unwrap();
}

/// Lets a visitor get on only when its lease was renewed for longer than it is.
fn slow_down(hooked: &Hooked) -> Count {
    let renewals = Count::default();
    let count = renewals.clone();
    hooked.before(move |op| {
        if matches!(op, Op::Renew(_)) {
            count.one_more();
        }
        let count = count.clone();
        async move {
            if matches!(op, Op::Commit) {
                // Three of them are a lease.
                count.more(5).await;
            }
            Ok(())
        }
    });
    renewals
}

#[tokio::test]
async fn a_retry_that_takes_longer_than_its_lease_is_not_overtaken_by_a_worker() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", [1, 13, 2]).await;
    let worker = projector(&store, &views);
    let projecting = worker.start_worker();
    worker.wait_for(store.head().await.unwrap(), &[MODEL], LONG).await.unwrap();
    edit(&worker, "row ada", 12).await;

    let hooked = Hooked::new(&views);
    let renewals = slow_down(&hooked);
    let operator = projector(&store, &hooked);
    let retried = tokio::time::timeout(LONG, operator.retry(MODEL, "row ada")).await;
    assert_eq!(retried.expect("nobody renews its lease").unwrap(), 2);
    assert!(renewals.get() > 5);
    assert_eq!(amounts(&worker, "ada").await, [1, 12, 2]);
    deposits(&store, "ada", [3]).await;
    worker.wait_for(store.head().await.unwrap(), &[MODEL], LONG).await.unwrap();
    assert_eq!(amounts(&worker, "ada").await, [1, 12, 2, 3]);
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn a_decision_that_takes_longer_than_its_lease_is_not_overtaken_by_a_worker() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", [13, 2]).await;
    let worker = projector(&store, &views);
    let projecting = worker.start_worker();
    worker.wait_for(store.head().await.unwrap(), &[MODEL], LONG).await.unwrap();
    let hooked = Hooked::new(&views);
    let renewals = slow_down(&hooked);
    let operator = projector(&store, &hooked);
    let decided = operator.discard(MODEL, "row ada", "eve", "bad luck");
    let decided = tokio::time::timeout(LONG, decided).await;
    decided.expect("nobody renews its lease").unwrap();
    assert!(renewals.get() > 5);
    worker.retry(MODEL, "row ada").await.unwrap();
    assert_eq!(amounts(&worker, "ada").await, [2]);
    projecting.stop().await.unwrap();
}

/// One part is behind: the division brings it to where the others are.
#[tokio::test]
async fn a_division_that_takes_longer_than_its_lease_is_not_overtaken_by_a_worker() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    projector(&store, &views).catch_up().await.unwrap();
    deposits(&store, "ada", [1, 2, 3]).await;
    let head = store.head().await.unwrap();
    let builds = es_core::Builds::builds(&views, &[Name::from_static(MODEL)]).await.unwrap();
    let slice = |key: &str| Slices::slice_of(&Tenant::default(), key);
    let has_no_row = |part: &&es_core::PartState| {
        !part.slices.contains(slice("ada")) && !part.slices.contains(slice("letter a"))
    };
    let ahead = builds[0].part(builds[0].parts.iter().find(has_no_row).unwrap().slices);
    let (tx, seen) = views.begin(&ahead).await.unwrap();
    views.commit(&ahead, tx, es_core::Changes::default(), seen, seen.at(head)).await.unwrap();

    let hooked = Hooked::new(&views);
    let renewals = slow_down(&hooked);
    let operator = projector(&store, &hooked);
    let dividing = async {
        let divided = tokio::time::timeout(LONG, operator.divide(MODEL, 2)).await;
        divided.expect("nobody renews its lease")
    };
    let worker = projector(&store, &views);
    let working = async {
        renewals.reach(1).await;
        worker.start_worker()
    };
    let (divided, projecting) = tokio::join!(dividing, working);
    divided.unwrap();
    assert!(renewals.get() > 5);
    let builds = es_core::Builds::builds(&views, &[Name::from_static(MODEL)]).await.unwrap();
    assert_eq!(builds[0].parts.len(), 2);
    worker.wait_for(head, &[MODEL], LONG).await.unwrap();
    assert_eq!(amounts(&worker, "ada").await, [1, 2, 3]);
    projecting.stop().await.unwrap();
}

#[tokio::test]
async fn many_parked_events_are_taken_in_few_transactions() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", std::iter::once(13).chain(100..1_100)).await;
    let hooked = Hooked::new(&views);
    let one = projector(&store, &hooked);
    one.catch_up().await.unwrap();
    edit(&one, "row ada", 12).await;
    let commits = hooked.count(|op| matches!(op, Op::Commit));
    assert_eq!(one.retry(MODEL, "row ada").await.unwrap(), 1_001);
    assert!(commits.get() <= 4, "{} commits", commits.get());
    let expected: Vec<_> = std::iter::once(12).chain(100..1_100).collect();
    assert_eq!(amounts(&one, "ada").await, expected);
    assert!(one.parked(MODEL).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_retry_takes_all_before_an_event_that_still_panics_and_nothing_after_it() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", [13, 1, 2, 13, 3]).await;
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    edit(&one, "row ada", 12).await;
    let refused = one.retry(MODEL, "row ada").await;
    assert!(refused.unwrap_err().to_string().contains("13 is bad luck"));
    assert_eq!(amounts(&one, "ada").await, [12, 1, 2]);
    let left = one.parked(MODEL).await.unwrap();
    let seen: Vec<_> = left.iter().map(|one| (one.position.get(), one.class, one.tries)).collect();
    assert_eq!(seen, [(4, FailureClass::Panic, 1), (5, FailureClass::OutOfOrder, 0)]);
    edit(&one, "row ada", 11).await;
    assert_eq!(one.retry(MODEL, "row ada").await.unwrap(), 2);
    assert_eq!(amounts(&one, "ada").await, [12, 1, 2, 11, 3]);
}

/// Rows that are asked for when the parts are taken, and how often.
async fn looked(store: &MemoryStore, views: &MemoryViews) -> usize {
    let hooked = Hooked::new(views);
    let looks = hooked.count(|op| matches!(op, Op::Rows(lookup) if lookup.kind == Kind::Parked));
    projector(store, &hooked).catch_up().await.unwrap();
    looks.get()
}

#[tokio::test]
async fn however_many_events_are_parked_a_new_owner_reads_few_of_them() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let part = |key: &str| Slices::slice_of(&Tenant::default(), key) / (SLICES / 4);
    // Its stream stands still in the parts of two rows.
    let accounts = (0..).map(|number| format!("bob{number}"));
    let bob = &accounts.into_iter().find(|bob| part(bob) != part("letter b")).unwrap();
    deposits(&store, "ada", std::iter::once(13).chain(100..400)).await;
    raw(&store, bob, "{").await;
    deposits(&store, bob, 100..400).await;
    projector(&store, &views).catch_up().await.unwrap();
    let before = looked(&store, &views).await;
    deposits(&store, "ada", 400..3_000).await;
    deposits(&store, bob, 400..3_000).await;
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    assert!(one.parked(MODEL).await.unwrap().len() > 8_000);
    assert_eq!(looked(&store, &views).await, before);
    // And it knows all that stands still.
    for row in ["ada", bob, "letter b"] {
        assert!(amounts(&one, row).await.is_empty(), "{row} did not stand still");
    }
}

/// More sequences than are looked at in one request, with all that may stand between them.
#[tokio::test]
async fn a_new_owner_knows_each_sequence_that_stands_still() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let accounts: Vec<_> = (0..250).map(|number| format!("ada{number}")).collect();
    for (number, account) in accounts.iter().enumerate() {
        deposits(&store, account, [13, 1]).await;
        if number % 3 == 0 {
            raw(&store, account, "{").await;
        }
    }
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    for account in accounts.iter().step_by(2) {
        one.discard(MODEL, &format!("row {account}"), "eve", "bad luck").await.unwrap();
    }
    let parked = one.parked(MODEL).await.unwrap();
    assert_eq!(parked.iter().filter(|one| one.state == ParkedState::Discarded).count(), 125);
    let waiting = parked.into_iter().filter(|one| one.state == ParkedState::Waiting);
    let before: BTreeSet<_> = waiting.map(|one| one.sequence).collect();
    assert_eq!(one.status().await.unwrap()[0].parked, before.len());
    for account in &accounts {
        deposits(&store, account, [2]).await;
    }
    projector(&store, &views).catch_up().await.unwrap();
    for account in &accounts {
        assert_eq!(amounts(&one, account).await, [0; 0], "{account} did not stand still");
    }
    let refused = one.divide(MODEL, 2).await;
    assert!(matches!(refused, Err(ProjectionError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn what_was_skipped_is_passed_over_by_a_new_owner_and_stays_on_record() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    for _ in 0..300 {
        raw(&store, "ada", "{").await;
    }
    let settings = ModelSettings::new().on_poison(Poison::Skip);
    let one = Projector::new(store.clone(), views.clone()).view_with::<Luck>(settings);
    one.catch_up().await.unwrap();
    deposits(&store, "bob", [13]).await;
    let parks = Projector::new(store.clone(), views.clone()).view::<Luck>();
    parks.catch_up().await.unwrap();
    deposits(&store, "bob", [1]).await;
    deposits(&store, "ada", [1]).await;
    let hooked = Hooked::new(&views);
    let looks = hooked.count(|op| matches!(op, Op::Rows(lookup) if lookup.kind == Kind::Parked));
    let next = Projector::new(store.clone(), hooked).view::<Luck>();
    next.catch_up().await.unwrap();
    assert!(looks.get() <= 2, "{} looks", looks.get());
    assert_eq!((amounts(&one, "ada").await, amounts(&one, "bob").await), (vec![1], vec![]));
    assert_eq!(one.parked(MODEL).await.unwrap().len(), 302);
}

/// In one batch a row cannot take an event, and the stream of the row has one that cannot
/// be read; whichever is given back first, the row has all in their order.
#[tokio::test]
async fn a_row_and_its_stream_that_stand_still_by_one_batch_go_on_in_order() {
    for is_row_first in [false, true] {
        let (store, views) = (MemoryStore::new(), MemoryViews::new());
        deposits(&store, "ada", [1, 13]).await;
        raw(&store, "ada", "{").await;
        deposits(&store, "ada", [5]).await;
        projector(&store, &views).catch_up().await.unwrap();
        let one = projector(&store, &views);
        assert_eq!(amounts(&one, "ada").await, [1]);
        assert_eq!(amounts(&one, "letter a").await, [1, 13]);
        let parked = one.parked(MODEL).await.unwrap();
        let of = |sequence: &str| {
            let mine = parked.iter().filter(|one| one.sequence == sequence);
            let mine: BTreeSet<_> = mine.map(|one| one.position.get()).collect();
            mine.into_iter().collect::<Vec<_>>()
        };
        let (row, stream) = ("row ada", "stream account-ada");
        assert_eq!((of(row), of(stream)), (vec![2], vec![3, 4]));
        deposits(&store, "ada", [6]).await;
        one.catch_up().await.unwrap();

        edit(&one, row, 12).await;
        edit(&one, stream, 4).await;
        let order = if is_row_first { [row, stream, row] } else { [stream, row, stream] };
        for sequence in order {
            one.retry(MODEL, sequence).await.unwrap();
        }
        assert_eq!(amounts(&one, "ada").await, [1, 12, 4, 5, 6], "row first: {is_row_first}");
        assert_eq!(amounts(&one, "letter a").await, [1, 13, 4, 5, 6]);
        assert!(one.parked(MODEL).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_parked_event_that_the_log_has_lost_is_told_and_can_be_discarded() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    // All of them go into one row, by three streams.
    deposits(&store, "ada", [1]).await;
    let one = projector(&store, &views);
    for account in ["abe", "ada", "amy"] {
        raw(&store, account, "{").await;
        deposits(&store, account, [2, 3]).await;
    }
    deposits(&store, "cid", [13, 4]).await;
    one.catch_up().await.unwrap();
    store.delete(&stream("abe"), Expected::Any).await.unwrap();
    store.truncate(&stream("cid"), Version::new(2)).await.unwrap();
    let before = one.parked(MODEL).await.unwrap();
    for sequence in ["stream account-abe", "row cid"] {
        let refused = one.retry(MODEL, sequence).await;
        assert!(refused.unwrap_err().to_string().contains("was removed, discard it"));
    }
    assert_eq!(one.parked(MODEL).await.unwrap(), before, "nothing is passed by in silence");
    one.discard(MODEL, "row cid", "eve", "it was removed").await.unwrap();
    assert_eq!(one.retry(MODEL, "row cid").await.unwrap(), 1);
    assert_eq!(amounts(&one, "cid").await, [4]);

    // Of the stream all is gone that was taken from the log; what comes later is not.
    for _ in 0..3 {
        one.discard(MODEL, "stream account-abe", "eve", "it was removed").await.unwrap();
    }
    assert_eq!(one.retry(MODEL, "stream account-abe").await.unwrap(), 0);
    deposits(&store, "abe", [7]).await;
    one.catch_up().await.unwrap();
    assert_eq!(amounts(&one, "abe").await, [7]);
}

/// The first of a sequence is there, the second is not, the third is.
#[tokio::test]
async fn a_retry_stops_at_an_event_that_the_log_has_lost() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    let settings = ModelSettings::new();
    let one = Projector::new(store.clone(), views.clone()).view_with::<Shared>(settings);
    for (account, amount) in [("tom", 13), ("sue", 2), ("tom", 3)] {
        deposits(&store, account, [amount]).await;
    }
    one.catch_up().await.unwrap();
    store.delete(&stream("sue"), Expected::Any).await.unwrap();
    one.edit("shared", "row all", r#"{"amount":12}"#, "eve", "by hand").await.unwrap();
    let refused = one.retry("shared", "row all").await;
    assert!(refused.unwrap_err().to_string().contains("the event at 2 was removed"));
    let all = async || one.get::<Shared>(&"all".to_owned()).await.unwrap().unwrap().amounts;
    assert_eq!(all().await, [12]);
    one.discard("shared", "row all", "eve", "it was removed").await.unwrap();
    assert_eq!(one.retry("shared", "row all").await.unwrap(), 1);
    assert_eq!(all().await, [12, 3]);
}

/// One row for all accounts, in which an amount of 13 panics.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Shared {
    amounts: Vec<i64>,
}

impl Evolve for Shared {
    type Event = AccountEvent;

    fn evolve(&mut self, event: &AccountEvent) {
        if let AccountEvent::Deposited { amount } = event {
            assert!(*amount != 13, "13 is bad luck");
            self.amounts.push(*amount);
        }
    }
}

impl View for Shared {
    const NAME: &'static str = "shared";
    type Key = String;

    fn keys(_: Recorded<'_, AccountEvent>) -> Keys<String> {
        Keys::One("all".to_owned())
    }
}

/// Another divides the model between the look at its parts and the taking of them.
#[tokio::test]
async fn a_division_that_another_has_come_before_says_so_and_can_be_made_again() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", [1]).await;
    let other = projector(&store, &views);
    other.catch_up().await.unwrap();
    let hooked = Hooked::new(&views);
    let once = Once::default();
    let (divides, comes_before) = (other.clone(), once.clone());
    hooked.before(move |op| {
        let is_first = matches!(op, Op::Take(_)) && comes_before.fail().is_err();
        let divides = divides.clone();
        async move {
            if is_first {
                divides.divide(MODEL, 8).await.unwrap();
            }
            Ok(())
        }
    });
    let one = projector(&store, &hooked);
    let fenced = one.divide(MODEL, 2).await;
    let is_fenced = matches!(&fenced, Err(ProjectionError::Store(error))
        if error.kind() == es_core::StoreErrorKind::Fenced);
    assert!(is_fenced, "{fenced:?}");
    one.divide(MODEL, 2).await.unwrap();
    one.catch_up().await.unwrap();
    assert_eq!(amounts(&one, "ada").await, [1]);
}

#[tokio::test]
async fn a_paused_model_stays_so_if_a_retry_is_dropped_half_way() {
    let (store, views) = (MemoryStore::new(), MemoryViews::new());
    deposits(&store, "ada", [13, 1]).await;
    let one = projector(&store, &views);
    one.catch_up().await.unwrap();
    edit(&one, "row ada", 12).await;
    one.pause(MODEL).await.unwrap();
    let hooked = Hooked::new(&views);
    let commits = Count::default();
    let count = commits.clone();
    hooked.before(move |op| {
        let is_commit = matches!(op, Op::Commit);
        let count = count.clone();
        async move {
            if is_commit {
                count.one_more();
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let stuck = projector(&store, &hooked);
    tokio::select! {
        biased;
        () = commits.reach(1) => {}
        retried = stuck.retry(MODEL, "row ada") => panic!("dropped too late: {retried:?}"),
    }
    assert!(one.status().await.unwrap()[0].parts.iter().all(|part| part.paused));
    assert_eq!(one.retry(MODEL, "row ada").await.unwrap(), 2);
    assert!(one.status().await.unwrap()[0].parts.iter().all(|part| part.paused));
    assert_eq!(amounts(&one, "ada").await, [12, 1]);
}
