//! A process writes a dead letter only while it has the message, and takes it back if it had
//! it no more.

use es_core::{Fault, StoreError};
use tracing::warn;

use super::{Members, queue::Unsettled, unit::Progress};
use crate::{
    error::{contended, fenced},
    letters,
    server::{Put, parse},
};

/// How often a letter is written that others change at the same time.
const TRIES: usize = 10;

impl Members {
    /// Writes it among the dead letters, and returns under which revision. What stands there
    /// already is replaced only if nobody else can have written it since this process has
    /// the message.
    pub(super) async fn keep_apart(
        &self,
        unsettled: &mut Unsettled,
        fault: &Fault,
    ) -> Result<u64, StoreError> {
        let (server, group) = (&self.server, &self.group);
        let mut expected = 0;
        for _ in 0..TRIES {
            if !self.has(unsettled) {
                return Err(fenced(group));
            }
            unsettled.may_be_dead = true;
            match letters::write(server, group, unsettled, fault, expected).await? {
                Put::Done(revision) => return Ok(revision),
                Put::Changed => {
                    expected = letters::revision(server, group, unsettled.number).await?;
                }
            }
        }
        Err(contended(group))
    }

    /// Removes what a write has left that nobody confirmed, as the message was handled since.
    pub(super) async fn revive(&self, unsettled: &Unsettled) -> Result<(), StoreError> {
        let revision = letters::revision(&self.server, &self.group, unsettled.number).await?;
        if revision > 0 && self.has(unsettled) {
            letters::remove(&self.server, revision).await?;
        }
        Ok(())
    }

    /// Takes back a letter of a message that another process has now.
    pub(super) async fn take_back(&self, unsettled: &Unsettled, revision: u64) {
        let taken_back = async {
            if !self.is_counted(unsettled).await? {
                letters::remove(&self.server, revision).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = taken_back.await {
            let number = unsettled.number;
            warn!(%error, group = %self.group, number, "a dead letter stays that is none");
        }
    }

    /// Whether the message may not come again. Where what follows is parked, whoever has
    /// taken over may have found the letter, and have settled the message for it.
    async fn is_counted(&self, unsettled: &Unsettled) -> Result<bool, StoreError> {
        if self.charter().await?.is_none() {
            return Ok(false);
        }
        if self.queue.lock().parks() {
            return Ok(true);
        }
        let subject = self.server.names.progress(unsettled.unit, &self.group);
        let Some(found) = self.server.last(&subject).await? else { return Ok(false) };
        Ok(parse::<Progress>(&subject, &found.payload)?.has_settled(unsettled.at))
    }

    /// Whether nobody else can have it.
    fn has(&self, unsettled: &Unsettled) -> bool {
        self.is_alive() && self.queue.lock().current(unsettled).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use es_core::{
        Consumer, ContentType, DeadLetterQuery, DeadLetters, Delivery, FaultKind, Group, Message,
        Name, StoreErrorKind, Subscription, World,
    };
    use es_testkit::{contract::Place, servers::nats_url};
    use tokio::time::Instant;

    use super::*;
    use crate::{
        NatsBroker, NatsOptions,
        error::forgotten,
        group::{
            charter::Charter,
            delivery,
            queue::{Arrived, Taken},
        },
    };

    fn group() -> Group {
        Group::new("billing").expect("a group")
    }

    async fn broker(place: &Place) -> NatsBroker {
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        options.connect().await.expect("a server")
    }

    /// Members that have a message in hand, and do not know yet that another process has
    /// taken over.
    async fn taken_over(place: &Place, charter: &Charter) -> (Arc<Members>, Unsettled) {
        let (one, two) = (broker(place).await, broker(place).await);
        let members = |broker: NatsBroker| Members::new(group(), charter, broker.server);
        let (before, after) = (Arc::new(members(one)), members(two));
        let (revision, progress) = before.fence(0, 0).await.expect("it is free");
        let kind = Name::from_static("order.placed");
        let message = Message::new("1", kind, ContentType::JSON, "{}");
        let to = group().into();
        let arrived =
            Arrived { at: 1, partition: 0, to, message, given_back: None, unreadable: None };
        let taken = {
            let mut queue = before.queue.lock();
            queue.begin(0, revision, progress, Vec::new());
            let version = queue.version;
            queue.caught_up(version);
            assert!(queue.push(arrived, version));
            queue.take()
        };
        let Some(Taken::Hand(unsettled)) = taken else { panic!("a message") };
        *before.alive_until.lock() = Instant::now() + Duration::from_secs(60);
        after.fence(0, 0).await.expect("it is taken over");
        (before, unsettled)
    }

    /// A group of which the message is in hand, and the process that has it was taken over.
    async fn founded(place: &Place, asked: &Subscription) -> (NatsBroker, Arc<Members>, Delivery) {
        let broker = broker(place).await;
        let charter = Charter::new("1".into(), asked, 1, 0);
        assert!(charter.write(&broker.server, &group(), 0).await.expect("a server"));
        let (members, unsettled) = taken_over(place, &charter).await;
        let delivery = delivery(Arc::clone(&members), unsettled, None);
        (broker, members, delivery)
    }

    /// Says that the message is dead, and what came of it.
    async fn said_dead(members: &Members, delivery: Delivery) -> StoreErrorKind {
        let said = delivery.dead_letter(Fault::new(FaultKind::Permanent, "no such order"));
        let saves = async {
            members.save.notified().await;
            members.save_all().await.expect("a server");
        };
        let (said, ()) = tokio::join!(said, saves);
        said.expect_err("another one has it").kind()
    }

    /// Counts the dead letters, and removes all.
    async fn letters(broker: NatsBroker) -> usize {
        let letters = broker.dead_letters(DeadLetterQuery::of(group())).await.expect("a list");
        broker.server.remove().await;
        letters.len()
    }

    #[tokio::test]
    async fn whoever_was_taken_over_takes_back_its_dead_letter() {
        let place = Place::new(World::real());
        let (broker, members, held) = founded(&place, &Subscription::of(group())).await;
        assert_eq!(said_dead(&members, held).await, StoreErrorKind::Fenced);
        assert_eq!(letters(broker).await, 0);
    }

    /// Else it might be gone: its new owner takes it for dead if it has seen the letter.
    #[tokio::test]
    async fn where_others_may_count_on_it_a_dead_letter_stays() {
        let place = Place::new(World::real());
        let (broker, members, held) = founded(&place, &Subscription::of(group()).parking()).await;
        assert_eq!(said_dead(&members, held).await, StoreErrorKind::Fenced);
        assert_eq!(letters(broker).await, 1);
    }

    #[tokio::test]
    async fn a_group_that_was_forgotten_meanwhile_gets_no_dead_letter() {
        let place = Place::new(World::real());
        let (broker, members, held) = founded(&place, &Subscription::of(group()).parking()).await;
        broker.forget(&group()).await.expect("a broker that forgets");
        members.close(forgotten);
        assert_eq!(said_dead(&members, held).await, StoreErrorKind::Closed);
        assert_eq!(letters(broker).await, 0);
    }
}
