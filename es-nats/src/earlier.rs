//! What was there before a group, or before it listened to a pattern.

use std::time::Duration;

use async_nats::jetstream::{self, context::PublishAckFuture, stream::LastRawMessageErrorKind};
use es_core::{Address, Group, StoreError, Topic};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    envelope,
    error::{interrupted, unavailable, unpublished},
    group::{
        charter::{Charter, Listened},
        consumer,
    },
    names::{Spot, To},
    server::Server,
};

/// Messages that are copied before the first copy has to be confirmed.
const AT_ONCE: usize = 256;
/// How long nothing may come of what is there: it may have been too old.
const SILENCE: Duration = Duration::from_secs(10);

/// The number before the first message that waits in the queue of the group, or `last`.
pub(crate) async fn before_queue(
    server: &Server,
    group: &Group,
    last: u64,
) -> Result<u64, StoreError> {
    let subject = server.names.all_of_group(group);
    match server.messages.get_first_raw_message_by_subject(subject, 1).await {
        Ok(first) => Ok(last.min(first.sequence - 1)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(last),
        Err(error) => Err(unavailable("the server did not tell what waits", error)),
    }
}

/// Copies to the queue of the group what it would have been given until `last`, had it
/// listened to what is new too.
pub(crate) async fn copy(
    server: &Server,
    group: &Group,
    charter: &Charter,
    new: &[Listened],
    last: u64,
) -> Result<(), StoreError> {
    for (at, listened) in new.iter().enumerate() {
        let is_known = |number: u64, topic: &Topic| {
            charter.whole().chain(&new[..at]).any(|known| known.matches(number, topic))
        };
        copy_pattern(server, group, listened, last, is_known).await?;
    }
    Ok(())
}

async fn copy_pattern(
    server: &Server,
    group: &Group,
    listened: &Listened,
    last: u64,
    is_known: impl Fn(u64, &Topic) -> bool,
) -> Result<(), StoreError> {
    let failed = |error| unavailable("what was there before cannot be read", error);
    let mut connections = server.connections.subscribe();
    let topics = server.names.topics_like(&listened.pattern);
    // How many are still to come the server says only roughly while others publish.
    let until = last.min(last_like(server, &topics).await?);
    let consumer = consumer(server, listened.after + 1, vec![topics]).await?;
    let mut messages = consumer.messages().await.map_err(failed)?;
    let (mut copies, mut delivered, mut number) = (Vec::new(), 0, listened.after);
    while number < until {
        let message = tokio::select! {
            message = messages.next() => message.ok_or_else(|| interrupted(group))?,
            _ = connections.changed() => return Err(interrupted(group)),
            () = server.world.sleep(SILENCE) => return Err(interrupted(group)),
        };
        let message = message.map_err(|error| unavailable("nothing is delivered", error))?;
        let info = message.info().map_err(|why| crate::error::damaged("a reply", why))?;
        delivered += 1;
        if info.consumer_sequence != delivered {
            return Err(interrupted(group));
        }
        number = info.stream_sequence;
        let is_missing = |topic: &Topic| number <= last && !is_known(number, topic);
        copies.extend(copy_message(server, group, &message, is_missing).await?);
        if copies.len() >= AT_ONCE {
            confirm(&mut copies).await?;
        }
    }
    confirm(&mut copies).await
}

async fn copy_message(
    server: &Server,
    group: &Group,
    message: &jetstream::Message,
    is_missing: impl Fn(&Topic) -> bool,
) -> Result<Option<PublishAckFuture>, StoreError> {
    let spot = server.names.read(&message.subject);
    let Some(Spot { partition, to: To::Topic(topic) }) = spot else { return Ok(None) };
    let Some(topic) = Topic::new(topic).ok().filter(is_missing) else { return Ok(None) };
    let mut headers = message.headers.clone().unwrap_or_default();
    envelope::redirect(&mut headers, &Address::from(topic), None)?;
    let subject = server.names.group(partition, group);
    server.send(subject, headers, message.payload.clone()).await.map(Some)
}

/// The number of the last message like this, 0 if there is none.
async fn last_like(server: &Server, subject: &str) -> Result<u64, StoreError> {
    match server.messages.get_last_raw_message_by_subject(subject).await {
        Ok(last) => Ok(last.sequence),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(0),
        Err(error) => Err(unavailable("the server did not tell what is there", error)),
    }
}

async fn confirm(copies: &mut Vec<PublishAckFuture>) -> Result<(), StoreError> {
    let copies = stream::iter(copies.drain(..).map(Ok));
    copies.try_for_each(async |copy| copy.await.map(drop).map_err(unpublished)).await
}
