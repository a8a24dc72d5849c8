//! Dead letters: what became of them stands in a stream, record after record.

use async_trait::async_trait;
use bytes::Bytes;
use es_core::{DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Group, Message, StoreError};
use lapin::BasicProperties;

mod fold;
mod reader;

pub(crate) use fold::{Change, Keep, Letters};
pub(crate) use reader::Reader;

use crate::{
    RabbitBroker,
    envelope::{self, Uid, Unreadable},
    error::forgotten,
    server::{Parcel, Server},
};
use serde::{Deserialize, Serialize};

const RECORD: &str = "gesta-record";
/// Most signs of what a handler said: each may take six bytes in a header.
pub(crate) const REASON: usize = 2_000;

/// What is known of a dead letter beside its message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Its message in the queue.
    pub(crate) uid: Option<Uid>,
    pub(crate) to: es_core::Address,
    pub(crate) fault: es_core::Fault,
    pub(crate) attempts: u32,
    pub(crate) at: chrono::DateTime<chrono::Utc>,
    /// Whether it stands in the lane of all messages of the group.
    pub(crate) is_whole: bool,
    /// Whether it has a lane.
    pub(crate) has_lane: bool,
}

/// What happened.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Record {
    /// A message was kept apart; again under this number, if it has one.
    Buried { number: Option<u64>, known: Known },
    /// The letter of this number goes back, as the message that comes with this.
    GivenBack { number: u64 },
    /// The letter of this number is gone.
    Discarded { number: u64 },
    /// What was given back under this number was handled.
    Done { number: u64 },
    /// Nothing: whoever finds it has read all that was before it.
    Looked,
}

/// A record as it stands in the log.
#[derive(Debug)]
pub(crate) struct Entry {
    /// From 1.
    pub(crate) at: u64,
    pub(crate) uid: Option<Uid>,
    pub(crate) record: Record,
    pub(crate) message: Option<Message>,
}

impl Record {
    /// As it is written: with a message, if it has one.
    pub(crate) fn parcel(
        &self,
        server: &Server,
        group: &Group,
        uid: Uid,
        message: Option<&Message>,
    ) -> Result<Parcel, StoreError> {
        let mut headers = envelope::headers(uid);
        envelope::put(&mut headers, RECORD, self)?;
        let mut payload = Bytes::new();
        if let Some(message) = message {
            envelope::put_message(&mut headers, message)?;
            payload = message.payload.clone();
        }
        Ok(Parcel {
            exchange: String::new(),
            key: server.names.letters(group),
            properties: envelope::lasting(),
            headers,
            payload,
            must_arrive: true,
        })
    }

    fn read(properties: &BasicProperties) -> Result<Option<Self>, Unreadable> {
        envelope::get(properties, RECORD)
    }
}

/// Writes a record, and says whether there is a log.
pub(crate) async fn append(
    server: &Server,
    group: &Group,
    uid: Uid,
    record: &Record,
    message: Option<&Message>,
) -> Result<bool, StoreError> {
    let parcel = record.parcel(server, group, uid, message)?;
    server.check(&parcel.headers).await?;
    server.put(&parcel).await
}

impl RabbitBroker {
    /// Reads all that was written until now; nothing if there is no such group.
    async fn read_letters(&self, group: &Group) -> Result<Option<Reader>, StoreError> {
        let channel = self.server.channel().await?;
        let Some(mut reader) = Reader::open(&self.server, channel, group, Keep::All).await? else {
            return Ok(None);
        };
        let is_there = self.write(&mut reader, group, &Record::Looked, None).await?;
        Ok(is_there.is_some().then_some(reader))
    }

    /// Writes a record, reads until it, and says what it has changed. Members of this process
    /// know of it then too.
    async fn write(
        &self,
        reader: &mut Reader,
        group: &Group,
        record: &Record,
        message: Option<&Message>,
    ) -> Result<Option<Change>, StoreError> {
        let uid = Uid::new(&self.server.world);
        let heard = self.heard(group, uid);
        if !append(&self.server, group, uid, record, message).await? {
            return Ok(None);
        }
        let change = reader.read_to(uid).await?;
        if !matches!(record, Record::Looked) {
            heard.await;
        }
        Ok(Some(change))
    }
}

#[async_trait]
impl DeadLetters for RabbitBroker {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let Some(reader) = self.read_letters(&query.group).await? else { return Ok(Vec::new()) };
        let letters = reader.letters.dead(query.after.0).take(query.limit);
        Ok(letters.filter_map(|(id, letter)| letter.dead(DeadLetterId(id), &query.group)).collect())
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        let Some(mut reader) = self.read_letters(group).await? else { return Ok(false) };
        let Some(letter) = reader.letters.get(id.0) else { return Ok(false) };
        let Some(message) = edited.or_else(|| letter.message.clone()) else { return Ok(false) };
        let record = Record::GivenBack { number: id.0 };
        let change = self.write(&mut reader, group, &record, Some(&message)).await?;
        match change {
            None => Err(forgotten(group)),
            Some(change) => Ok(change == Change::GivenBack(id.0)),
        }
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        let Some(mut reader) = self.read_letters(group).await? else { return Ok(false) };
        if reader.letters.get(id.0).is_none() {
            return Ok(false);
        }
        let record = Record::Discarded { number: id.0 };
        let change = self.write(&mut reader, group, &record, None).await?;
        Ok(change == Some(Change::Gone))
    }
}
