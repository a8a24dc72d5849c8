//! Batches of one event to the memory store, and nothing around it.

use anyhow::Result;
use gesta::{
    Batch, Codec, EventStore, Expected, NewEvent, Version, World, memory::MemoryStore, stream_of,
};

use crate::{
    contest::{Against, Role, Unit, Workload},
    domain::{ACCOUNTS, Account, AccountEvent, account},
    limits,
    measure::{Measured, all_at_once, on_runtime, timed_async},
};

const EVENTS: u32 = 400_000;

/// Whether making and encoding the batches counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Before,
    Timed,
}

pub(crate) fn append(name: &'static str, tasks: usize) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "raw push", move |_| limits::push(tasks, EVENTS))
        .with(Role::Gesta, "append", move |_| run(tasks, Encoding::Before))
        .with(Role::Gesta, "encode and append", move |_| run(tasks, Encoding::Timed))
        .goal(Against::Nothing, 1_000_000.0)
}

fn run(tasks: usize, encoding: Encoding) -> Result<Measured> {
    on_runtime(async move {
        let store = MemoryStore::new();
        let each = usize::try_from(EVENTS)? / tasks;
        let made = |task| match encoding {
            Encoding::Before => batches(task, each).collect::<Result<Vec<_>>>().map(Some),
            Encoding::Timed => Ok(None),
        };
        let made = (0..tasks).map(made).collect::<Result<Vec<_>>>()?;
        let writer = |(task, made)| write(store.clone(), task, each, made);
        let tasks = made.into_iter().enumerate().map(writer);
        let (elapsed, ()) = timed_async(all_at_once(tasks)).await?;
        Measured::of_one(EVENTS, elapsed)
    })
}

async fn write(
    store: MemoryStore,
    task: usize,
    each: usize,
    made: Option<Vec<Batch>>,
) -> Result<()> {
    match made {
        Some(made) => {
            for batch in made {
                store.append(batch).await?;
            }
        }
        None => {
            for batch in batches(task, each) {
                store.append(batch?).await?;
            }
        }
    }
    Ok(())
}

/// Batches for the accounts of one task in turn, with expected version and
/// append id, as the command bus makes them.
fn batches(task: usize, count: usize) -> impl Iterator<Item = Result<Batch>> + Send {
    let world = World::real();
    (0..count).map(move |number| {
        let (round, place) = (number / ACCOUNTS, number % ACCOUNTS);
        let event = AccountEvent::deposited(number as u64);
        let event = NewEvent::encode(&event, world.event_id(), Codec::Json)?;
        let stream = stream_of::<Account>(&account(task * ACCOUNTS + place))?;
        let batch = Batch::to(stream).expect(Expected::Exact(Version::NONE.plus(round)));
        Ok(batch.event(event).append_id(world.append_id()))
    })
}
