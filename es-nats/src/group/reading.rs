use std::time::Duration;

use async_nats::jetstream::{
    self,
    consumer::{
        AckPolicy, DeliverPolicy, PullConsumer,
        pull::{self, MessagesError, MessagesErrorKind},
    },
};
use es_core::{Address, ContentType, Group, Message, Name, StoreError, Topic};
use futures_util::StreamExt;
use tokio::sync::watch;
use tracing::{debug, warn};

use super::{Members, queue::Arrived};
use crate::{
    envelope::{self, Notice, Unreadable},
    error::unavailable,
    names::{Spot, To},
    server::Server,
};

/// Messages that the server is asked for at once.
const BATCH: usize = 1_000;
/// How often the server says that nothing is there; when it does not, the reading begins
/// anew, as a client may stall after it has connected again.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long one request to the server stands.
const REQUEST: Duration = Duration::from_secs(30);
/// After how long the server forgets who reads no more.
const INACTIVE: Duration = Duration::from_secs(120);
/// After how many messages it is noted how far the reading has come.
const NOTED: u64 = 256;
/// The longest pause after a failure.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many failures are nothing new.
const SHIFT: u32 = 8;

/// What is read, from where on.
struct Plan {
    version: u64,
    start: u64,
}

impl Members {
    /// Reads what this process hands out, as long as there are members.
    pub(super) async fn read(&self) {
        let mut failures = 0;
        loop {
            let Some(plan) = self.plan() else {
                self.read.notified().await;
                continue;
            };
            let Err(error) = self.follow(&plan, &mut failures).await else { continue };
            warn!(%error, group = %self.group, "messages cannot be read now, trying again");
            let pause = Duration::from_millis(10 << failures.min(SHIFT)).min(LONGEST_PAUSE);
            failures += 1;
            self.server.world.sleep(pause).await;
        }
    }

    fn plan(&self) -> Option<Plan> {
        let queue = self.queue.lock();
        Some(Plan { version: queue.version, start: queue.next()? })
    }

    /// Reads until the plan is another one.
    async fn follow(&self, plan: &Plan, failures: &mut u32) -> Result<(), StoreError> {
        let connections = self.server.connections.subscribe();
        self.look_at_charter().await?;
        let consumer = self.consumer(plan.start).await?;
        let read = self.read_all(plan, &consumer, connections, failures).await;
        // The server would forget it by itself, but later.
        let name = consumer.cached_info().name.clone();
        if let Err(error) = self.server.messages.delete_consumer(&name).await {
            debug!(%error, name, "a consumer stays for a while");
        }
        read
    }

    async fn read_all(
        &self,
        plan: &Plan,
        consumer: &PullConsumer,
        mut connections: watch::Receiver<u64>,
        failures: &mut u32,
    ) -> Result<(), StoreError> {
        let mut messages = messages(consumer).await?;
        if consumer.cached_info().num_pending == 0 {
            self.caught_up(plan.version);
        }
        let mut last = 0;
        loop {
            if !self.goes_on(plan).await {
                return Ok(());
            }
            let message = tokio::select! {
                message = messages.next() => message,
                () = self.read.notified() => continue,
                // What was on its way is lost, and the server takes it for delivered.
                _ = connections.changed() => return Ok(()),
            };
            let Some(message) = received(message)? else { return Ok(()) };
            *failures = 0;
            let info = message.info().map_err(|why| crate::error::damaged("a reply", why))?;
            // What the connection has lost is asked for again.
            if info.consumer_sequence != last + 1 {
                debug!(group = %self.group, last, "messages were lost on the way");
                return Ok(());
            }
            last = info.consumer_sequence;
            let (at, pending) = (info.stream_sequence, info.pending);
            // The plan may have changed while it was waited for.
            if !self.arrived(at, &message, plan.version).await? {
                return Ok(());
            }
            if pending == 0 || last.is_multiple_of(NOTED) {
                self.read_to(at, plan.version);
            }
            if pending == 0 {
                self.caught_up(plan.version);
            }
        }
    }

    fn read_to(&self, at: u64, version: u64) {
        if self.queue.lock().read_to(at, version) {
            self.save.notify_one();
        }
    }

    /// Waits until there is room, and says whether the plan is still the same.
    async fn goes_on(&self, plan: &Plan) -> bool {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            {
                let queue = self.queue.lock();
                if queue.version != plan.version || queue.units.is_empty() {
                    return false;
                }
                if queue.has_room() {
                    return true;
                }
            }
            tokio::select! {
                () = changed => {}
                () = self.read.notified() => {}
            }
        }
    }

    fn caught_up(&self, version: u64) {
        self.queue.lock().caught_up(version);
        self.changed.notify_waiters();
    }

    async fn look_at_charter(&self) -> Result<(), StoreError> {
        match self.charter().await? {
            Some((_, charter)) => drop(self.queue.lock().listen(&charter.patterns)),
            None => self.wake(),
        }
        Ok(())
    }

    /// One that reads what the group listens to, and on servers that know but one filter
    /// for each, all.
    async fn consumer(&self, start: u64) -> Result<PullConsumer, StoreError> {
        let names = &self.server.names;
        let ours = names.all_of_group(&self.group);
        let topics: Vec<_> = {
            let queue = self.queue.lock();
            queue.patterns().iter().map(|listened| names.topics_like(&listened.pattern)).collect()
        };
        if topics.is_empty() {
            return consumer(&self.server, start, vec![ours]).await;
        }
        if self.server.client.is_server_compatible(2, 10, 0) {
            let filters = topics.into_iter().chain([ours]).collect();
            // Patterns that meet are refused.
            if let Ok(found) = consumer(&self.server, start, filters).await {
                return Ok(found);
            }
        }
        consumer(&self.server, start, vec![names.every_message()]).await
    }

    /// Says whether the plan is still the same: if not, this has to be read again.
    async fn arrived(
        &self,
        at: u64,
        message: &jetstream::Message,
        version: u64,
    ) -> Result<bool, StoreError> {
        let Some(spot) = self.server.names.read(&message.subject) else {
            warn!(subject = %message.subject, at, "no message of ours is left out");
            return Ok(true);
        };
        if matches!(spot.to, To::Group(group) if group != self.group.as_str()) {
            return Ok(true);
        }
        let is_of_now = match (spot.to, envelope::noticed(message.headers.as_ref())) {
            (To::Group(_), Ok(Some(notice))) => {
                self.noticed(at, spot.partition, notice, version).await?
            }
            _ => self.took(at, &spot, message, version)?,
        };
        if is_of_now && matches!(spot.to, To::Group(_)) {
            self.told.send_replace(at);
        }
        Ok(is_of_now)
    }

    fn took(
        &self,
        at: u64,
        spot: &Spot<'_>,
        message: &jetstream::Message,
        version: u64,
    ) -> Result<bool, StoreError> {
        if !self.queue.lock().wants(at, spot) {
            return Ok(true);
        }
        let arrived = self.decoded(at, spot, message)?;
        let is_of_now = self.queue.lock().push(arrived, version);
        self.changed.notify_waiters();
        Ok(is_of_now)
    }

    async fn noticed(
        &self,
        at: u64,
        partition: u32,
        notice: Notice,
        version: u64,
    ) -> Result<bool, StoreError> {
        match notice {
            Notice::Discarded(letter) => {
                let is_of_now = self.queue.lock().exhume(at, partition, letter, version);
                self.changed.notify_waiters();
                Ok(is_of_now)
            }
            Notice::Listens => {
                if let Some((_, charter)) = self.charter().await? {
                    self.listen(&charter);
                }
                Ok(true)
            }
        }
    }

    fn decoded(
        &self,
        at: u64,
        spot: &Spot<'_>,
        message: &jetstream::Message,
    ) -> Result<Arrived, StoreError> {
        let headers = message.headers.as_ref();
        let read = envelope::redirected(headers).and_then(|(to, number)| {
            Ok((to, number, envelope::message(headers, message.payload.clone())?))
        });
        let (to, given_back, message, unreadable) = match read {
            Ok((to, number, message)) => (to, number, message, None),
            Err(why) => (None, None, unreadable(at, message), Some(why)),
        };
        let to = to.map_or_else(|| address(spot, &self.group), Ok)?;
        let unreadable = unreadable.as_ref().map(Unreadable::to_string);
        Ok(Arrived { at, partition: spot.partition, to, message, given_back, unreadable })
    }
}

async fn messages(consumer: &PullConsumer) -> Result<pull::Stream, StoreError> {
    let stream = consumer.stream().max_messages_per_batch(BATCH).heartbeat(HEARTBEAT);
    let messages = stream.expires(REQUEST).messages().await;
    messages.map_err(|error| unavailable("the server does not deliver", error))
}

/// The next message, unless the reading has to begin anew.
fn received(
    message: Option<Result<jetstream::Message, MessagesError>>,
) -> Result<Option<jetstream::Message>, StoreError> {
    match message.transpose() {
        // Whoever had no room for long has missed it, and the server may be well.
        Err(error) if error.kind() == MessagesErrorKind::MissingHeartbeat => Ok(None),
        received => received.map_err(|error| unavailable("nothing is delivered", error)),
    }
}

fn address(spot: &Spot<'_>, group: &Group) -> Result<Address, StoreError> {
    match spot.to {
        To::Group(_) => Ok(group.clone().into()),
        To::Topic(topic) => {
            let malformed = |why| crate::error::damaged("a subject", why);
            Ok(Topic::new(topic).map_err(malformed)?.into())
        }
    }
}

/// What stands for a message that nobody can read.
fn unreadable(at: u64, message: &jetstream::Message) -> Message {
    let (kind, payload) = (Name::from_static("unreadable"), message.payload.clone());
    Message::new(format!("unreadable-{at}"), kind, ContentType::BYTES, payload)
}

/// A consumer of this process alone that acknowledges nothing.
pub(crate) async fn consumer(
    server: &Server,
    start: u64,
    mut filters: Vec<String>,
) -> Result<PullConsumer, StoreError> {
    let mut config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start.max(1) },
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    match filters.len() {
        1 => config.filter_subject = filters.remove(0),
        _ => config.filter_subjects = filters,
    }
    let asked = config.clone();
    let made = server.messages.create_consumer(config).await;
    let made: PullConsumer = made.map_err(|error| unavailable("nobody can read", error))?;
    let kept = &made.cached_info().config;
    let is_kept = kept.filter_subject == asked.filter_subject
        && (kept.filter_subjects == asked.filter_subjects)
        && kept.deliver_policy == asked.deliver_policy;
    if is_kept {
        return Ok(made);
    }
    let message = "the server did not keep from where on and what is to be read";
    Err(StoreError::new(es_core::StoreErrorKind::Unsupported, message))
}

#[cfg(test)]
mod tests {
    use es_core::StoreErrorKind;
    use es_testkit::{contract::Place, servers::nats_url};

    use super::*;
    use crate::NatsOptions;

    /// A server before 2.10 takes several filters, and drops them without a word.
    #[tokio::test]
    async fn a_server_that_dropped_what_it_was_told_is_noticed() {
        let place = Place::new(es_core::World::real());
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        let server = Server::connect(options).await.expect("a server");
        let filters = ["a", "b"].map(|name| format!("{}.m.t.*.{name}", place.name()));
        let made = consumer(&server, 1, filters.into()).await;
        match server.client.is_server_compatible(2, 10, 0) {
            true => assert!(made.is_ok()),
            false => {
                let refused = made.expect_err("it reads more than it was asked to");
                assert_eq!(refused.kind(), StoreErrorKind::Unsupported);
            }
        }
        server.remove().await;
    }
}
