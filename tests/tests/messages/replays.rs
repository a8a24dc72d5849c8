//! What a replay may not pass over: transactions that end in another order than they began.

use std::sync::Arc;

use es_bus::{HandleError, Ready, Received, Replay};
use es_core::{EventStore, Outgoing, Read};
use parking_lot::Mutex;
use sqlx::Connection;

use crate::{endpoint, group, message, schema::in_a_schema};

type Handled = Arc<Mutex<Vec<String>>>;

fn mails() -> (Handled, Ready) {
    let handled = Handled::default();
    let notes = Arc::clone(&handled);
    let ready = endpoint().handle_message(move |received: Received<()>| {
        assert!(received.is_replay());
        notes.lock().push(received.message.id);
        async { Ok::<_, HandleError>(()) }
    });
    (handled, ready)
}

/// One that has drawn its position and commits late is in the next replay, and none is twice.
#[tokio::test]
async fn a_replay_ends_before_what_others_are_still_at() {
    in_a_schema("replay", async |schema| {
        let ((handled, mails), store) = (mails(), &schema.store);
        store.append(Outgoing::new(group(), message(1)).into()).await.unwrap();
        let mut session = schema.session().await;
        let mut tx = session.begin().await.unwrap();
        store.append_in(&mut tx, Outgoing::new(group(), message(2)).into()).await.unwrap();
        store.append(Outgoing::new(group(), message(3)).into()).await.unwrap();

        let outbox = || Read::category("outbox").unwrap();
        let first = Replay::of(store, outbox()).to(&mails).await.unwrap();
        assert_eq!(*handled.lock(), ["1"]);
        tx.commit().await.unwrap();
        let rest = outbox().after(first.through);
        let rest = Replay::of(store, rest).per_second(1_000).to(&mails).await.unwrap();
        assert_eq!(*handled.lock(), ["1", "2", "3"]);
        assert_eq!((first.handled, rest.handled), (1, 2));
    })
    .await;
}
