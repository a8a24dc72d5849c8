use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_nats::jetstream::context::PublishAckFuture;
use async_trait::async_trait;
use es_core::{
    Address, Begin, Consumer, Deliveries, Group, Lane, Message, Order, Publisher, StoreError,
    Subscription, TopicPattern,
};
use parking_lot::Mutex;

use crate::{
    earlier,
    envelope::{self, Notice},
    error::{contended, disagree, ended, forgotten, rewound, unavailable, unpublished},
    group::{
        Member, Members,
        charter::{Charter, Listened},
    },
    server::{Server, purge},
};

/// Messages that are sent before the first of them has to be confirmed.
const AT_ONCE: usize = 512;
/// How often it is tried to found or to join a group that others change.
const TRIES: usize = 100;
/// How long a notice may take to come back to this process.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// A broker on the streams of a NATS server; clones share it. See [`NatsOptions`] for how
/// it is made.
///
/// # Promises
///
/// Those of the ports, and:
///
/// - A group gets its messages in the order in which the server has them, as far as they go
///   to one process, and those that come again before those that are new.
/// - [`ack`](es_core::Delivery::ack) does not wait for the server: what is acknowledged is
///   written a few milliseconds later, many at once. If the process dies, what it
///   acknowledged in its last milliseconds comes again.
/// - What is published at once is on its way at once, but for messages of one key: the next is
///   sent when the one before is confirmed, so that none is there without those before it,
///   whatever becomes of the connection. Publishing many messages of one key takes as many
///   round trips. Of messages of several keys any may be lost alone.
/// - What was there before a pattern that is new to a group with members is copied to its
///   queue: it may come after what is published meanwhile, and some of that twice.
/// - The processes of a group share its partitions: each is handed out by one process at a
///   time. It goes to another one when nothing of it is in hand, or when its process was
///   silent for the [lease](crate::NatsOptions::lease).
/// - A process takes 50,000 messages of a group at most, and 64 MiB of them, before some are
///   settled, however wide the windows are. What waits for its next try is among them.
/// - What waits for its next try waits no longer when its partition goes to another process,
///   and its tries are counted anew there.
///
/// [`NatsOptions`]: crate::NatsOptions
///
/// ```no_run
/// use es_core::{
///     Consumer, ContentType, Group, Message, Name, Publisher, Subscription, Topic, TopicPattern,
/// };
/// use es_nats::NatsOptions;
/// use futures_util::StreamExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = NatsOptions::new("nats://127.0.0.1:4222").prefix("shop").connect().await?;
/// let billing = Subscription::of(Group::new("billing")?).to(TopicPattern::new("order.*")?);
/// let mut deliveries = broker.consume(billing).await?;
/// let message = Message::new("1", Name::new("order.placed")?, ContentType::JSON, "{}");
/// broker.publish(&Topic::new("order.placed")?.into(), vec![message]).await?;
///
/// let delivery = deliveries.next().await.expect("a delivery")?;
/// assert_eq!(delivery.message.id, "1");
/// delivery.ack().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct NatsBroker {
    pub(crate) server: Arc<Server>,
    groups: Groups,
}

/// What a group had when it was forgotten has no higher numbers.
#[derive(Debug, Clone, Copy)]
struct Old {
    revision: u64,
    messages: u64,
}

/// The groups that have members in this process.
type Groups = Arc<Mutex<HashMap<Group, Arc<Members>>>>;

impl NatsBroker {
    pub(crate) fn new(server: Server) -> Self {
        Self { server: Arc::new(server), groups: Groups::default() }
    }

    /// Waits until the members of this process, if it has some that this concerns, know of
    /// a notice.
    pub(crate) async fn heard(&self, group: &Group, partition: u32, notice: u64) {
        let members = self.groups.lock().get(group).cloned();
        if let Some(members) = members {
            tokio::select! {
                () = members.heard(partition, notice) => {}
                () = self.server.world.sleep(HEARD_WITHIN) => {}
            }
        }
    }

    /// Founds the group, or joins it with what it does not listen to yet.
    async fn join(&self, asked: &Subscription) -> Result<Charter, StoreError> {
        let mut copied = None;
        for _ in 0..TRIES {
            let (revision, charter) = match Charter::read(&self.server, &asked.group).await? {
                None => (0, self.founded(asked).await?),
                Some((_, known)) if !known.agrees_with(asked) => {
                    return Err(disagree(&asked.group));
                }
                Some((revision, known)) => {
                    (revision, self.joined(known, asked, &mut copied).await?)
                }
            };
            if !charter.write(&self.server, &asked.group, revision).await? {
                continue;
            }
            if revision > 0 && !asked.patterns.is_empty() {
                self.announce(asked, &charter).await?;
            }
            return Ok(charter);
        }
        Err(contended(&asked.group))
    }

    /// Whoever reads for the group looks at the charter before it goes on behind this notice.
    /// What was published before it, and should have been listened to, is copied.
    async fn announce(&self, asked: &Subscription, charter: &Charter) -> Result<(), StoreError> {
        let notice = self.server.notify(&asked.group, 0, Notice::Listens).await?;
        let partial = charter.partial(asked);
        if partial.is_empty() {
            return Ok(());
        }
        earlier::copy(&self.server, &asked.group, charter, &partial, notice).await?;
        for _ in 0..TRIES {
            let Some((revision, mut charter)) = Charter::read(&self.server, &asked.group).await?
            else {
                return Err(forgotten(&asked.group));
            };
            charter.complete(&partial);
            if charter.write(&self.server, &asked.group, revision).await? {
                return Ok(());
            }
        }
        Err(contended(&asked.group))
    }

    async fn founded(&self, asked: &Subscription) -> Result<Charter, StoreError> {
        let (_, last) = self.server.ends().await?;
        let after = match asked.begin {
            Begin::Now => last,
            Begin::Earliest => 0,
        };
        let patterns = if asked.patterns.is_empty() { last } else { after };
        let start = patterns.min(earlier::before_queue(&self.server, &asked.group, last).await?);
        let id = format!("{:016x}", self.server.world.random_u64());
        let mut charter = Charter::new(id, asked, self.server.names.partitions, start);
        charter.listen(asked.patterns.iter().map(|pattern| Listened::new(pattern.clone(), after)));
        Ok(charter)
    }

    /// What was there earlier is copied once, however often others get in between.
    async fn joined(
        &self,
        known: Charter,
        asked: &Subscription,
        copied: &mut Option<(Vec<TopicPattern>, u64)>,
    ) -> Result<Charter, StoreError> {
        let (unknown, mut charter) = (known.unknown(asked), known);
        let (_, last) = self.server.ends().await?;
        if charter.listens_after() > last {
            return Err(rewound(&asked.group));
        }
        if unknown.is_empty() {
            return Ok(charter);
        }
        let new = |after| unknown.iter().map(move |pattern| Listened::new(pattern.clone(), after));
        if asked.begin == Begin::Now {
            charter.listen(new(last));
            return Ok(charter);
        }
        let until = match copied {
            Some((patterns, until)) if *patterns == unknown => *until,
            _ => {
                let all: Vec<_> = new(0).collect();
                earlier::copy(&self.server, &asked.group, &charter, &all, last).await?;
                *copied = Some((unknown.clone(), last));
                last
            }
        };
        charter.listen(new(until).map(|listened| Listened { is_partial: true, ..listened }));
        Ok(charter)
    }

    /// Removes the charter: without it nobody writes the rest for long. Says what is older.
    async fn dissolve(&self, group: &Group) -> Result<Old, StoreError> {
        let (_, messages) = self.server.ends().await?;
        let old = Old { revision: self.server.last_revision().await?, messages };
        let purged = self.server.state.purge().filter(self.server.names.charter(group)).await;
        purged.map_err(|error| unavailable("the group is not forgotten", error))?;
        self.server.hint(group).await;
        Ok(old)
    }

    /// Removes what a group without a charter has left, and nothing of one that was founded
    /// since.
    async fn clear(&self, group: &Group, old: Old) -> Result<(), StoreError> {
        let Server { names, messages, state, .. } = &*self.server;
        purge(messages, names.all_of_group(group), old.messages).await?;
        for _ in 0..TRIES {
            let last = self.server.last_revision().await?;
            // In this order: what is there before a group is founded is none of its.
            let is_founded = Charter::read(&self.server, group).await?.is_some();
            let until = if is_founded { old.revision } else { last };
            let mut left = 0;
            for like in [names.all_progress(group), names.letters(group)] {
                purge(state, like.clone(), until).await?;
                left += self.server.subjects(&like).await?.len();
            }
            // Who has not heard yet that the group is gone may have written once more.
            if is_founded || left == 0 {
                return Ok(());
            }
        }
        Err(contended(group))
    }

    /// A new member of this process. It is counted before anybody can see that there is none.
    fn member(&self, asked: &Subscription, charter: &Charter) -> Member {
        let mut groups = self.groups.lock();
        if let Some(known) = groups.get(&asked.group) {
            if known.id == charter.id && !known.is_closed() {
                return Member::new(Arc::clone(known), asked.window);
            }
            known.close(forgotten);
        }
        let server = Arc::clone(&self.server);
        let members = Arc::new(Members::new(asked.group.clone(), charter, server));
        let member = Member::new(Arc::clone(&members), asked.window);
        groups.insert(asked.group.clone(), Arc::clone(&members));
        self.server.world.detach(work(Arc::clone(&self.groups), End(members)));
        member
    }
}

/// Works until the last member has left.
async fn work(groups: Groups, end: End) {
    let End(members) = &end;
    loop {
        members.work().await;
        let mut groups = groups.lock();
        if members.is_empty() || members.is_closed() {
            if groups.get(&members.group).is_some_and(|known| Arc::ptr_eq(known, members)) {
                groups.remove(&members.group);
            }
            return;
        }
    }
}

/// Nobody works for the members any more, also if the runtime ends, which drops what it runs.
struct End(Arc<Members>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close(ended);
    }
}

#[async_trait]
impl Publisher for NatsBroker {
    async fn publish(&self, to: &Address, messages: Vec<Message>) -> Result<(), StoreError> {
        let mut written = Vec::with_capacity(messages.len());
        for message in messages {
            let headers = envelope::headers(&message)?;
            self.server.check(&headers, &message.payload)?;
            let partition = self.server.names.partition(&message);
            let subject = match to {
                Address::Topic(topic) => self.server.names.topic(partition, topic),
                Address::Queue(group) => self.server.names.group(partition, group),
            };
            let lane = Lane::of(&message, Order::Key);
            written.push((lane, subject, headers, message.payload));
        }
        // Of a key one message at a time: if the connection breaks, what waits to be sent is
        // sent over the next one, and would be there without one that was lost before it.
        let mut sent: VecDeque<(Option<Lane>, PublishAckFuture)> = VecDeque::with_capacity(AT_ONCE);
        let mut busy = HashSet::new();
        for (lane, subject, headers, payload) in written {
            let is_busy = |busy: &HashSet<Lane>| lane.as_ref().is_some_and(|it| busy.contains(it));
            while sent.len() >= AT_ONCE || is_busy(&busy) {
                let Some((lane, confirmed)) = sent.pop_front() else { break };
                confirmed.await.map_err(unpublished)?;
                lane.map(|lane| busy.remove(&lane));
            }
            let confirmed = self.server.send(subject, headers, payload).await?;
            busy.extend(lane.clone());
            sent.push_back((lane, confirmed));
        }
        for (_, confirmed) in sent {
            confirmed.await.map_err(unpublished)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Consumer for NatsBroker {
    async fn consume(&self, subscription: Subscription) -> Result<Deliveries, StoreError> {
        let charter = self.join(&subscription).await?;
        Ok(self.member(&subscription, &charter).deliveries())
    }

    async fn forget(&self, group: &Group) -> Result<(), StoreError> {
        if let Some(members) = self.groups.lock().remove(group) {
            members.close(forgotten);
        }
        let old = self.dissolve(group).await?;
        self.clear(group, old).await
    }
}

#[cfg(test)]
mod tests {
    use es_core::{ContentType, Name, World};
    use es_testkit::{contract::Place, servers::nats_url};
    use futures_util::TryStreamExt;

    use super::*;
    use crate::NatsOptions;

    /// Whoever looks in between ends the work when the last of the others has left.
    #[tokio::test]
    async fn a_member_counts_from_its_first_moment_on() {
        let place = Place::new(World::real());
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        let broker = options.connect().await.expect("a server");
        let asked = Subscription::of(Group::new("billing").expect("a group"));
        let charter = broker.join(&asked).await.expect("a charter");
        let member = broker.member(&asked, &charter);
        assert!(!broker.groups.lock()[&asked.group].is_empty());
        drop(member);
        assert!(broker.groups.lock()[&asked.group].is_empty());
        broker.server.remove().await;
    }

    fn message(id: &str) -> Message {
        Message::new(id, Name::from_static("order.placed"), ContentType::JSON, "{}")
    }

    async fn take(member: &mut Deliveries) -> String {
        let next = tokio::time::timeout(Duration::from_secs(30), member.try_next()).await;
        let delivery = next.expect("in time").expect("a broker that delivers").expect("no end");
        let id = delivery.message.id.clone();
        delivery.ack().await.expect("an answer that arrives");
        id
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_forgets_a_group_removes_nothing_of_the_next_one() {
        let place = Place::new(World::real());
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        let (forgets, founds) =
            (options.clone().connect().await.expect("a server"), options.connect().await);
        let founds = founds.expect("a server");
        let group = Group::new("billing").expect("a group");
        let (asked, queue) = (Subscription::of(group.clone()), group.clone().into());
        drop(forgets.consume(asked.clone()).await.expect("a member"));
        forgets.publish(&queue, vec![message("old")]).await.expect("it takes it");

        let old = forgets.dissolve(&group).await.expect("it is gone");
        founds.publish(&queue, vec![message("1")]).await.expect("it takes it");
        forgets.clear(&group, old).await.expect("it is wholly forgotten");
        let mut member = founds.consume(asked.clone()).await.expect("a member");
        let members = Arc::clone(&founds.groups.lock()[&group]);
        assert_eq!(take(&mut member).await, "1");
        members.save_all().await.expect("a server");
        // As if all of that had happened before.
        forgets.clear(&group, old).await.expect("it is wholly forgotten");

        drop((member, members));
        let mut next = forgets.consume(asked).await.expect("a member");
        forgets.publish(&queue, vec![message("2")]).await.expect("it takes it");
        assert_eq!(take(&mut next).await, "2", "what was handled is known");
        forgets.server.remove().await;
    }
}
