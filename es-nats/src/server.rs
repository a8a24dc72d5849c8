//! The streams on the server, and how they are written and read.

use std::time::Duration;

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap,
    jetstream::{
        self, Context,
        context::PublishAckFuture,
        message::{PublishMessage, StreamMessage},
        stream::{Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream},
    },
};
use bytes::Bytes;
use es_core::{Group, StoreError, StoreErrorKind, World};
use futures_util::{TryStreamExt, future};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{
    NatsOptions, envelope,
    envelope::Notice,
    error::{damaged, is_changed, is_not_made, reconnected, too_large, unavailable, unpublished},
    names::Names,
};

/// Most bytes that a dead letter has more than the message had.
const LETTER: usize = 16 * 1_024;
/// Most messages that are published and not confirmed yet.
const IN_FLIGHT: usize = 4_096;
/// The longest pause between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the server may take to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// A connection that never gives up, and the two streams of a prefix.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) names: Names,
    pub(crate) world: World,
    pub(crate) lease: Duration,
    /// What tells this process from others.
    pub(crate) process: String,
    pub(crate) client: Client,
    /// How often it has connected. What was on its way before is lost.
    pub(crate) connections: watch::Sender<u64>,
    context: Context,
    pub(crate) messages: Stream,
    pub(crate) state: Stream,
}

/// What all programs of a prefix have to agree on.
#[derive(Serialize, Deserialize)]
struct About {
    format: u32,
    partitions: u32,
}

/// What became of a write that expects something.
#[derive(Debug)]
pub(crate) enum Put {
    /// It stands there now, under this revision.
    Done(u64),
    /// Somebody else was there first.
    Changed,
}

impl Server {
    pub(crate) async fn connect(options: NatsOptions) -> Result<Self, StoreError> {
        // Of processes that connect again, none may be taken for dead by one that was earlier.
        let longest = LONGEST_PAUSE.min(options.lease / 3);
        let pause = move |attempt: usize| Duration::from_millis(10 << attempt.min(8)).min(longest);
        let connections = watch::Sender::new(0);
        let client = ConnectOptions::new()
            .name(format!("gesta {}", options.prefix))
            .event_callback(counting(connections.clone()))
            .max_reconnects(None)
            .reconnect_delay_callback(pause)
            .connect(options.url.split(',').map(str::to_owned).collect::<Vec<_>>().as_slice())
            .await
            .map_err(|error| unavailable("the server cannot be reached", error))?;
        // So that no later look takes this connection for another one; we hold the sender.
        let _ = connections.subscribe().wait_for(|connections| *connections > 0).await;
        let context = jetstream::ContextBuilder::new()
            .timeout(WITHIN)
            .max_ack_inflight(IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let names = Names::new(options.prefix.clone(), options.partitions);
        let messages = stream(&context, messages(&options, &names)).await?;
        let state = stream(&context, state(&options, &names)).await?;
        let process = format!("{:016x}", options.world.random_u64());
        let NatsOptions { world, lease, .. } = options;
        let mut server =
            Self { names, world, lease, process, client, connections, context, messages, state };
        server.names.partitions = server.agree().await?;
        Ok(server)
    }

    /// The number of partitions, which whoever came first has set.
    async fn agree(&self) -> Result<u32, StoreError> {
        let (subject, partitions) = (self.names.about(), self.names.partitions);
        let about = json(&About { format: 1, partitions });
        self.put(&subject, HeaderMap::new(), about, Some(0)).await?;
        let found = self.last(&subject).await?.ok_or_else(|| damaged(&subject, "it is empty"))?;
        let about: About = parse(&subject, &found.payload)?;
        if about.format != 1 || about.partitions == 0 {
            let message = "a newer program has used this prefix: use it too, or another prefix";
            return Err(StoreError::new(StoreErrorKind::Schema, message));
        }
        Ok(about.partitions)
    }

    /// Does what asks the server, unless the connection is made anew meanwhile: what was asked
    /// before may never be answered.
    pub(crate) async fn unbroken<T>(
        &self,
        asks: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut connections = self.connections.subscribe();
        tokio::select! {
            answered = asks => answered,
            // The sender lives as long as we do.
            _ = connections.changed() => Err(reconnected()),
        }
    }

    /// Sends it; whoever awaits what is returned learns that the server has it.
    pub(crate) async fn send(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, StoreError> {
        let publish = PublishMessage::build().headers(headers).payload(payload);
        self.context.send_publish(subject, publish).await.map_err(unpublished)
    }

    /// Fails if the message could not be kept apart as a dead letter.
    pub(crate) fn check(&self, headers: &HeaderMap, payload: &Bytes) -> Result<(), StoreError> {
        let most = self.client.max_payload().saturating_sub(LETTER);
        let bytes = envelope::size(headers) + payload.len();
        if bytes > most { Err(too_large(bytes, most)) } else { Ok(()) }
    }

    /// Publishes, and returns the number in the stream.
    pub(crate) async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<u64, StoreError> {
        let confirmed = self.send(subject, headers, payload).await?;
        Ok(confirmed.await.map_err(unpublished)?.sequence)
    }

    /// Writes what replaces the last with this subject, if that has the expected revision:
    /// 0 if there is none.
    pub(crate) async fn put(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
        expected: Option<u64>,
    ) -> Result<Put, StoreError> {
        let mut publish = PublishMessage::build().headers(headers).payload(payload);
        if let Some(expected) = expected {
            publish = publish.expected_last_subject_sequence(expected);
        }
        let sent = self.context.send_publish(subject.to_owned(), publish).await;
        match sent.map_err(unpublished)?.await {
            Ok(confirmed) => Ok(Put::Done(confirmed.sequence)),
            Err(error) if is_changed(&error) => Ok(Put::Changed),
            Err(error) => Err(unpublished(error)),
        }
    }

    /// The last with this subject, of what is known about groups.
    pub(crate) async fn last(&self, subject: &str) -> Result<Option<StreamMessage>, StoreError> {
        match self.state.get_last_raw_message_by_subject(subject).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(unavailable("the server did not tell what is known", error)),
        }
    }

    /// The subjects like this, of what is known about groups.
    pub(crate) async fn subjects(&self, like: &str) -> Result<Vec<String>, StoreError> {
        let failed = |error| unavailable("the server did not list the subjects", error);
        let found = self.state.info_with_subjects(like).await.map_err(failed)?;
        let found: Vec<(String, usize)> = found.try_collect().await.map_err(failed)?;
        Ok(found.into_iter().map(|(subject, _)| subject).collect())
    }

    /// The numbers of the first and the last message.
    pub(crate) async fn ends(&self) -> Result<(u64, u64), StoreError> {
        ends(&self.messages).await
    }

    /// The last revision of all that is known about groups.
    pub(crate) async fn last_revision(&self) -> Result<u64, StoreError> {
        Ok(ends(&self.state).await?.1)
    }

    pub(crate) async fn notify(
        &self,
        group: &Group,
        partition: u32,
        notice: Notice,
    ) -> Result<u64, StoreError> {
        let subject = self.names.group(partition, group);
        self.publish(subject, envelope::notice(notice)?, Bytes::new()).await
    }

    /// Removes what a test has made.
    #[cfg(test)]
    pub(crate) async fn remove(&self) {
        for stream in [self.names.messages().to_owned(), self.names.state()] {
            self.context.delete_stream(stream).await.expect("a stream that can be deleted");
        }
    }

    /// Tells the others at once what they would see in a while.
    pub(crate) async fn hint(&self, group: &Group) {
        // Whoever does not hear it looks by himself.
        let _ = self.client.publish(self.names.hint(group), Bytes::new()).await;
    }
}

async fn ends(stream: &Stream) -> Result<(u64, u64), StoreError> {
    let failed = |error| unavailable("the server did not tell about the stream", error);
    let state = stream.get_info().await.map_err(failed)?.state;
    Ok((state.first_sequence, state.last_sequence))
}

/// Removes what has such a subject, up to this number, and nothing that came later.
pub(crate) async fn purge(stream: &Stream, like: String, until: u64) -> Result<(), StoreError> {
    // A server takes a purge before the first number for one of everything.
    if until == 0 {
        return Ok(());
    }
    let purged = stream.purge().filter(like).sequence(until + 1).await;
    purged.map(drop).map_err(|error| unavailable("the group is not wholly forgotten", error))
}

fn counting(connections: watch::Sender<u64>) -> impl Fn(Event) -> future::Ready<()> {
    move |event| {
        if event == Event::Connected {
            connections.send_modify(|connections| *connections += 1);
        }
        future::ready(())
    }
}

/// Writes what cannot fail.
pub(crate) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("plain structs are JSON").into()
}

pub(crate) fn parse<'a, T: Deserialize<'a>>(
    subject: &str,
    payload: &'a [u8],
) -> Result<T, StoreError> {
    serde_json::from_slice(payload).map_err(|why| damaged(subject, why))
}

fn messages(options: &NatsOptions, names: &Names) -> Config {
    Config {
        name: names.messages().to_owned(),
        subjects: vec![names.every_message()],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        max_age: options.keep_for,
        max_bytes: options.keep_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
        num_replicas: options.replicas,
        ..Config::default()
    }
}

fn state(options: &NatsOptions, names: &Names) -> Config {
    Config {
        name: names.state(),
        subjects: vec![names.every_state()],
        retention: RetentionPolicy::Limits,
        max_messages_per_subject: 1,
        num_replicas: options.replicas,
        ..Config::default()
    }
}

/// A stream of this name, if it is as it has to be. Old servers drop what they do not
/// know without a word, and others may have made it.
async fn stream(context: &Context, asked: Config) -> Result<Stream, StoreError> {
    // A server of version 2.9 may fail once if the last other stream goes at the same moment.
    const TRIES: usize = 3;
    let mut tries = 1;
    let stream = loop {
        match context.get_or_create_stream(asked.clone()).await {
            Ok(stream) => break stream,
            Err(error) if is_not_made(&error) && tries < TRIES => tries += 1,
            Err(error) => return Err(unavailable("the server made no stream", error)),
        }
    };
    let kept = &stream.cached_info().config;
    let differs = [
        ("subjects", kept.subjects != asked.subjects),
        ("retention", kept.retention != asked.retention),
        ("discard", kept.discard != asked.discard),
        ("no_ack", kept.no_ack),
        ("deny_purge", kept.deny_purge),
        ("sealed", kept.sealed),
        (
            "max_msgs_per_subject",
            kept.max_messages_per_subject.max(0) != asked.max_messages_per_subject.max(0),
        ),
    ];
    match differs.into_iter().find(|(_, differs)| *differs) {
        None => Ok(stream),
        Some((what, _)) => {
            let message = format!(
                "the stream {} has another `{what}` than it needs: take another prefix, or a \
                 server that keeps what it is told",
                asked.name
            );
            Err(StoreError::new(StoreErrorKind::Schema, message))
        }
    }
}
