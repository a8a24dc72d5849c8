//! One partition, from when this process takes it until it hands it over.

use std::time::Duration;

use bytes::Bytes;
use es_core::{Address, Group, StoreError, Topic};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};

use super::{
    Members,
    queue::Arrived,
    returned::{MARK, Returned, is_mark},
};
use crate::{
    envelope::{self, Uid},
    error::{forgotten, is, unavailable},
    server::{FINE, Parcel, name},
};

/// Most messages of a partition that a process has and has not settled. All programs have
/// to agree about it: see [`returned`](super::returned).
pub(super) const AHEAD: u16 = 1_000;
/// How long a mark is waited for before another one is put behind it.
const MARK_AGAIN: Duration = Duration::from_secs(2);

impl Members {
    /// Hands out a partition, over a channel of its own, until it is to be handed over.
    pub(super) async fn hand_out(&self, unit: u32, channel: Channel) -> Result<(), StoreError> {
        let ended = match self.hand_out_until_it_ends(unit, &channel).await {
            Ok(()) => self.settle(unit, &channel).await,
            lost => lost,
        };
        self.queue.lock().end(unit);
        self.changed.notify_waiters();
        self.close_channel(unit).await;
        ended
    }

    /// Gives back what was not settled. The consumer is dropped after its channel is closed:
    /// that would cancel it, and whoever comes next got what is new before what is in hand
    /// here.
    async fn close_channel(&self, unit: u32) {
        let held = self.held.lock().remove(&unit);
        if let Some((channel, consumer)) = held {
            // If it cannot be closed, it is gone.
            let _ = channel.close(FINE, name("handed over")).await;
            drop(consumer);
        }
    }

    /// The same of all that are left.
    pub(super) async fn close_channels(&self) {
        let units: Vec<_> = self.held.lock().keys().copied().collect();
        for unit in units {
            self.close_channel(unit).await;
        }
    }

    async fn hand_out_until_it_ends(&self, unit: u32, channel: &Channel) -> Result<(), StoreError> {
        let mut consumer = self.consumer(unit, channel).await?;
        self.held.lock().insert(unit, (channel.clone(), consumer.clone()));
        let returned = self.returned(unit, channel, &mut consumer).await?;
        self.catch_up().await?;
        self.begin(unit, channel);
        for delivery in returned.in_order() {
            self.take_in(unit, channel, delivery).await?;
        }
        self.queue.lock().is_open(unit);
        self.changed.notify_waiters();
        loop {
            let mut let_go = std::pin::pin!(self.let_go.notified());
            let_go.as_mut().enable();
            if self.queue.lock().is_left(unit) {
                return Ok(());
            }
            tokio::select! {
                delivery = self.next_of(&mut consumer) => {
                    self.take_in(unit, channel, delivery?).await?;
                }
                () = let_go => {}
            }
        }
    }

    /// All that came back. A mark may come back itself, from a process that had it and went:
    /// then another one says where it ends.
    async fn returned(
        &self,
        unit: u32,
        channel: &Channel,
        consumer: &mut Consumer,
    ) -> Result<Returned, StoreError> {
        let mut returned = Returned::default();
        loop {
            self.mark(unit, channel).await?;
            let mut again = std::pin::pin!(self.server.world.sleep(MARK_AGAIN));
            loop {
                tokio::select! {
                    delivery = self.next_of(consumer) => {
                        if returned.push(delivery?) {
                            return Ok(returned);
                        }
                    }
                    () = &mut again => break,
                }
            }
        }
    }

    async fn consumer(&self, unit: u32, channel: &Channel) -> Result<Consumer, StoreError> {
        let failed = |error: lapin::Error| match is(&error, AMQPSoftError::NOTFOUND) {
            true => forgotten(&self.group),
            false => unavailable("a queue cannot be consumed from", error),
        };
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(failed)?;
        channel.basic_qos(AHEAD, BasicQosOptions::default()).await.map_err(failed)?;
        let queue = name(self.server.names.queue(unit, &self.group));
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, name(""), options, FieldTable::default());
        consumer.await.map_err(failed)
    }

    /// Waits until the server has written down what was acknowledged. It holds some of that
    /// back while much is on its way, and forgets it if the channel is closed then; a message
    /// that is published over the same channel takes the same way. When the first is
    /// confirmed, what was held back is on its way too, and before the second.
    async fn settle(&self, unit: u32, channel: &Channel) -> Result<(), StoreError> {
        self.mark(unit, channel).await?;
        self.mark(unit, channel).await
    }

    /// Puts a mark behind all that is in the queue now.
    async fn mark(&self, unit: u32, channel: &Channel) -> Result<(), StoreError> {
        let mut headers = envelope::headers(Uid::new(&self.server.world));
        headers.insert(MARK.into(), AMQPValue::Boolean(true));
        let parcel = Parcel {
            exchange: String::new(),
            key: self.server.names.queue(unit, &self.group),
            properties: envelope::lasting(),
            headers,
            payload: Bytes::new(),
            must_arrive: true,
        };
        match self.server.put_over(channel, &parcel).await? {
            true => Ok(()),
            false => Err(forgotten(&self.group)),
        }
    }

    /// The server ends a consumer without a word if its queue is removed.
    async fn next_of(&self, consumer: &mut Consumer) -> Result<Delivery, StoreError> {
        let next = consumer.next().await.ok_or_else(|| forgotten(&self.group))?;
        next.map_err(|error| unavailable("a partition is lost", error))
    }

    fn begin(&self, unit: u32, channel: &Channel) {
        let partition_of = |message: &_| self.server.names.partition(message);
        self.queue.lock().begin(unit, channel.clone(), partition_of);
    }

    async fn take_in(
        &self,
        unit: u32,
        channel: &Channel,
        delivery: Delivery,
    ) -> Result<(), StoreError> {
        if is_mark(&delivery) {
            let acked = channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default());
            return acked.await.map_err(|error| unavailable("a partition is lost", error));
        }
        self.queue.lock().push(unit, arrived(delivery, &self.group));
        self.changed.notify_waiters();
        Ok(())
    }
}

fn arrived(delivery: Delivery, group: &Group) -> Arrived {
    let Delivery { delivery_tag, exchange, routing_key, properties, data, .. } = delivery;
    let payload = Bytes::from(data);
    let topic = routing_key.as_str().split_once('.').and_then(|(_, topic)| Topic::new(topic).ok());
    let to = match topic {
        Some(topic) if !exchange.as_str().ends_with(".groups") => Address::Topic(topic),
        _ => Address::Queue(group.clone()),
    };
    let (message, unreadable) = match envelope::message(&properties, payload.clone()) {
        Ok(message) => (message, None),
        Err(why) => (envelope::unreadable(&properties, payload), Some(why.to_string())),
    };
    Arrived { tag: delivery_tag, to, message, uid: envelope::uid(&properties), unreadable }
}
