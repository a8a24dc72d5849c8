//! From a transaction of one program into a transaction of another one: a message is
//! published if what it tells of was committed, and what it leads to happens once.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod commands;
mod inboxes;
mod outboxes;
mod replays;
mod schema;

use std::{collections::HashSet, time::Duration};

use es_bus::{Endpoint, EndpointStats, EventBus, RetryPolicy, Running};
use es_core::{ContentType, Group, Message, Name};
use parking_lot::Mutex;

/// How long anything may take that is to come about.
const SOON: Duration = Duration::from_secs(60);

fn group() -> Group {
    Group::new("mails").unwrap()
}

fn message(id: u32) -> Message {
    let kind = Name::from_static("mail.wanted");
    Message::new(id.to_string(), kind, ContentType::JSON, "{}").with_key((id % 7).to_string())
}

/// An endpoint that tries again soon.
fn endpoint() -> Endpoint {
    let retry = RetryPolicy::new(5).first(Duration::from_millis(1));
    Endpoint::new("mails").unwrap().retry(retry)
}

/// Each message comes twice, by a sender who has not learnt that it arrived.
async fn send_twice(bus: &EventBus, messages: u32) {
    for id in 0..messages {
        bus.send(group(), vec![message(id), message(id)]).await.unwrap();
    }
}

async fn until(running: &Running, is_so: impl Fn(EndpointStats) -> bool) {
    let waiting = async {
        while !is_so(running.stats()) {
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(SOON, waiting).await;
    assert!(ended.is_ok(), "{:?}", running.stats());
}

/// Loses the answer to the first delivery of each message, after all was done.
#[derive(Default)]
struct Careless(Mutex<HashSet<String>>);

impl Careless {
    fn answer(&self, message: &Message) -> Result<(), es_bus::HandleError> {
        match self.0.lock().insert(message.id.clone()) {
            true => Err(es_bus::HandleError::transient("the answer is lost")),
            false => Ok(()),
        }
    }
}
