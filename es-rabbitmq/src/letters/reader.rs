use std::sync::Arc;

use es_core::{Group, StoreError};
use futures_util::StreamExt;
use lapin::{
    Channel, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    protocol::AMQPSoftError,
    types::{AMQPValue, FieldTable},
};
use tracing::warn;

use super::{Change, Entry, Keep, Letters, Record};
use crate::{
    envelope::{self, Uid},
    error::{damaged, forgotten, is, silent, unavailable},
    server::{Server, WITHIN, name},
};

/// The header in which the server says where a record stands.
const OFFSET: &str = "x-stream-offset";
/// Records that the server sends before the first of them is acknowledged.
const AHEAD: u16 = 1_000;

/// Reads the log of a group from its beginning.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) letters: Letters,
    server: Arc<Server>,
    group: Group,
    channel: Channel,
    consumer: Consumer,
}

impl Reader {
    /// Begins to read; nothing if there is no such group.
    pub(crate) async fn open(
        server: &Arc<Server>,
        channel: Channel,
        group: &Group,
        keep: Keep,
    ) -> Result<Option<Self>, StoreError> {
        match consume(&channel, server.names.letters(group)).await {
            Ok(consumer) => Ok(Some(Self {
                letters: Letters::new(keep),
                server: Arc::clone(server),
                group: group.clone(),
                channel,
                consumer,
            })),
            Err(error) if is(&error, AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(unavailable("the dead letters cannot be read", error)),
        }
    }

    /// The next record, however long it takes.
    pub(crate) async fn next(&mut self) -> Result<Entry, StoreError> {
        loop {
            let delivery = self.next_of_any().await?;
            let at = envelope::number(&delivery.properties, OFFSET);
            let read = entry(delivery);
            match read.map_err(|why| damaged(format!("the log of {}", self.group), why))? {
                Some(entry) => return Ok(entry),
                None => warn!(group = %self.group, at, "a stranger wrote into the dead letters"),
            }
        }
    }

    async fn next_of_any(&mut self) -> Result<Delivery, StoreError> {
        let failed = |error| unavailable("the dead letters cannot be read", error);
        let next = self.consumer.next().await.ok_or_else(|| forgotten(&self.group))?;
        let delivery = next.map_err(failed)?;
        let acked = self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default());
        acked.await.map_err(failed)?;
        Ok(delivery)
    }

    /// Reads until this record, and says what it has changed.
    pub(crate) async fn read_to(&mut self, uid: Uid) -> Result<Change, StoreError> {
        loop {
            let world = self.server.world.clone();
            let entry = tokio::select! {
                entry = self.next() => entry?,
                () = world.sleep(WITHIN) => {
                    return Err(silent("the log of dead letters did not go on", WITHIN));
                }
            };
            let is_last = entry.uid == Some(uid);
            let change = self.letters.apply(entry);
            if is_last {
                return Ok(change);
            }
        }
    }
}

async fn consume(channel: &Channel, stream: String) -> Result<Consumer, lapin::Error> {
    channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
    let mut from = FieldTable::default();
    from.insert("x-stream-offset".into(), AMQPValue::LongString("first".into()));
    let options = BasicConsumeOptions::default();
    channel.basic_consume(name(stream), name(""), options, from).await
}

/// Nothing if it is no record.
fn entry(delivery: Delivery) -> Result<Option<Entry>, envelope::Unreadable> {
    let properties = &delivery.properties;
    let Some(record) = Record::read(properties)? else { return Ok(None) };
    let has_message = matches!(record, Record::Buried { .. } | Record::GivenBack { .. });
    let at = envelope::number(properties, OFFSET);
    let at = at.ok_or_else(|| envelope::Unreadable::missing(OFFSET))?;
    Ok(Some(Entry {
        at: at + 1,
        uid: envelope::uid(properties),
        message: match has_message {
            true => Some(envelope::message(properties, delivery.data.into())?),
            false => None,
        },
        record,
    }))
}
