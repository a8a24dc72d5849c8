//! What a sender is told, and what reaches the log.

use cqrs::{Commands, SendError};
use es_core::{
    EventStoreExt, Metadata, Position, Read, StoreErrorKind, Tenant, Version, memory::MemoryStore,
};

use crate::{
    bank::{Look, Open, balance, deposit, history, is_rejected, stream, withdraw},
    faulty::{Faulty, enter},
};

#[tokio::test]
async fn an_answer_tells_the_version_and_the_position_of_the_last_event() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(deposit("bob", 1)).await.unwrap();
    commands.send(deposit("ada", 5)).await.unwrap();
    let save = crate::bank::Save { account: "ada".into(), times: 3 };
    let sent = commands.send(save).await.unwrap();
    let last = history(&store, "ada").await.pop().unwrap();
    assert_eq!((sent.version, sent.position), (last.version, last.position));
    assert_eq!((sent.version, sent.position), (Version::new(4), Position::new(5)));
    assert!(!sent.repeated);
}

#[tokio::test]
async fn a_rejection_tells_the_reason_and_appends_nothing() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    for _ in 0..2 {
        match commands.send(withdraw("ada", 6)).await {
            Err(SendError::Rejected(refusal)) => assert_eq!(refusal.balance, 5),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(history(&store, "ada").await.len(), 1);
}

#[tokio::test]
async fn an_accepted_command_without_events_tells_where_the_aggregate_stands() {
    let commands = Commands::new(MemoryStore::new());
    let sent = commands.send(deposit("ada", 5)).await.unwrap();
    let looked = commands.send(Look { account: "ada".into() }).await.unwrap();
    assert_eq!((looked.version, looked.position), (sent.version, sent.position));
}

#[tokio::test]
async fn the_same_id_of_two_tenants_is_two_aggregates() {
    let store = MemoryStore::new();
    let commands = Commands::new(store.clone());
    let theirs = commands.of(Tenant::new("acme").unwrap());
    commands.send(deposit("ada", 5)).await.unwrap();
    assert!(is_rejected(&theirs.send(withdraw("ada", 1)).await));
    let sent = theirs.send(deposit("ada", 7)).await.unwrap();
    assert_eq!(sent.version, Version::new(1));
    assert_eq!(balance(&store, "ada").await, 5);
    let acme = Read::stream(&stream("ada").of(Tenant::new("acme").unwrap()));
    assert_eq!(store.events(acme).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_cache_keeps_tenants_apart() {
    let commands = crate::bank::cached(MemoryStore::new());
    let theirs = commands.of(Tenant::new("acme").unwrap());
    commands.send(deposit("ada", 5)).await.unwrap();
    assert!(is_rejected(&theirs.send(withdraw("ada", 1)).await));
}

#[tokio::test]
async fn one_command_id_of_two_tenants_is_two_commands() {
    let store = MemoryStore::new();
    let id = es_core::AppendId::derive("once");
    let commands = Commands::new(store.clone()).once(id);
    commands.send(deposit("ada", 5)).await.unwrap();
    let theirs = commands.of(Tenant::new("acme").unwrap());
    assert!(!theirs.send(deposit("ada", 5)).await.unwrap().repeated);
}

#[tokio::test]
async fn metadata_reaches_every_event_of_its_own_command_and_no_other() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let (by_ada, by_bob) = (
        commands.with(Metadata::new().user_id("ada").correlation_id("c-1")),
        commands.with(Metadata::new().user_id("bob")),
    );
    let folded = store.folded(&commands, "joint", 1, async || {
        [enter(&by_ada, deposit("joint", 2)).await, enter(&by_bob, deposit("joint", 3)).await]
    });
    for sent in folded.await {
        sent.await.unwrap();
    }
    let users: Vec<_> = history(&store.inner, "joint")
        .await
        .iter()
        .map(|event| event.metadata.fields().user_id.clone())
        .collect();
    assert_eq!(users, [None, Some("ada".to_owned()), Some("bob".to_owned())]);
    let correlated = store.events(Read::all().correlated("c-1")).await.unwrap();
    assert_eq!(correlated.len(), 1);
}

#[tokio::test]
async fn an_id_that_makes_no_name_is_told_and_nothing_is_sent() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    for id in ["", "bell\u{7}", &"x".repeat(300)] {
        let answer = commands.send(deposit(id, 1)).await;
        assert!(matches!(answer, Err(SendError::Store(cqrs::Failure::Name(_)))), "{answer:?}");
    }
    assert_eq!((store.appends(), store.reads()), (0, 0));
}

#[tokio::test]
async fn a_creating_command_reads_nothing_for_a_new_aggregate() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(Open { account: "ada".into(), amount: 5 }).await.unwrap();
    assert_eq!(store.reads(), 0);
    assert_eq!(balance(&store.inner, "ada").await, 5);
}

#[tokio::test]
async fn a_creating_command_on_what_exists_is_decided_on_what_exists() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    match commands.send(Open { account: "ada".into(), amount: 7 }).await {
        Err(SendError::Rejected(refusal)) => assert_eq!(refusal.balance, 5),
        other => panic!("{other:?}"),
    }
    assert_eq!(balance(&store.inner, "ada").await, 5);
}

#[tokio::test]
async fn a_creating_command_is_accepted_where_only_the_history_allows_it() {
    let commands = Commands::new(MemoryStore::new());
    commands.send(deposit("ada", 5)).await.unwrap();
    commands.send(withdraw("ada", 5)).await.unwrap();
    let sent = commands.send(Open { account: "ada".into(), amount: 7 }).await.unwrap();
    assert_eq!(sent.version, Version::new(3));
}

#[tokio::test]
async fn an_event_that_the_aggregate_does_not_know_fails_the_load() {
    let store = MemoryStore::new();
    let strange = es_core::NewEvent::raw(
        es_core::World::real().event_id(),
        es_core::Name::from_static("account.audited"),
        es_core::ContentType::JSON,
        "{}",
    );
    use es_core::EventStore;
    store.append(es_core::Batch::to(stream("ada")).event(strange)).await.unwrap();
    let answer = Commands::new(store).send(deposit("ada", 1)).await;
    assert!(matches!(answer, Err(SendError::Store(cqrs::Failure::Load(_)))), "{answer:?}");
}

#[tokio::test]
async fn drain_waits_for_commands_whose_senders_have_gone() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    let shut = store.shut().await;
    drop(enter(&commands, deposit("ada", 5)).await);
    store.wait_for_append(1).await;
    let drained = crate::faulty::begun(commands.drain()).await;
    assert_eq!(balance(&store.inner, "ada").await, 0);
    drop(shut);
    drained.await;
    assert_eq!(balance(&store.inner, "ada").await, 5);
}

#[tokio::test]
async fn a_store_that_is_full_reaches_the_sender() {
    let store = Faulty::new(MemoryStore::new());
    store.fail_always(StoreErrorKind::Full);
    let answer = Commands::new(store.clone()).send(deposit("ada", 1)).await;
    let Err(SendError::Store(cqrs::Failure::Store(error))) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert_eq!(store.appends(), 1);
}
