//! Orders as sagas of five steps, whose effects are noted by a receiver that knows a key that
//! it has seen: a stream of the same log.

use std::{sync::Arc, time::Duration};

use es_core::{
    AppendId, Batch, ContentType, EventStore, EventStoreExt, Name, NewEvent, Read, StoreError,
    StreamId, Timers, World,
};
use saga::{Definition, Path, RetryPolicy, SagaError, SagaId, Sagas, Step, StepError, Work};
use serde::{Deserialize, Serialize};

/// So short that what a dead worker had is taken over soon, and so long that renewals are but a
/// part of the work on a slow machine.
pub const LEASE: Duration = Duration::from_secs(1);
/// How many orders a process goes on with at once.
const AT_ONCE: usize = 32;
/// The steps, each behind those that it follows.
pub const STEPS: [&str; 5] = ["reserve", "pack", "label", "charge", "ship"];

/// An order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    /// Its number.
    pub number: u64,
    packed: Option<String>,
}

impl Order {
    /// The order with this number.
    pub fn new(number: u64) -> Self {
        Self { number, packed: None }
    }

    /// Whether the charge is refused.
    pub fn is_refused(&self) -> bool {
        self.number.is_multiple_of(3)
    }
}

/// The saga of an order.
pub fn id_of(number: u64) -> SagaId {
    SagaId::new("order", number).expect("a number makes a name")
}

/// A bug that the check has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// None.
    None,
    /// Each try has a key of its own.
    KeyOfTheTry,
}

/// What begins orders, and goes on with them.
///
/// # Errors
///
/// [`SagaError`] if the definition cannot be registered.
pub fn sagas<S: EventStore + Timers + Clone>(store: &S, bug: Bug) -> Result<Sagas, SagaError> {
    let sagas = Sagas::new(store.clone(), store.clone());
    let sagas = sagas.lease(LEASE).poll(Duration::from_millis(50)).at_once(AT_ONCE);
    sagas.with(order(Arc::new(store.clone()), bug))
}

fn order(store: Arc<dyn EventStore>, bug: Bug) -> Definition<Order> {
    let step = |name| step(name, Arc::clone(&store), bug);
    let packed = |order: &mut Order, packed| order.packed = Some(packed);
    let path = Path::of(step("reserve"))
        .all([Path::of(step("pack").extend(packed)), Path::of(step("label"))])
        .step(step("charge").pivot())
        .step(step("ship").retriable());
    Definition::new("order", 1, path).expect("a graph that can be run")
}

fn step(name: &'static str, store: Arc<dyn EventStore>, bug: Bug) -> Step<Order, String> {
    let (done, undone) = (Arc::clone(&store), store);
    let forward = move |work: Work<Order>| {
        let store = Arc::clone(&done);
        async move {
            if name == "charge" && work.data.is_refused() {
                return Err(StepError::refused("the card has expired"));
            }
            note(&*store, &work, name, key(&work, bug)).await?;
            if work.data.number.is_multiple_of(5) && work.attempt == 1 && name != "ship" {
                return Err(StepError::failed("the answer is lost"));
            }
            Ok(name.to_owned())
        }
    };
    let step = Step::new(name, forward);
    let step = step.retry(RetryPolicy::new(8).first(Duration::from_millis(20)));
    if name == "charge" || name == "ship" {
        return step;
    }
    step.compensate(move |work| {
        let store = Arc::clone(&undone);
        async move { Ok(note(&*store, &work, &format!("-{name}"), key(&work, bug)).await?) }
    })
}

fn key(work: &Work<Order>, bug: Bug) -> AppendId {
    match bug {
        Bug::None => work.key,
        Bug::KeyOfTheTry => AppendId::derive(&format!("{} {}", work.key, work.attempt)),
    }
}

async fn note(
    store: &dyn EventStore,
    work: &Work<Order>,
    line: &str,
    key: AppendId,
) -> Result<(), es_core::AppendError> {
    let event = NewEvent::raw(
        World::real().event_id(),
        Name::from_static("effect.noted"),
        ContentType::JSON,
        format!("\"{line}\""),
    );
    store.append(Batch::to(receiver(work.data.number)).event(event).append_id(key)).await?;
    Ok(())
}

fn receiver(number: u64) -> StreamId {
    StreamId::new("receiver", number).expect("a number makes a name")
}

/// What has happened outside for an order, in its order.
///
/// # Errors
///
/// [`StoreError`] if the store fails.
pub async fn effects(store: &dyn EventStore, number: u64) -> Result<Vec<String>, StoreError> {
    let events = store.events(Read::stream(&receiver(number))).await?;
    let line = |payload: &[u8]| String::from_utf8_lossy(payload).trim_matches('"').to_owned();
    Ok(events.iter().map(|event| line(&event.payload)).collect())
}
