use cqrs::Projector;
use es_core::memory::MemoryViews;
use saga::{Path, Phase, SagaRow, Step, Work};

use crate::place::{Place, definition};

#[tokio::test(start_paused = true)]
async fn sagas_are_listed_with_phase_step_and_age() {
    let place = Place::new();
    let ask: Step<(), ()> =
        Step::ask("ask", std::time::Duration::from_secs(60), |_: Work<()>| async { Ok(()) });
    let node = place.node(definition(Path::of(place.step("hotel")).step(ask))).await;
    let id = node.begin("trip", &()).await;
    let begun = || async { node.sagas.state(&id).await.expect("a state").step("ask").attempts > 0 };
    place.until(begun).await;
    let (store, views) = (place.store.clone(), MemoryViews::new());
    let projector = Projector::new(store, views).view::<SagaRow>();
    projector.catch_up().await.expect("it catches up");
    let row = projector.get::<SagaRow>(&"trip-1".into()).await.expect("a store").expect("a row");
    assert_eq!(row.id.as_ref(), Some(&id));
    assert_eq!(row.at().collect::<Vec<_>>(), ["ask"]);
    assert_eq!(saga::count_by_phase([&row])[&Phase::Running], 1);
    assert_eq!(row.state, node.sagas.state(&id).await.expect("a state"));
}

#[tokio::test(start_paused = true)]
async fn the_graph_shows_how_far_each_step_is() {
    let place = Place::new();
    let path = Path::of(place.step("hotel")).step(place.gate("flight"));
    let node = place.node(definition(path)).await;
    let id = node.begin("trip", &()).await;
    node.reaches(&id, Phase::Compensated).await;
    let story = node.sagas.story(&id).await.expect("a story");
    let mermaid = story.drawing().mermaid();
    assert!(mermaid.contains("n0[\"hotel\"]:::undone"), "{mermaid}");
    assert!(mermaid.contains("n1[\"flight\"]:::failed"), "{mermaid}");
    assert!(story.drawing().dot().contains("fillcolor"), "{}", story.drawing().dot());
}
