use saga::{Operation, Path, Phase, RetryPolicy, SagaError, SagaEvent, Step, StepError, Work};
use serde_json::{Value, json};

use crate::place::{Node, Place, definition};

async fn operate(node: &Node, id: &saga::SagaId, operation: Operation) {
    node.sagas.operate(id, operation, "ada", "as a test wants it").await.expect("it can be done");
}

/// A trip that stands still after its pivot, at a mail.
async fn at_the_mail(place: &Place) -> (Node, saga::SagaId) {
    let path = Path::of(place.step("hotel")).step(place.step("charge").pivot());
    let node = place.node(definition(path.step(place.gate("mail").retriable()))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Suspended).await;
    (node, id)
}

#[tokio::test(start_paused = true)]
async fn what_cannot_go_on_after_the_pivot_is_suspended_and_goes_on_when_told_to_retry() {
    let place = Place::new();
    let (node, id) = at_the_mail(&place).await;
    let state = node.sagas.state(&id).await.expect("a state");
    assert_eq!(state.incident.map(|incident| incident.step).as_deref(), Some("mail"));
    assert_eq!(state.reason.as_deref(), Some("it is closed"));

    place.diary.write("open");
    operate(&node, &id, Operation::Retry).await;
    node.reaches(&id, Phase::Completed).await;
    assert_eq!(place.diary.lines(), ["hotel", "charge", "open", "mail"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_may_be_skipped() {
    let place = Place::new();
    let (node, id) = at_the_mail(&place).await;
    operate(&node, &id, Operation::Skip { step: "mail".into(), output: Value::Null }).await;
    node.reaches(&id, Phase::Completed).await;
    assert_eq!(place.diary.lines(), ["hotel", "charge"]);
    let events = node.sagas.story(&id).await.expect("a story").events;
    let told = |(_, event): &(_, SagaEvent)| matches!(event, SagaEvent::Operated { by, .. } if by == "ada");
    assert!(events.iter().any(told), "the stream tells who did it");
}

#[tokio::test(start_paused = true)]
async fn a_saga_behind_its_pivot_can_be_terminated_and_not_cancelled() {
    let place = Place::new();
    let (node, id) = at_the_mail(&place).await;
    let cancelled = node.sagas.operate(&id, Operation::Cancel, "ada", "no").await;
    assert!(matches!(cancelled, Err(SagaError::Refused { .. })), "{cancelled:?}");
    operate(&node, &id, Operation::Terminate).await;
    node.reaches(&id, Phase::Terminated).await;
    assert_eq!(place.diary.lines(), ["hotel", "charge"]);
    let again = node.sagas.operate(&id, Operation::Retry, "ada", "no").await;
    assert!(matches!(again, Err(SagaError::Refused { .. })), "{again:?}");
}

/// A trip of which the hotel cannot be undone.
async fn at_the_hotel(place: &Place) -> (Node, saga::SagaId) {
    let diary = place.diary.clone();
    let hotel = place.step("hotel").retry_compensation(RetryPolicy::new(2)).compensate(move |_| {
        let open = diary.lines().contains(&"open".to_owned());
        async move { if open { Ok(()) } else { Err(StepError::failed("nobody answers")) } }
    });
    let path = Path::of(place.step("car")).step(hotel).step(place.gate("flight"));
    let node = place.node(definition(path)).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Suspended).await;
    (node, id)
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_fails_is_visible_and_can_be_tried_again() {
    let place = Place::new();
    let (node, id) = at_the_hotel(&place).await;
    let state = node.sagas.state(&id).await.expect("a state");
    assert_eq!(state.step("hotel").undo_attempts, 2);
    place.diary.write("open");
    operate(&node, &id, Operation::Retry).await;
    node.reaches(&id, Phase::Compensated).await;
    assert_eq!(place.diary.lines(), ["car", "hotel", "open", "-car"]);
}

#[tokio::test(start_paused = true)]
async fn a_compensation_may_be_done_by_hand() {
    let place = Place::new();
    let (node, id) = at_the_hotel(&place).await;
    operate(&node, &id, Operation::MarkCompensated { step: "hotel".into() }).await;
    node.reaches(&id, Phase::Compensated).await;
    assert_eq!(place.diary.lines(), ["car", "hotel", "-car"]);
}

#[tokio::test(start_paused = true)]
async fn a_saga_goes_forward_again_from_a_step() {
    let place = Place::new();
    let (node, id) = at_the_hotel(&place).await;
    place.diary.write("open");
    operate(&node, &id, Operation::ResumeFrom { step: "flight".into() }).await;
    node.reaches(&id, Phase::Completed).await;
    // What could not be undone is done.
    assert_eq!(place.diary.lines(), ["car", "hotel", "open", "flight"]);
}

#[tokio::test(start_paused = true)]
async fn a_saga_goes_on_with_other_data() {
    let place = Place::new();
    let pay = Step::new("pay", |work: Work<u32>| async move {
        if *work.data > 100 { Err(StepError::refused("too much")) } else { Ok(*work.data) }
    });
    let charge = Step::new("charge", |_: Work<u32>| async { Ok(()) }).pivot();
    let path = Path::of(charge).step(pay.retriable().extend(|sum, paid| *sum -= paid));
    let node = place.node(saga::Definition::new("trip", 1, path).expect("a graph")).await;
    let id = node.begin("trip", &500).await;
    node.reaches(&id, Phase::Suspended).await;

    let wrong = Operation::Edit { data: json!("fifty") };
    let wrong = node.sagas.operate(&id, wrong, "ada", "no").await;
    assert!(matches!(wrong, Err(SagaError::Data { .. })), "{wrong:?}");
    operate(&node, &id, Operation::Edit { data: json!(50) }).await;
    operate(&node, &id, Operation::Retry).await;
    node.reaches(&id, Phase::Completed).await;
    assert_eq!(node.sagas.story(&id).await.expect("a story").data, json!(0));
}

#[tokio::test(start_paused = true)]
async fn a_saga_that_is_cancelled_is_undone() {
    let place = Place::new();
    let wait =
        Step::ask("answer", std::time::Duration::from_secs(60), |_: Work<()>| async { Ok(()) });
    let wait: Step<(), ()> = wait.compensate(|_| async { Ok(()) });
    let node = place.node(definition(Path::of(place.step("hotel")).step(wait))).await;
    let id = node.begin("trip", &()).await;
    operate(&node, &id, Operation::Cancel).await;
    node.reaches(&id, Phase::Compensated).await;
    assert_eq!(place.diary.lines(), ["hotel", "-hotel"]);
}

/// A pivot of which nobody knows whether it has happened.
async fn at_the_pivot(place: &Place) -> (Node, saga::SagaId) {
    let charge = Step::new("charge", |_: Work<()>| async { Err(StepError::failed("no answer")) });
    let charge: Step<(), ()> = charge.retry(RetryPolicy::new(2)).pivot();
    let node = place.node(definition(Path::of(place.step("hotel")).step(charge))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Suspended).await;
    (node, id)
}

#[tokio::test(start_paused = true)]
async fn a_pivot_of_which_nobody_knows_waits_for_somebody_who_does() {
    for (operation, phase) in [
        (Operation::Fail { step: "charge".into() }, Phase::Compensated),
        (Operation::Cancel, Phase::Compensated),
        (Operation::Skip { step: "charge".into(), output: Value::Null }, Phase::Completed),
    ] {
        let place = Place::new();
        let (node, id) = at_the_pivot(&place).await;
        operate(&node, &id, operation).await;
        node.reaches(&id, phase).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_at_another_step_is_refused() {
    let place = Place::new();
    let (node, id) = at_the_mail(&place).await;
    for operation in [
        Operation::Skip { step: "hotel".into(), output: Value::Null },
        Operation::Fail { step: "nothing".into() },
        Operation::MarkCompensated { step: "mail".into() },
        Operation::ResumeFrom { step: "nothing".into() },
    ] {
        let refused = node.sagas.operate(&id, operation.clone(), "ada", "no").await;
        assert!(matches!(refused, Err(SagaError::Refused { .. })), "{operation:?}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_forward_again_from_before_a_pivot_does_not_forget_it() {
    let place = Place::new();
    let (node, id) = at_the_mail(&place).await;
    operate(&node, &id, Operation::ResumeFrom { step: "hotel".into() }).await;
    node.reaches(&id, Phase::Suspended).await;
    let cancelled = node.sagas.operate(&id, Operation::Cancel, "ada", "no").await;
    assert!(matches!(cancelled, Err(SagaError::Refused { .. })), "{cancelled:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_undone_is_done_again_with_another_key() {
    let place = Place::new();
    let diary = place.diary.clone();
    let hotel = Step::new("hotel", move |work: Work<()>| {
        diary.write(&work.key.to_string());
        async { Ok(()) }
    });
    let hotel = hotel.compensate(|_| async { Ok(()) });
    let car = place.step("car").retry_compensation(RetryPolicy::new(1));
    let car = car.compensate(|_| async { Err(StepError::failed("nobody answers")) });
    // The car is before the hotel, which is undone when the car cannot be.
    let node = place.node(definition(Path::of(car).step(hotel).step(place.gate("flight")))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Suspended).await;
    place.diary.write("open");
    operate(&node, &id, Operation::ResumeFrom { step: "flight".into() }).await;
    node.reaches(&id, Phase::Completed).await;
    let lines = place.diary.lines();
    assert_eq!((lines[0].as_str(), lines[2].as_str()), ("car", "open"));
    assert!(lines[1] != lines[3], "{lines:?}");
}

/// A step that asks, whose first action never returns, and was refused meanwhile.
#[tokio::test(start_paused = true)]
async fn a_step_that_is_tried_again_beside_a_try_that_hangs_is_tried() {
    let place = Place::new();
    let ask = Step::ask("ask", std::time::Duration::from_secs(60), |work: Work<()>| async move {
        if work.attempt == 1 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let ask: Step<(), ()> = ask.retriable();
    let node = place.node(definition(Path::of(place.step("charge").pivot()).step(ask))).await;
    let id = node.begin("trip", &()).await;
    place
        .until(|| async {
            node.sagas.state(&id).await.is_ok_and(|state| state.step("ask").attempts == 1)
        })
        .await;
    node.sagas.refuse(&id, "ask", "not today").await.expect("it is taken");
    node.reaches(&id, Phase::Suspended).await;
    operate(&node, &id, Operation::Retry).await;
    place
        .until(|| async {
            node.sagas.state(&id).await.is_ok_and(|state| state.step("ask").attempts == 2)
        })
        .await;
    node.sagas.answer(&id, "ask", &()).await.expect("it is taken");
    node.reaches(&id, Phase::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_condition_that_panics_suspends_the_saga() {
    let place = Place::new();
    let path = Path::new().when("panics", |age: &u32| 9 / (age - 7) > 0, Path::new());
    let step = Step::new("step", |_: Work<u32>| async { Ok(()) });
    let node =
        place.node(saga::Definition::new("trip", 1, path.step(step)).expect("a graph")).await;
    let id = node.begin("trip", &7).await;
    node.reaches(&id, Phase::Suspended).await;
    operate(&node, &id, Operation::Edit { data: json!(9) }).await;
    operate(&node, &id, Operation::Retry).await;
    node.reaches(&id, Phase::Completed).await;
}
