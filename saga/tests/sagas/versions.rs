use std::time::Duration;

use saga::{Definition, Migration, Path, Phase, SagaError, SagaId, Step, Work};
use serde_json::json;

use crate::place::Place;

fn ask(name: &str) -> Step<serde_json::Value, String> {
    Step::ask(name, Duration::from_secs(3_600), |_| async { Ok(()) })
        .extend(|data: &mut serde_json::Value, answer: String| data["answer"] = answer.into())
}

fn trip(version: u32, path: Path<serde_json::Value>) -> Definition<serde_json::Value> {
    Definition::new("trip", version, path).expect("a graph that can be run")
}

fn end(name: &'static str) -> Step<serde_json::Value> {
    Step::new(name, |_: Work<serde_json::Value>| async { Ok(()) })
}

#[tokio::test(start_paused = true)]
async fn a_saga_is_pinned_to_the_version_by_which_it_began() {
    let place = Place::new();
    let old = || trip(1, Path::of(ask("ask")).step(end("old")));
    let node = place.node(old()).await;
    let id = node.begin("trip", &json!({})).await;
    node.running.stop().await;

    let sagas = place.sagas().with(old()).expect("once");
    let sagas = sagas.with(trip(2, Path::of(end("new")))).expect("once");
    let _running = sagas.start().await.expect("it starts");
    sagas.answer(&id, "ask", &"yes").await.expect("it is taken");
    sagas.ended(&id).await.expect("a log");
    let state = sagas.state(&id).await.expect("a state");
    assert!(state.version == 1 && state.steps.contains_key("old"), "{state:?}");

    let next = SagaId::new("trip", 2).expect("an id");
    sagas.begin(&next, &json!({})).await.expect("it begins");
    sagas.ended(&next).await.expect("a log");
    assert_eq!(sagas.state(&next).await.expect("a state").version, 2);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_know_a_version_that_is_under_way_is_refused() {
    let place = Place::new();
    let node = place.node(trip(1, Path::of(ask("ask")))).await;
    let id = node.begin("trip", &json!({})).await;
    node.running.stop().await;

    let newer = place.sagas().with(trip(2, Path::of(end("new")))).expect("once");
    match newer.start().await {
        Err(SagaError::LeftBehind { sagas }) => assert_eq!(sagas, [(id, 1)]),
        other => panic!("{other:?}"),
    }
    let twice = newer.with(trip(2, Path::of(end("other"))));
    assert!(matches!(twice, Err(SagaError::RegisteredTwice { version: 2, .. })), "{twice:?}");
}

#[tokio::test(start_paused = true)]
async fn a_saga_is_migrated_with_its_data_and_needs_the_old_version_no_more() {
    let place = Place::new();
    let second = || trip(2, Path::of(ask("question")).step(end("new")));
    let sagas = place.sagas().with(trip(1, Path::of(ask("ask")).step(end("old")))).expect("once");
    let sagas = sagas.with(second()).expect("once");
    let id = SagaId::new("trip", 1).expect("an id");
    // It begins by the old one, and waits.
    let old = place.node(trip(1, Path::of(ask("ask")).step(end("old")))).await;
    old.sagas.begin(&id, &json!({})).await.expect("it begins");
    let begun = || async { old.sagas.state(&id).await.expect("a state").step("ask").attempts > 0 };
    place.until(begun).await;
    let waits = sagas.migrate(&id, &Migration::to(2).rename("ask", "question"), "ada").await;
    assert!(matches!(waits, Err(SagaError::Refused { .. })), "a step is under way: {waits:?}");
    old.sagas.answer(&id, "ask", &"yes").await.expect("it is taken");
    old.reaches(&id, Phase::Completed).await;
    let ended = sagas.migrate(&id, &Migration::to(2), "ada").await;
    assert!(matches!(ended, Err(SagaError::Refused { .. })), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_stands_still_goes_on_by_the_version_that_mends_it() {
    let place = Place::new();
    let charge = || end("charge").pivot();
    let broken = || {
        let mail = Step::new("mail", |_: Work<serde_json::Value>| async {
            Err::<(), _>(saga::StepError::refused("no such address"))
        });
        trip(1, Path::of(charge()).step(mail.retriable()))
    };
    let mended = || {
        let letter = Step::new("letter", |work: Work<serde_json::Value>| async move {
            Ok(work.data["class"].clone())
        });
        let letter = letter.extend(|data, class| data["sent"] = class).retriable();
        trip(2, Path::of(charge()).step(letter))
    };
    let sagas = place.sagas().with(broken()).expect("once").with(mended()).expect("once");
    let old = place.node(broken()).await;
    let id = old.begin("trip", &json!({})).await;
    old.reaches(&id, Phase::Suspended).await;
    old.running.stop().await;

    let lost = sagas.migrate(&id, &Migration::to(2), "ada").await;
    assert!(
        matches!(&lost, Err(SagaError::Refused { why, .. }) if why.contains("mail")),
        "{lost:?}"
    );
    let to = Migration::to(2).rename("mail", "letter").data(|mut data| {
        data["class"] = "second".into();
        data
    });
    sagas.migrate(&id, &to, "ada").await.expect("it fits");
    // The old version is gone.
    let new = place.node(mended()).await;
    new.sagas.operate(&id, saga::Operation::Retry, "ada", "it is mended").await.expect("it goes");
    new.reaches(&id, Phase::Completed).await;
    let data = new.sagas.story(&id).await.expect("a story").data;
    assert_eq!(data, json!({ "class": "second", "sent": "second" }));
}

#[tokio::test(start_paused = true)]
async fn what_has_another_name_keeps_its_key_and_two_may_swap_theirs() {
    let place = Place::new();
    let noted = |name: &'static str| {
        let (done, undone) = (place.diary.clone(), place.diary.clone());
        let step = Step::new(name, move |work: Work<serde_json::Value>| {
            done.write(&work.key.to_string());
            async { Ok(()) }
        });
        step.compensate(move |work| {
            undone.write(&work.action_key.to_string());
            async { Ok(()) }
        })
    };
    let path = |first, second| {
        let closed = Step::new("closed", |_: Work<serde_json::Value>| async {
            Err::<(), _>(saga::StepError::failed("no"))
        });
        Path::of(noted(first)).step(noted(second)).step(closed.retry(saga::RetryPolicy::new(3)))
    };
    let (old, new) = (|| trip(1, path("a", "b")), || trip(2, path("b", "a")));
    let sagas = place.sagas().with(old()).expect("once").with(new()).expect("once");
    let node = place.node(old()).await;
    let id = node.begin("trip", &json!({})).await;
    let fails = || async { sagas.state(&id).await.expect("a state").step("closed").attempts > 0 };
    place.until(fails).await;
    node.running.stop().await;

    let met = sagas.migrate(&id, &Migration::to(2).rename("a", "b"), "ada").await;
    assert!(matches!(met, Err(SagaError::Refused { .. })), "{met:?}");
    let swap = Migration::to(2).rename("a", "b").rename("b", "a");
    sagas.migrate(&id, &swap, "ada").await.expect("it fits");
    let node = place.node(new()).await;
    node.reaches(&id, Phase::Compensated).await;
    let lines = place.diary.lines();
    assert_eq!((&lines[0], &lines[1]), (&lines[3], &lines[2]), "undone in reverse, by their keys");
}
