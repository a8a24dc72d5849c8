use std::time::Duration;

use async_nats::HeaderMap;
use es_core::StoreError;
use futures_util::future::join_all;
use tracing::warn;

use super::{Members, unit::Progress};
use crate::server::{Put, json, parse};

/// How long what is settled is collected before it is written.
const EVERY: Duration = Duration::from_millis(5);
/// The pause after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// What is to be written of a unit.
struct Unsaved {
    unit: u32,
    epoch: u64,
    revision: u64,
    progress: Progress,
    changes: u64,
}

impl Members {
    /// Writes what was settled, as long as there are members.
    pub(super) async fn save(&self) {
        loop {
            self.save.notified().await;
            let saved = self.server.unbroken(self.save_all());
            let pause = match saved.await {
                Ok(()) => EVERY,
                Err(error) => {
                    warn!(%error, group = %self.group, "what is settled cannot be written yet");
                    self.save.notify_one();
                    PAUSE
                }
            };
            self.server.world.sleep(pause).await;
        }
    }

    /// Writes all that was settled and is not written.
    pub(crate) async fn save_all(&self) -> Result<(), StoreError> {
        let _alone = self.saving.lock().await;
        let unsaved = self.unsaved();
        let written = join_all(unsaved.into_iter().map(|unsaved| self.write(unsaved))).await;
        self.changed.notify_waiters();
        written.into_iter().collect()
    }

    fn unsaved(&self) -> Vec<Unsaved> {
        let queue = self.queue.lock();
        let units = queue.units.iter().filter_map(|(unit, state)| {
            Some(Unsaved {
                unit: *unit,
                epoch: state.epoch,
                revision: state.revision,
                changes: state.unsaved()?,
                progress: state.progress(&self.server.process),
            })
        });
        units.collect()
    }

    async fn write(&self, unsaved: Unsaved) -> Result<(), StoreError> {
        let subject = self.server.names.progress(unsaved.unit, &self.group);
        let payload = json(&unsaved.progress);
        let expected = Some(unsaved.revision);
        match self.server.put(&subject, HeaderMap::new(), payload, expected).await? {
            Put::Done(revision) => self.is_saved(&unsaved, revision, unsaved.changes),
            Put::Changed => self.look_again(&unsaved, &subject).await?,
        }
        Ok(())
    }

    /// What is there now is our own, of a write that nobody confirmed, or another's, who
    /// has taken over.
    async fn look_again(&self, unsaved: &Unsaved, subject: &str) -> Result<(), StoreError> {
        let found = self.server.last(subject).await?;
        let ours = match &found {
            Some(found) => {
                let progress: Progress = parse(subject, &found.payload)?;
                (progress.by == self.server.process).then_some(found.sequence)
            }
            None => None,
        };
        match ours {
            Some(revision) => {
                self.is_saved(unsaved, revision, 0);
                self.save.notify_one();
            }
            None => {
                warn!(group = %self.group, unit = unsaved.unit, "another process has taken over");
                self.lose(unsaved.unit, unsaved.epoch);
                self.wake();
            }
        }
        Ok(())
    }

    fn is_saved(&self, unsaved: &Unsaved, revision: u64, changes: u64) {
        if let Some(unit) = self.queue.lock().units.get_mut(&unsaved.unit)
            && unit.epoch == unsaved.epoch
        {
            unit.save(revision, changes, unsaved.progress.to);
        }
    }

    fn lose(&self, unit: u32, epoch: u64) {
        let mut queue = self.queue.lock();
        if queue.units.get(&unit).is_some_and(|state| state.epoch == epoch) {
            queue.end(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use es_core::{ContentType, Group, Message, Name, Subscription, World};
    use es_testkit::{contract::Place, servers::nats_url};

    use super::*;
    use crate::{
        NatsOptions,
        group::{
            charter::Charter,
            queue::{Arrived, Taken},
        },
        server::Server,
    };

    async fn members(place: &Place) -> Members {
        let options = NatsOptions::new(nats_url()).prefix(place.name());
        let server = Server::connect(options).await.expect("a server");
        let group = Group::new("billing").expect("a group");
        let charter = Charter::new("1".into(), &Subscription::of(group.clone()), 1, 0);
        Members::new(group, &charter, Arc::new(server))
    }

    fn arrived(members: &Members) -> Arrived {
        let kind = Name::from_static("order.placed");
        let message = Message::new("1", kind, ContentType::JSON, "{}");
        let to = members.group.clone().into();
        Arrived { at: 1, partition: 0, to, message, given_back: None, unreadable: None }
    }

    #[tokio::test]
    async fn whoever_was_taken_over_cannot_write_any_more() {
        let place = Place::new(World::real());
        let (before, after) = (members(&place).await, members(&place).await);
        let (revision, progress) = before.fence(0, 0).await.expect("it is free");
        before.queue.lock().begin(0, revision, progress, Vec::new());
        let version = before.queue.lock().version;
        assert!(before.queue.lock().push(arrived(&before), version));
        let Some(Taken::Hand(unsettled)) = before.queue.lock().take() else { panic!("a message") };
        after.fence(0, 0).await.expect("it is taken over");

        before.queue.lock().settle(&unsettled).expect("it does not know yet");
        before.save_all().await.expect("a server");
        assert!(before.queue.lock().units.is_empty(), "now it knows");
        let (_, progress) = after.fence(0, 0).await.expect("it is still ours");
        assert_eq!(progress.to, 0, "what it settled is not written");
        before.server.remove().await;
    }
}
