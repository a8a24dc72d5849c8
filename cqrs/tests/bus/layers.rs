//! What stands around the bus.

use std::{sync::Arc, time::Duration};

use cqrs::{Commands, Dispatch, Guard, SendError, Trace};
use es_core::{Metadata, memory::MemoryStore};
use parking_lot::Mutex;
use tower::{
    ServiceBuilder, buffer::BufferLayer, limit::ConcurrencyLimitLayer, limit::RateLimitLayer,
    timeout::TimeoutLayer,
};

use crate::{
    bank::{Answer, Deposit, balance, deposit, history, is_rejected, withdraw},
    decisions::TakeSeat,
    faulty::{Faulty, begun, enter},
    spans::Spans,
    together::Transfer,
};

fn take_seat() -> TakeSeat {
    TakeSeat { course: "rust".into(), student: "ada".into(), seats: 2 }
}

fn transfer(amount: i64) -> Transfer {
    Transfer { from: "ada".into(), to: "bob".into(), amount }
}

fn refusal(answer: Answer) -> String {
    match answer {
        Err(SendError::Refused(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_guard_refuses_before_the_aggregate_is_loaded() {
    let store = Faulty::new(MemoryStore::new());
    let known = Guard::new(|dispatch| match &dispatch.metadata().fields().user_id {
        Some(_) => Ok(()),
        None => Err("who are you?".into()),
    });
    let commands = Commands::builder(store.clone()).layer(known).build();
    assert_eq!(refusal(commands.send(deposit("ada", 1)).await), "who are you?");
    assert_eq!((store.reads(), store.appends()), (0, 0));
    let known = commands.with(Metadata::new().user_id("ada"));
    known.send(deposit("ada", 1)).await.unwrap();
    assert!(is_rejected(&known.send(withdraw("ada", 9)).await), "a rejection passes the layers");
}

#[tokio::test]
async fn a_guard_sees_the_command_its_name_and_its_stream() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let look = Guard::new(move |dispatch: &Dispatch| {
        let amount = dispatch.command::<Deposit>().map(|deposit| deposit.amount);
        note.lock().push((dispatch.command_name(), dispatch.streams()[0].to_string(), amount));
        Ok(())
    });
    let commands = Commands::builder(MemoryStore::new()).layer(look).build();
    commands.send(deposit("ada", 5)).await.unwrap();
    let _ = commands.send(withdraw("ada", 5)).await;
    let stream = String::from("account-ada");
    assert_eq!(*seen.lock(), [("deposit", stream.clone(), Some(5)), ("withdraw", stream, None)]);
}

/// Whichever way a command is sent, nobody gets round the layers.
#[tokio::test]
async fn a_guard_stands_before_decisions_of_every_kind() {
    let store = Faulty::new(MemoryStore::new());
    let closed = Guard::new(|_| Err("closed".into()));
    let commands = Commands::builder(store.clone()).layer(closed).build();
    assert_eq!(refusal(commands.send(deposit("ada", 1)).await), "closed");
    let decided = commands.decide(take_seat()).await;
    assert!(matches!(decided, Err(SendError::Refused(why)) if why.to_string() == "closed"));
    let together = commands.send_together(transfer(0)).await;
    assert!(matches!(together, Err(SendError::Refused(why)) if why.to_string() == "closed"));
    assert_eq!((store.reads(), store.appends()), (0, 0));
}

#[tokio::test]
async fn a_guard_sees_what_a_decision_is_about() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let look = Guard::new(move |dispatch: &Dispatch| {
        let streams: Vec<_> = dispatch.streams().iter().map(ToString::to_string).collect();
        let known = dispatch.command::<TakeSeat>().is_some();
        note.lock().push((dispatch.command_name(), streams, known));
        Ok(())
    });
    let commands = Commands::builder(MemoryStore::new()).layer(look).build();
    commands.decide(take_seat()).await.unwrap();
    commands.send_together(transfer(0)).await.unwrap();
    let both = vec!["account-ada".to_owned(), "account-bob".to_owned()];
    assert_eq!(*seen.lock(), [("TakeSeat", vec![], true), ("Transfer", both, false)]);
}

#[tokio::test]
async fn what_a_layer_adds_to_the_metadata_stands_with_the_events() {
    let stamp = tower::util::MapRequestLayer::new(|dispatch: Dispatch| {
        let metadata = dispatch.metadata().clone().traceparent("00-1-2-01");
        dispatch.with_metadata(metadata)
    });
    let store = MemoryStore::new();
    let commands = Commands::builder(store.clone()).layer(stamp).build();
    let commands = commands.with(Metadata::new().user_id("ada"));
    commands.send(deposit("ada", 5)).await.unwrap();
    commands.send_together(transfer(1)).await.unwrap();
    for event in history(&store, "ada").await.iter().chain(&history(&store, "bob").await) {
        let fields = event.metadata.fields();
        assert_eq!(fields.traceparent.as_deref(), Some("00-1-2-01"));
        assert_eq!(fields.user_id.as_deref(), Some("ada"));
    }
}

/// A caller that stops waiting stops no decision, and `drain` waits for it.
#[tokio::test]
async fn decisions_go_on_without_their_caller() {
    let store = Faulty::new(MemoryStore::new());
    let commands = Commands::new(store.clone());
    commands.send(deposit("ada", 5)).await.unwrap();
    let shut = store.shut().await;
    drop(begun(commands.send_together(transfer(5))).await);
    drop(begun(commands.decide(take_seat())).await);
    drop(shut);
    commands.drain().await;
    assert_eq!(balance(&store.inner, "bob").await, 5);
    assert!(commands.decide(TakeSeat { seats: 1, ..take_seat() }).await.is_err(), "it is taken");
}

#[tokio::test]
async fn a_decision_is_made_as_often_as_the_bus_is_told() {
    let store = Faulty::new(MemoryStore::new());
    store.conflict_always();
    let commands = Commands::builder(store.clone()).attempts(3).build();
    let together = commands.send_together(transfer(0)).await;
    assert!(matches!(together, Err(SendError::Contended { attempts: 3 })), "{together:?}");
    let decided = commands.decide(take_seat()).await;
    assert!(matches!(decided, Err(SendError::Contended { attempts: 3 })), "{decided:?}");
}

#[tokio::test]
async fn a_trace_tells_each_command_and_what_became_of_it() {
    let spans = Spans::default();
    let _recording = tracing::subscriber::set_default(spans.clone());
    let commands = Commands::builder(MemoryStore::new()).layer(Trace).build();
    let commands = commands.with(Metadata::new().user_id("ada").correlation_id("c-1"));
    commands.send(deposit("ada", 5)).await.unwrap();
    assert!(is_rejected(&commands.send(withdraw("ada", 9)).await));
    commands.decide(take_seat()).await.unwrap();
    let known = "tenant=default streams=[\"account-ada\"] user=ada correlation=c-1";
    assert_eq!(
        spans.told(),
        [
            format!("command name=deposit {known}: carried out"),
            format!("command name=withdraw {known}: not carried out kind=rejected"),
            "command name=TakeSeat tenant=default streams=[] user=ada correlation=c-1: carried out"
                .to_owned(),
        ]
    );
}

#[tokio::test]
async fn the_last_layer_added_is_the_outermost() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mark = |name: &'static str| {
        let seen = Arc::clone(&seen);
        Guard::new(move |_| {
            seen.lock().push(name);
            Ok(())
        })
    };
    let commands = Commands::builder(MemoryStore::new())
        .layer(mark("inner"))
        .layer(mark("middle"))
        .layer(mark("outer"))
        .build();
    commands.send(deposit("ada", 1)).await.unwrap();
    assert_eq!(*seen.lock(), ["outer", "middle", "inner"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_takes_too_long_is_refused_and_still_happens_once() {
    let store = Faulty::new(MemoryStore::new());
    let timeout = TimeoutLayer::new(Duration::from_secs(2));
    let commands = Commands::builder(store.clone()).layer(timeout).build();
    let shut = store.shut().await;
    let late = refusal(commands.send(deposit("ada", 1)).await);
    assert_eq!(late, "request timed out");
    drop(shut);
    commands.drain().await;
    assert_eq!(balance(&store.inner, "ada").await, 1);
}

#[tokio::test]
async fn no_more_commands_run_at_once_than_the_limit_says() {
    let store = Faulty::new(MemoryStore::new());
    let limit = ConcurrencyLimitLayer::new(2);
    let commands = Commands::builder(store.clone()).layer(limit).build();
    let shut = store.shut().await;
    let mut sending = Vec::new();
    for account in 0..5 {
        sending.push(enter(&commands, deposit(&account.to_string(), 1)).await);
    }
    store.wait_for_append(2).await;
    // Whatever can run now has run.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.appends(), 2);
    drop(shut);
    for sent in futures_util::future::join_all(sending).await {
        sent.unwrap();
    }
    assert_eq!(store.appends(), 5);
}

#[tokio::test(start_paused = true)]
async fn no_more_commands_are_sent_in_a_second_than_the_rate_says() {
    let slow = ServiceBuilder::new()
        .layer(BufferLayer::new(16))
        .layer(RateLimitLayer::new(2, Duration::from_secs(1)))
        .into_inner();
    let commands = Commands::builder(MemoryStore::new()).layer(slow).build();
    let started = tokio::time::Instant::now();
    for _ in 0..6 {
        commands.send(deposit("ada", 1)).await.unwrap();
    }
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Answers each command with the outcome of the one before it.
#[derive(Clone)]
struct Mixed<S>(S, Arc<Mutex<Option<cqrs::Outcome>>>);

impl<S> tower::Service<Dispatch> for Mixed<S>
where
    S: tower::Service<Dispatch, Response = cqrs::Outcome>,
    S::Future: Send + 'static,
    S::Error: Send,
{
    type Response = cqrs::Outcome;
    type Error = S::Error;
    type Future = futures_util::future::BoxFuture<'static, Result<cqrs::Outcome, S::Error>>;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, dispatch: Dispatch) -> Self::Future {
        let (mine, other) = (self.0.call(dispatch), Arc::clone(&self.1));
        Box::pin(async move {
            let mine = mine.await?;
            let before = other.lock().take();
            match before {
                Some(before) => Ok(before),
                None => {
                    *other.lock() = Some(mine);
                    std::future::pending().await
                }
            }
        })
    }
}

#[tokio::test]
async fn a_layer_that_answers_for_another_aggregate_is_refused() {
    let mixed = tower::layer::layer_fn(|inner| Mixed(inner, Arc::default()));
    let commands = Commands::builder(MemoryStore::new()).layer(mixed).build();
    let _never = enter(&commands, deposit("ada", 1)).await;
    commands.drain().await;
    tokio::task::yield_now().await;
    let ring = crate::catalogue::Ring { bell: "north".into() };
    let answer = commands.send(ring).await;
    assert!(matches!(answer, Err(SendError::Refused(_))), "{answer:?}");
}
