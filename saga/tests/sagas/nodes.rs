use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use es_core::Spawn;
use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use saga::{Begun, Definition, Path, Phase, SagaId, Sagas, Step, Work};
use tokio::task::AbortHandle;

use crate::place::{LEASE, Place, definition};

/// A process that can be killed.
#[derive(Debug, Clone, Default)]
struct Mortal(Arc<Mutex<Vec<AbortHandle>>>);

impl Mortal {
    fn kill(&self) {
        self.0.lock().drain(..).for_each(|task| task.abort());
    }
}

impl Spawn for Mortal {
    #[expect(clippy::disallowed_methods, reason = "this is where tasks come from")]
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.lock().push(tokio::spawn(task).abort_handle());
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_begin_a_saga_one_does() {
    let place = Place::new();
    let node = place.node(definition(Path::of(place.step("hotel")))).await;
    let id = SagaId::new("trip", 1).expect("an id");
    let begun = join_all((0..64).map(|_| node.sagas.begin(&id, &()))).await;
    let new = begun.into_iter().filter(|begun| matches!(begun, Ok(Begun::New))).count();
    assert_eq!(new, 1);
    node.reaches(&id, Phase::Completed).await;
    assert_eq!(place.diary.lines(), ["hotel"]);
}

/// A step whose first try never ends, so that its process can be killed in it.
fn hangs(counted: &Arc<AtomicU32>) -> Step<()> {
    let counted = Arc::clone(counted);
    Step::new("hangs", move |work: Work<()>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            if work.attempt == 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    })
}

fn on(place: &Place, mortal: &Mortal, definition: Definition<()>) -> Sagas {
    let world = place.world.clone().with_spawner(mortal.clone());
    place.sagas().in_world(world).with(definition).expect("it is registered once")
}

#[tokio::test(start_paused = true)]
async fn another_process_goes_on_with_what_a_dead_one_had_after_its_lease() {
    let place = Place::new();
    let (mortal, tries) = (Mortal::default(), Arc::new(AtomicU32::new(0)));
    let first = on(&place, &mortal, definition(Path::of(hangs(&tries))));
    let running = first.start().await.expect("it starts");
    let id = SagaId::new("trip", 1).expect("an id");
    first.begin(&id, &()).await.expect("it begins");
    // Long enough for the lease to have been renewed.
    place.world.sleep(LEASE * 3).await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    let died = place.world.now();
    mortal.kill();
    drop(running);

    let second = place.node(definition(Path::of(hangs(&tries)))).await;
    second.reaches(&id, Phase::Completed).await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    let took = place.world.now() - died;
    let bound = TimeDelta::from_std(LEASE).expect("a time") + TimeDelta::seconds(1);
    assert!(took <= bound, "{took} after it died");
}

#[tokio::test(start_paused = true)]
async fn nobody_takes_what_another_process_goes_on_with() {
    let place = Place::new();
    let tries = Arc::new(AtomicU32::new(0));
    let slow = || {
        let (tries, world) = (Arc::clone(&tries), place.world.clone());
        definition(Path::of(Step::new("slow", move |_: Work<()>| {
            tries.fetch_add(1, Ordering::SeqCst);
            let nap = world.sleep(LEASE * 10);
            async move {
                nap.await;
                Ok(())
            }
        })))
    };
    let first = place.node(slow()).await;
    let second = place.node(slow()).await;
    let id = first.begin("trip", &()).await;
    second.reaches(&id, Phase::Completed).await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_to_another_process_wakes_the_saga() {
    let place = Place::new();
    let ask = || {
        let ask = Step::ask("ask", Duration::from_secs(3_600), |_: Work<()>| async { Ok(()) });
        let ask: Step<(), ()> = ask;
        definition(Path::of(ask).step(Step::new("end", |_: Work<()>| async { Ok(()) })))
    };
    let first = place.node(ask()).await;
    let second = place.node(ask()).await;
    let id = first.begin("trip", &()).await;
    let begun =
        || async { first.sagas.state(&id).await.expect("a state").step("ask").attempts > 0 };
    place.until(begun).await;
    let began = place.world.now();
    second.sagas.answer(&id, "ask", &()).await.expect("it is taken");
    second.reaches(&id, Phase::Completed).await;
    assert!(place.world.now() - began < TimeDelta::seconds(1));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_by_one_that_stops_another_one_goes_on_with_at_once() {
    let place = Place::new();
    let path = || {
        let world = place.world.clone();
        let slow = Step::new("slow", move |_: Work<()>| {
            let nap = world.sleep(Duration::from_secs(1));
            async move {
                nap.await;
                Ok(())
            }
        });
        definition(Path::of(slow).step(place.step("end")))
    };
    let first = place.node(path()).await;
    let id = first.begin("trip", &()).await;
    first.running.stop().await;
    assert_eq!(first.sagas.state(&id).await.expect("a state").step("slow").attempts, 1);
    assert!(place.diary.lines().is_empty(), "it begins nothing more");
    let (second, began) = (place.node(path()).await, place.world.now());
    second.reaches(&id, Phase::Completed).await;
    assert!(place.world.now() - began < TimeDelta::seconds(1));
}

#[tokio::test(start_paused = true)]
async fn sagas_are_found_again_when_the_timers_are_lost() {
    let place = Place::new();
    let mut place = place;
    let sagas = place.sagas().with(definition(Path::of(place.step("end")))).expect("once");
    let id = SagaId::new("trip", 1).expect("an id");
    sagas.begin(&id, &()).await.expect("it begins");
    place.timers = es_core::memory::MemoryTimers::new();
    let node = place.node(definition(Path::of(place.step("end")))).await;
    assert_eq!(node.sagas.recover().await.expect("a log"), 1);
    node.reaches(&id, Phase::Completed).await;
}
