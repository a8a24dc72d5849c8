use std::{sync::Arc, time::Duration};

use cqrs::Event;
use es_bus::{Endpoint, HandleError, Ready, Received, RetryPolicy};
use es_core::{Batch, Codec, NewEvent, StreamId, World};
use serde::{Deserialize, Serialize};

use super::Inbox;

/// Messages that are handled at once.
const CONCURRENCY: usize = 8;
/// Messages that a program holds, so that a kill takes some along.
const WINDOW: usize = 64;
/// What a handler takes at most, in milliseconds.
const WORK: u64 = 4;

/// A bell was rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Event)]
#[event(name = "bell.rung")]
pub struct Rung {
    /// Which one.
    pub bell: u64,
    /// For which time, from 1.
    pub number: u64,
}

/// The append of it, to the stream of its bell.
pub fn batch_of(rung: Rung) -> Batch {
    let event = NewEvent::encode(&rung, World::real().event_id(), Codec::Json);
    let stream = StreamId::new("bell", rung.bell).expect("digits make a name");
    Batch::to(stream).event(event.expect("numbers can be written"))
}

/// An endpoint that enters what it hears.
pub fn ears(inbox: &Arc<Inbox>) -> Ready {
    let inbox = Arc::clone(inbox);
    let ears = Endpoint::new(Inbox::ENDPOINT).and_then(|ears| ears.to("bell.*"));
    let ears = ears.expect("these are names").concurrency(CONCURRENCY).window(WINDOW);
    // What fails is tried again until it is done.
    let ears = ears.retry(RetryPolicy::new(u32::MAX).first(Duration::from_millis(20)));
    ears.handle(move |received| hear(Arc::clone(&inbox), received))
}

async fn hear(inbox: Arc<Inbox>, received: Received<Rung>) -> Result<(), HandleError> {
    let id = &received.message.id;
    tokio::task::block_in_place(|| inbox.note(id))?;
    let work = Duration::from_millis(World::real().random_u64() % WORK);
    World::real().sleep(work).await;
    Ok(tokio::task::block_in_place(|| inbox.enter(id, received.event))?)
}
