//! One member, and what is in its hands.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use es_core::{Deliveries, Delivery, Settlement, StoreError, StoreErrorKind};
use futures_util::{StreamExt, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    members::{Ended, Members},
    turn::{Outcome, Settling, Taken},
    wire,
};

/// Leaves when it is dropped.
pub(super) struct Member {
    members: Arc<Members>,
    window: usize,
    room: Arc<Semaphore>,
}

impl Member {
    pub(super) fn new(members: Arc<Members>, window: usize) -> Self {
        Self { members, window, room: Arc::new(Semaphore::new(window)) }
    }

    pub(super) fn deliveries(self) -> Deliveries {
        stream::unfold(Some(self), |member| async move {
            let member = member?;
            match member.next().await {
                Ok(delivery) => Some((Ok(delivery), Some(member))),
                Err(Ended::Once(error)) => Some((Err(error), Some(member))),
                Err(Ended::ForAll(error)) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&self) -> Result<Delivery, Ended> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        let permit = permit.expect("the semaphore is never closed");
        let (taken, session) = self.members.next().await?;
        let mut handed = Handed::new(Arc::clone(&self.members), &taken, session, permit);
        let Some((to, message)) = wire::decode(&taken.written) else {
            handed.say(Outcome::SetAside, None);
            return Err(Ended::Once(unreadable(taken.number)));
        };
        Ok(Delivery::new(to, message, taken.attempt, |settlement| {
            Box::pin(handed.settle(settlement))
        }))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.members.leave(self.window);
    }
}

/// A message in the hands of a member; if it is dropped, it comes again.
struct Handed {
    members: Arc<Members>,
    number: u64,
    lane: Bytes,
    session: u64,
    is_settled: bool,
    _permit: OwnedSemaphorePermit,
}

impl Handed {
    fn new(
        members: Arc<Members>,
        taken: &Taken,
        session: u64,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let lane = wire::lane(&taken.written, members.terms.order);
        let number = taken.number;
        Self { members, number, lane, session, is_settled: false, _permit: permit }
    }

    async fn settle(mut self, settlement: Settlement) -> Result<(), StoreError> {
        let (told, outcome) = oneshot::channel();
        self.say(Outcome::from(settlement), Some(told));
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    fn say(&mut self, outcome: Outcome, told: Option<oneshot::Sender<Result<(), StoreError>>>) {
        let lane = std::mem::take(&mut self.lane);
        self.is_settled = true;
        self.members.settle(Settling { number: self.number, lane, outcome, told }, self.session);
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if !self.is_settled {
            self.say(Outcome::Retry(Duration::ZERO), None);
        }
    }
}

impl From<Settlement> for Outcome {
    fn from(settlement: Settlement) -> Self {
        match settlement {
            Settlement::Ack => Self::Ack,
            Settlement::Retry(after) => Self::Retry(after),
            Settlement::DeadLetter(fault) => Self::Bury(fault),
        }
    }
}

fn unreadable(number: u64) -> StoreError {
    let message = format!("message {number} of the group cannot be read, it was put aside");
    StoreError::new(StoreErrorKind::Corrupt, message)
}

fn ended() -> StoreError {
    let message = "the runtime has ended that talked to the server for this group";
    StoreError::new(StoreErrorKind::Closed, message)
}
