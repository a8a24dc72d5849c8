//! Dead letters: each is the last message of a subject of its own.

use async_nats::jetstream::message::StreamMessage;
use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use es_core::{
    Address, DeadLetter, DeadLetterId, DeadLetterQuery, DeadLetters, Fault, Group, Message,
    StoreError,
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::{
    NatsBroker,
    envelope::{self, Notice},
    error::{damaged, unavailable},
    group::Unsettled,
    server::{Put, Server},
};

const LETTER: &str = "Gesta-Letter";
/// Most signs of what a handler said: each may take six bytes in a header.
const REASON: usize = 2_000;
/// Letters that are asked for at once.
const AT_ONCE: usize = 16;

/// What is known of a dead letter beside its message.
#[derive(Serialize, Deserialize)]
struct Known {
    to: Address,
    fault: Fault,
    attempts: u32,
    at: DateTime<Utc>,
}

/// Keeps a message apart under its number, if what stands there has the expected revision:
/// 0 if nothing does.
pub(crate) async fn write(
    server: &Server,
    group: &Group,
    unsettled: &Unsettled,
    fault: &Fault,
    expected: u64,
) -> Result<Put, StoreError> {
    let mut fault = fault.clone();
    if let Some((end, _)) = fault.reason.char_indices().nth(REASON) {
        fault.reason.truncate(end);
    }
    let known = Known {
        to: unsettled.to.clone(),
        fault,
        attempts: unsettled.attempt,
        at: server.world.now().trunc_subsecs(6),
    };
    let mut headers = envelope::headers(&unsettled.message)?;
    envelope::put(&mut headers, LETTER, &known)?;
    let subject = server.names.letter(unsettled.number, group);
    server.put(&subject, headers, unsettled.message.payload.clone(), Some(expected)).await
}

/// The revision of the dead letter with this number; 0 if there is none.
pub(crate) async fn revision(
    server: &Server,
    group: &Group,
    number: u64,
) -> Result<u64, StoreError> {
    let found = server.last(&server.names.letter(number, group)).await?;
    Ok(found.map_or(0, |found| found.sequence))
}

/// Removes the dead letter of this revision, and says whether it was there.
pub(crate) async fn remove(server: &Server, revision: u64) -> Result<bool, StoreError> {
    use async_nats::jetstream::{ErrorCode, stream::DeleteMessageErrorKind as Kind};
    match server.state.delete_message(revision).await {
        Ok(removed) => Ok(removed),
        Err(error) => match error.kind() {
            Kind::JetStream(said)
                if said.error_code() == ErrorCode::NO_MESSAGE_FOUND
                    || said.error_code() == ErrorCode::STREAM_MESSAGE_DELETE_FAILED =>
            {
                Ok(false)
            }
            _ => Err(unavailable("the dead letter was not removed", error)),
        },
    }
}

/// The numbers of all dead letters of a group, in order.
async fn numbers(server: &Server, group: &Group) -> Result<Vec<u64>, StoreError> {
    let subjects = server.subjects(&server.names.letters(group)).await?;
    let mut numbers: Vec<_> =
        subjects.iter().filter_map(|subject| server.names.letter_id(subject)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// All dead letters of a group, one after the other.
pub(crate) async fn all(
    server: &Server,
    group: &Group,
) -> Result<impl Stream<Item = Result<DeadLetter, StoreError>>, StoreError> {
    let numbers = numbers(server, group).await?;
    Ok(read_all(server, group, numbers))
}

fn read_all(
    server: &Server,
    group: &Group,
    numbers: Vec<u64>,
) -> impl Stream<Item = Result<DeadLetter, StoreError>> {
    let found = numbers.into_iter().map(|number| find(server, group, DeadLetterId(number)));
    let found = stream::iter(found).buffered(AT_ONCE);
    found.try_filter_map(async |found| Ok(found.map(|found| found.1)))
}

/// The dead letter, and where it stands.
async fn find(
    server: &Server,
    group: &Group,
    id: DeadLetterId,
) -> Result<Option<(u64, DeadLetter)>, StoreError> {
    let subject = server.names.letter(id.0, group);
    let Some(found) = server.last(&subject).await? else { return Ok(None) };
    Ok(Some((found.sequence, letter(group, id, &subject, found)?)))
}

fn letter(
    group: &Group,
    id: DeadLetterId,
    subject: &str,
    found: StreamMessage,
) -> Result<DeadLetter, StoreError> {
    let headers = Some(&found.headers);
    let known: Option<Known> =
        envelope::get(headers, LETTER).map_err(|why| damaged(subject, why))?;
    let known = known.ok_or_else(|| damaged(subject, "it is no dead letter"))?;
    let message = envelope::message(headers, found.payload).map_err(|why| damaged(subject, why))?;
    let Known { to, fault, attempts, at } = known;
    Ok(DeadLetter::new(id, group.clone(), (to, message), fault, attempts, at))
}

#[async_trait]
impl DeadLetters for NatsBroker {
    async fn dead_letters(&self, query: DeadLetterQuery) -> Result<Vec<DeadLetter>, StoreError> {
        let mut numbers = numbers(&self.server, &query.group).await?;
        numbers.retain(|number| *number > query.after.0);
        numbers.truncate(query.limit);
        read_all(&self.server, &query.group, numbers).try_collect().await
    }

    async fn give_back(
        &self,
        group: &Group,
        id: DeadLetterId,
        edited: Option<Message>,
    ) -> Result<bool, StoreError> {
        let Some((at, letter)) = find(&self.server, group, id).await? else { return Ok(false) };
        let before = self.server.names.partition(&letter.message);
        let message = edited.unwrap_or(letter.message);
        let mut headers = envelope::headers(&message)?;
        envelope::redirect(&mut headers, &letter.to, Some(id.0))?;
        self.server.check(&headers, &message.payload)?;
        let partition = self.server.names.partition(&message);
        let subject = self.server.names.group(partition, group);
        let notice = self.server.publish(subject, headers, message.payload).await?;
        self.heard(group, partition, notice).await;
        if before != partition {
            self.tell_discarded(group, before, id).await?;
        }
        remove(&self.server, at).await?;
        Ok(true)
    }

    async fn discard(&self, group: &Group, id: DeadLetterId) -> Result<bool, StoreError> {
        let Some((at, letter)) = find(&self.server, group, id).await? else { return Ok(false) };
        // In this order a crash in between leaves it in the list, and no lane that stands
        // still for nothing.
        let partition = self.server.names.partition(&letter.message);
        self.tell_discarded(group, partition, id).await?;
        remove(&self.server, at).await
    }
}

impl NatsBroker {
    /// Whoever hands out the lane of the dead letter may have to let it go on.
    async fn tell_discarded(
        &self,
        group: &Group,
        partition: u32,
        id: DeadLetterId,
    ) -> Result<(), StoreError> {
        let notice = self.server.notify(group, partition, Notice::Discarded(id.0)).await?;
        self.heard(group, partition, notice).await;
        Ok(())
    }
}
