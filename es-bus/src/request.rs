use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use es_core::{Address, Event, Group, Message, Order, Subscription, World};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};

use crate::{BusError, EventBus, RequestError, time::after};

/// Where the answer goes, in the metadata of a request.
pub(crate) const REPLY_TO: &str = "reply-to";

/// The pause before a broker that fails is asked again, and between two looks whether the
/// bus is still there.
const PAUSE: Duration = Duration::from_secs(1);

/// The requests of one bus that wait for an answer, and the queue on which it comes.
#[derive(Debug)]
pub(crate) struct Replies {
    queue: Group,
    listens: OnceCell<()>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Message>>>,
}

/// A request that waits; with it goes its place.
struct Waiting<'r> {
    replies: &'r Replies,
    id: String,
}

impl Replies {
    pub(crate) fn new(world: &World) -> Self {
        let queue = Group::new(format!("replies.{}", world.append_id()));
        Self {
            queue: queue.expect("an id is a word"),
            listens: OnceCell::new(),
            waiting: Mutex::default(),
        }
    }

    pub(crate) async fn ask<A: Event>(
        self: &Arc<Self>,
        bus: &EventBus,
        to: Address,
        mut request: Message,
        within: Duration,
    ) -> Result<A, RequestError> {
        self.listens.get_or_try_init(|| self.listen(bus)).await?;
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { replies: self, id: request.id.clone() };
        self.waiting.lock().insert(waiting.id.clone(), answer);
        request.metadata = request.metadata.with(REPLY_TO, self.queue.as_str());
        request.expires.get_or_insert(after(bus.world().now(), within));
        let asked = async {
            bus.send(to, vec![request]).await?;
            Ok::<_, BusError>(answered.await.ok())
        };
        let answer = tokio::select! {
            answer = asked => answer?,
            () = bus.world().sleep(within) => None,
        };
        let Some(answer) = answer else { return Err(RequestError::NoAnswer { waited: within }) };
        let kind = || answer.kind.to_string();
        answer.decode()?.ok_or_else(|| RequestError::Unexpected { kind: kind() })
    }

    /// Hands out answers as long as there is a bus. Its queue goes with it.
    async fn listen(self: &Arc<Self>, bus: &EventBus) -> Result<(), BusError> {
        let subscription = Subscription::of(self.queue.clone()).in_order(Order::None);
        let deliveries = bus.broker().consume(subscription.clone()).await?;
        let (replies, broker) = (Arc::downgrade(self), Arc::clone(bus.broker()));
        let (queue, world) = (self.queue.clone(), bus.world().clone());
        bus.world().detach(async move {
            let mut deliveries = Some(deliveries);
            while replies.strong_count() > 0 {
                let Some(open) = &mut deliveries else {
                    deliveries = broker.consume(subscription.clone()).await.ok();
                    if deliveries.is_none() {
                        world.sleep(PAUSE).await;
                    }
                    continue;
                };
                let delivery = tokio::select! {
                    delivery = open.next() => delivery,
                    // The bus may be gone, and nobody would say so.
                    () = world.sleep(PAUSE) => continue,
                };
                match delivery {
                    Some(Ok(delivery)) => {
                        hand_out(&replies, delivery.message.clone());
                        // An answer that comes again finds nobody.
                        drop(delivery.ack().await);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(%error, "no answers can be heard, trying again");
                        world.sleep(PAUSE).await;
                    }
                    None => deliveries = None,
                }
            }
            drop(broker.forget(&queue).await);
        });
        Ok(())
    }
}

fn hand_out(replies: &Weak<Replies>, answer: Message) {
    let Some(replies) = replies.upgrade() else { return };
    let Some(asked) = answer.metadata.fields().causation_id.clone() else { return };
    if let Some(waiting) = replies.waiting.lock().remove(&asked) {
        drop(waiting.send(answer));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.replies.waiting.lock().remove(&self.id);
    }
}
