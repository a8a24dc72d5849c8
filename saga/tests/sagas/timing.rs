use std::time::Duration;

use chrono::TimeDelta;
use es_core::{EventStoreExt, Read, Timers};
use saga::{Definition, Path, Phase, RetryPolicy, SagaId, Step, StepError, Work};

use crate::place::{Place, definition};

#[tokio::test(start_paused = true)]
async fn a_deadline_undoes_what_was_done() {
    let place = Place::new();
    let wait = Step::ask("answer", Duration::from_secs(3_600), |_: Work<()>| async { Ok(()) });
    let wait: Step<(), ()> = wait;
    let path = Path::of(place.step("hotel")).step(wait);
    let node = place.node(definition(path).within(Duration::from_secs(600))).await;
    let began = place.world.now();
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Compensating).await;
    let late = place.world.now() - began - TimeDelta::seconds(600);
    assert!((TimeDelta::zero()..TimeDelta::milliseconds(250)).contains(&late), "{late}");
    node.reaches(&id, Phase::Compensated).await;
    assert_eq!(place.diary.lines(), ["hotel", "-hotel"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_after_the_pivot_is_told_and_the_saga_goes_on() {
    let place = Place::new();
    let mail: Step<(), ()> =
        Step::ask("mail", Duration::from_secs(3_600), |_: Work<()>| async { Ok(()) });
    let path = Path::of(place.step("charge").pivot()).step(mail.retriable());
    let node = place.node(definition(path).within(Duration::from_secs(600))).await;
    let id = node.begin("trip", &()).await;
    place.world.sleep(Duration::from_secs(700)).await;
    let state = node.sagas.state(&id).await.expect("a state");
    assert!(state.overdue && state.phase == Phase::Running, "{state:?}");
    node.sagas.answer(&id, "mail", &()).await.expect("it is taken");
    node.reaches(&id, Phase::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_try_that_takes_too_long_is_given_up_and_made_again() {
    let place = Place::new();
    let diary = place.diary.clone();
    let slow = Step::new("slow", move |work: Work<()>| {
        diary.write(&work.key.to_string());
        async move {
            if work.attempt < 3 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let slow = slow.timeout(Duration::from_secs(30));
    let node = place.node(definition(Path::of(slow))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Completed).await;
    let keys = place.diary.lines();
    assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[tokio::test(start_paused = true)]
async fn tries_are_made_again_after_pauses_that_grow() {
    let place = Place::new();
    let (diary, world) = (place.diary.clone(), place.world.clone());
    let began = world.now();
    let fails = Step::new("fails", move |_: Work<()>| {
        diary.write(&(world.now() - began).num_milliseconds().to_string());
        async { Err::<(), _>(StepError::failed("no")) }
    });
    let fails = fails.retry(RetryPolicy::new(4).jitter(0.0));
    let node = place.node(definition(Path::of(fails))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Compensated).await;
    let at: Vec<i64> = place.diary.lines().iter().map(|at| at.parse().expect("a number")).collect();
    let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, least) in pauses.iter().zip([1_000, 2_000, 4_000]) {
        assert!((least..least + 250).contains(pause), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_try() {
    let place = Place::new();
    let panics = Step::new("panics", |work: Work<()>| async move {
        assert!(work.attempt > 1, "the first try panics");
        Ok(())
    });
    let node = place.node(definition(Path::of(panics))).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Completed).await;
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_what_is_due_at_once_is_worked_off_within_the_bound() {
    const SAGAS: usize = 2_000;
    const AT_ONCE: usize = 16;
    let place = Place::new();
    let diary = place.diary.clone();
    let world = place.world.clone();
    let (now, most) = (std::sync::Arc::new(parking_lot::Mutex::new((0usize, 0usize))), ());
    let () = most;
    let counted = now.clone();
    let work = Step::new("work", move |_: Work<()>| {
        let (counted, world, diary) = (counted.clone(), world.clone(), diary.clone());
        async move {
            {
                let mut counted = counted.lock();
                counted.0 += 1;
                counted.1 = counted.1.max(counted.0);
            }
            world.sleep(Duration::from_millis(10)).await;
            counted.lock().0 -= 1;
            diary.write("done");
            Ok(())
        }
    });
    let path = || Path::of(work);
    let definition = Definition::new("trip", 1, path()).expect("a graph");
    let sagas = place.sagas().at_once(AT_ONCE).with(definition).expect("it is registered once");
    // Nobody runs them yet: all are due when somebody comes.
    for number in 0..SAGAS {
        let id = SagaId::new("trip", number).expect("an id");
        sagas.begin(&id, &()).await.expect("it begins");
    }
    let running = sagas.start().await.expect("it starts");
    for number in 0..SAGAS {
        let id = SagaId::new("trip", number).expect("an id");
        assert_eq!(sagas.ended(&id).await.expect("the log can be read"), Phase::Completed);
    }
    running.stop().await;
    assert_eq!(place.diary.lines().len(), SAGAS);
    assert!(now.lock().1 <= AT_ONCE, "{} at once", now.lock().1);
    let owner = es_core::Name::from_static(saga::Sagas::OWNER);
    assert_eq!(place.timers.next_due(&owner).await.expect("a store"), None, "no timer is left");
    let events = place.store.events(Read::all()).await.expect("a store").len();
    assert_eq!(events, SAGAS * 4, "started, began, succeeded, completed");
}
