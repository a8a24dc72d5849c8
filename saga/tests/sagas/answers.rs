use std::time::Duration;

use saga::{Path, Phase, Probe, RetryPolicy, SagaError, SagaEvent, SagaId, Step, StepError, Work};

use crate::place::{Place, definition};

const MINUTE: Duration = Duration::from_secs(60);

fn ask(place: &Place) -> Step<(), String> {
    let diary = place.diary.clone();
    Step::ask("charge", MINUTE, move |work: Work<()>| {
        diary.write(&format!("asked {}", work.key));
        async { Ok(()) }
    })
}

async fn asked(place: &Place, node: &crate::place::Node, id: &SagaId) {
    let is_asked = |event: &(_, SagaEvent)| matches!(event.1, SagaEvent::StepAsked { .. });
    let told =
        || async { node.sagas.story(id).await.expect("a story").events.iter().any(is_asked) };
    place.until(told).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_the_step_that_waits_for_it_and_the_next_one_is_ignored() {
    let place = Place::new();
    let node = place.node(definition(Path::of(ask(&place)).step(place.step("ship")))).await;
    let id = node.begin("trip", &()).await;
    asked(&place, &node, &id).await;
    for _ in 0..2 {
        node.sagas.answer(&id, "charge", &"paid").await.expect("it is taken");
    }
    node.reaches(&id, Phase::Completed).await;
    assert_eq!(place.diary.lines().last().map(String::as_str), Some("ship"));
    let events = node.sagas.story(&id).await.expect("a story").events;
    let ignored =
        events.iter().filter(|(_, event)| matches!(event, SagaEvent::AnswerIgnored { .. }));
    assert_eq!(ignored.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_type_is_a_failure_that_is_not_tried_again() {
    let place = Place::new();
    let node = place.node(definition(Path::of(ask(&place)))).await;
    let id = node.begin("trip", &()).await;
    asked(&place, &node, &id).await;
    node.sagas.answer(&id, "charge", &7).await.expect("it is recorded");
    node.reaches(&id, Phase::Compensated).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_undoes_what_came_before() {
    let place = Place::new();
    let node = place.node(definition(Path::of(place.step("hotel")).step(ask(&place)))).await;
    let id = node.begin("trip", &()).await;
    asked(&place, &node, &id).await;
    node.sagas.refuse(&id, "charge", "the card has expired").await.expect("it is taken");
    node.reaches(&id, Phase::Compensated).await;
    assert!(
        node.sagas.state(&id).await.expect("a state").reason.expect("a reason").contains("expired")
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_answered_is_asked_again_with_the_same_key() {
    let place = Place::new();
    let charge = ask(&place).retry(RetryPolicy::new(3));
    let node = place.node(definition(Path::of(charge))).await;
    let began = place.world.now();
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Compensated).await;
    let asked = place.diary.lines();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|line| *line == asked[0]), "{asked:?}");
    assert!(place.world.now() - began >= chrono::TimeDelta::minutes(3));
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_nobody_is_told_so() {
    let place = Place::new();
    let node = place.node(definition(Path::of(ask(&place)))).await;
    let missing = SagaId::new("trip", "nobody").expect("an id");
    let told = node.sagas.answer(&missing, "charge", &"paid").await;
    assert!(matches!(told, Err(SagaError::Missing { .. })), "{told:?}");
    let id = node.begin("trip", &()).await;
    let told = node.sagas.answer(&id, "chrage", &"paid").await;
    assert!(matches!(told, Err(SagaError::Refused { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_says_what_has_become_of_a_lost_answer() {
    for (probe, phase, tries) in [
        (Probe::Happened(()), Phase::Completed, 1),
        (Probe::Absent, Phase::Compensated, 2),
        (Probe::Unknown, Phase::Suspended, 2),
    ] {
        let place = Place::new();
        let diary = place.diary.clone();
        let charge = Step::new("charge", move |_: Work<()>| {
            diary.write("charge");
            async { Err::<(), _>(StepError::failed("no answer")) }
        });
        let charge = charge.retry(RetryPolicy::new(2)).pivot().probe(move |_| {
            let probe = probe.clone();
            async move { Ok(probe) }
        });
        let node = place.node(definition(Path::of(place.step("hotel")).step(charge))).await;
        let id = node.begin("trip", &()).await;
        node.reaches(&id, phase).await;
        let charged = place.diary.lines().iter().filter(|line| *line == "charge").count();
        assert_eq!(charged, tries, "{phase}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_is_undone() {
    let place = Place::new();
    let diary = place.diary.clone();
    let hotel = Step::new("hotel", move |_: Work<()>| {
        diary.write("hotel");
        async { Err::<(), _>(StepError::failed("the answer is lost")) }
    });
    let diary = place.diary.clone();
    let hotel = hotel.retry(RetryPolicy::new(2)).compensate(move |_| {
        diary.write("-hotel");
        async { Ok(()) }
    });
    let node = place.node(definition(Path::of(place.step("car")).step(hotel))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Compensated).await;
    assert_eq!(place.diary.lines(), ["car", "hotel", "hotel", "-hotel", "-car"]);
}
