//! A handler that sends a command: the message's id is the command's.

use std::sync::Arc;

use cqrs::{Aggregate, Command, Commands, Decide, Event, Evolve, Sent};
use es_bus::{EventBus, HandleError, Received};
use es_core::{AppendId, EventStoreExt, Read, Rejection};
use es_sqlite::SqliteStore;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{Careless, endpoint, send_twice, until};

#[derive(Serialize, Deserialize, Event)]
#[event(name = "letter.written")]
struct Written;

#[derive(Default, Aggregate)]
struct Letter {
    is_written: bool,
}

impl Evolve for Letter {
    type Event = Written;

    fn evolve(&mut self, _: &Written) {
        self.is_written = true;
    }
}

#[derive(Command)]
#[command(aggregate = Letter)]
struct Write {
    #[id]
    letter: String,
}

impl Decide<Write> for Letter {
    fn decide(&self, _: &Write) -> Result<Vec<Written>, Rejection> {
        Ok(vec![Written])
    }
}

/// It needs no inbox: sent again, a command gives its first result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_again_is_one_command_with_one_result() {
    const MESSAGES: u32 = 20;
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("log.db")).await.unwrap();
    let commands = Commands::new(store.clone());
    let (sent, careless) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Careless::default()));
    let results = Arc::clone(&sent);
    let write = move |received: Received<()>| {
        let (commands, sent, careless) = (commands.clone(), sent.clone(), careless.clone());
        async move {
            let message = received.message;
            let id = AppendId::derive(&format!("mails/{}", message.id));
            let letter = message.key.clone().unwrap_or_default();
            let done = commands.once(id).send(Write { letter }).await;
            let done = done.map_err(HandleError::transient)?;
            sent.lock().push((message.id.clone(), done));
            careless.answer(&message)
        }
    };
    let bus = EventBus::for_testing();
    send_twice(&bus, MESSAGES).await;
    let running = bus.subscribe(endpoint().handle_message(write)).await.unwrap();
    until(&running, |stats| stats.handled == u64::from(MESSAGES) * 2).await;
    running.drain().await;

    assert_eq!(store.events(Read::all()).await.unwrap().len(), MESSAGES as usize);
    store.close().await;
    let results = results.lock();
    assert_eq!(results.len(), MESSAGES as usize * 3);
    for id in 0..MESSAGES {
        let id = id.to_string();
        let of: Vec<_> =
            results.iter().filter(|(of, _)| *of == id).map(|(_, sent)| *sent).collect();
        let again = Sent { repeated: true, ..of[0] };
        assert!(!of[0].repeated);
        assert_eq!(of[1..], [again, again]);
    }
}
