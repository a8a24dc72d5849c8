use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use es_core::{Deliveries, Delivery, Fault, FaultKind, Settlement, StoreError, World, failpoint};
use futures_util::StreamExt;
use tokio::sync::{Mutex, MutexGuard, watch};

use super::Stop;
use crate::{
    Broker, Endpoint, HandleError,
    health::Waits,
    outage::Outage,
    seen::{Known, Seen},
    stats::Counters,
    work::{Done, Given, Work, said},
};

/// The longest pause before the broker is asked again for deliveries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Takes messages, has them handled, and says what became of them; several tasks share one.
pub(super) struct Worker {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) world: World,
    pub(super) endpoint: Endpoint,
    pub(super) work: Arc<dyn Work>,
    /// Whoever holds it waits for the next message; none once the endpoint has left.
    pub(super) deliveries: Mutex<Option<Deliveries>>,
    pub(super) stopping: watch::Receiver<Stop>,
    pub(super) outage: Outage,
    pub(super) seen: Option<Seen>,
    pub(super) counters: Counters,
    pub(super) waits: Waits,
}

impl Worker {
    pub(super) async fn run(self: Arc<Self>, task: usize) {
        let mut stopping = self.stopping.clone();
        loop {
            let taken = tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop != Stop::Not) => break,
                taken = self.take() => taken,
            };
            let in_hand = taken.len() as u64;
            self.counters.in_hand.fetch_add(in_hand, Ordering::Relaxed);
            let turn = tokio::select! {
                biased;
                // What it had in hand is dropped, and comes again.
                _ = stopping.wait_for(|stop| *stop == Stop::AtOnce) => break,
                turn = self.handle(task, taken) => turn,
            };
            self.counters.in_hand.fetch_sub(in_hand, Ordering::Relaxed);
            if turn.is_some() && self.outage.is_on() {
                let retry = self.endpoint.policy();
                tokio::select! {
                    biased;
                    _ = stopping.wait_for(|stop| *stop != Stop::Not) => {}
                    () = self.world.sleep(self.outage.pause(retry.first, retry.cap)) => {}
                }
            }
        }
    }

    /// The next message, or several if the handler takes them.
    async fn take(&self) -> Vec<Delivery> {
        let mut deliveries = self.deliveries.lock().await;
        let mut taken = vec![self.next(&mut deliveries).await];
        let batch = self.endpoint.batch;
        if batch.size == 1 {
            return taken;
        }
        let mut stopping = self.stopping.clone();
        let mut too_old = self.world.sleep(batch.age);
        while taken.len() < batch.size {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop != Stop::Not) => break,
                next = self.next(&mut deliveries) => taken.push(next),
                () = &mut too_old => break,
            }
        }
        taken
    }

    /// The next message, whatever becomes of the broker meanwhile.
    async fn next(&self, deliveries: &mut Option<Deliveries>) -> Delivery {
        let mut pause = Duration::from_millis(50);
        loop {
            let failed = match deliveries {
                Some(open) => match open.next().await {
                    Some(Ok(delivery)) => return delivery,
                    Some(Err(error)) => Some(error),
                    None => None,
                },
                None => None,
            };
            if let Some(error) = failed {
                tracing::warn!(group = %self.endpoint.subscription.group, %error, "no deliveries");
                self.waits.broker_fails(self.world.now(), error.to_string());
            }
            *deliveries = None;
            self.world.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.broker.consume(self.endpoint.subscription.clone()).await {
                Ok(open) => {
                    self.waits.broker_is_there();
                    *deliveries = Some(open);
                }
                Err(error) => {
                    self.waits.broker_fails(self.world.now(), error.to_string());
                    let group = &self.endpoint.subscription.group;
                    tracing::warn!(%group, %error, "the group cannot be joined, trying again");
                }
            }
        }
    }

    /// Handles them, and returns the turn that it had in an outage.
    async fn handle(&self, task: usize, taken: Vec<Delivery>) -> Option<MutexGuard<'_, ()>> {
        let mut wanted = Vec::with_capacity(taken.len());
        for delivery in taken {
            let passed_over = catch_unwind(AssertUnwindSafe(|| self.passed_over(&delivery)));
            let passed_over = passed_over.unwrap_or_else(|panic| {
                Some(self.failed(&delivery, FaultKind::Panic, said(&*panic)))
            });
            match passed_over {
                None => wanted.push(delivery),
                Some(settlement) => self.settle(delivery, settlement).await,
            }
        }
        if wanted.is_empty() {
            return None;
        }
        let given = |delivery: &Delivery| Given {
            to: delivery.to.clone(),
            message: delivery.message.clone(),
            attempt: delivery.attempt,
        };
        let given: Vec<_> = wanted.iter().map(given).collect();
        let turn = self.outage.turn().await;
        self.waits.begins(task, self.world.now());
        let done = self.try_all(&given).await;
        self.waits.ends(task);
        for (delivery, done) in wanted.into_iter().zip(done) {
            let settlement = self.conclude(&delivery, done);
            self.settle(delivery, settlement).await;
        }
        turn
    }

    /// What becomes of a message that is not to be handled, or not now.
    fn passed_over(&self, delivery: &Delivery) -> Option<Settlement> {
        let message = &delivery.message;
        let why = if message.expires.is_some_and(|expires| expires <= self.world.now()) {
            &self.counters.expired
        } else if !self.endpoint.wants(message) {
            &self.counters.passed
        } else {
            match self.seen(delivery, |seen, key, now| seen.enter(&key, now)) {
                None | Some(Known::Nothing) => return None,
                // If the other one fails, this one will do.
                Some(Known::InHand) => {
                    self.outage.forgive(&message.id);
                    return Some(self.retry(self.endpoint.policy().first));
                }
                Some(Known::Handled) => &self.counters.repeated,
            }
        };
        why.one_more();
        Some(Settlement::Ack)
    }

    fn seen<T>(
        &self,
        delivery: &Delivery,
        with: impl FnOnce(&Seen, String, DateTime<Utc>) -> T,
    ) -> Option<T> {
        let (Some(seen), Some((_, key))) = (&self.seen, &self.endpoint.dedupe) else { return None };
        if delivery.message.is_replay() {
            return None;
        }
        Some(with(seen, key(&delivery.message), self.world.now()))
    }

    /// Has them handled, those that fail again at once as often as the policy says.
    async fn try_all(&self, given: &[Given]) -> Vec<Done> {
        let mut done = self.try_once(given).await;
        for _ in 0..self.endpoint.policy().immediate {
            let fails = |done: &Done| {
                matches!(done, Done::Panicked(_) | Done::Failed(HandleError::Transient(_)))
            };
            let again: Vec<_> = (0..done.len()).filter(|at| fails(&done[*at])).collect();
            if again.is_empty() {
                break;
            }
            let once_more: Vec<_> = again.iter().map(|at| given[*at].clone()).collect();
            for (at, outcome) in again.into_iter().zip(self.try_once(&once_more).await) {
                done[at] = outcome;
            }
        }
        done
    }

    async fn try_once(&self, given: &[Given]) -> Vec<Done> {
        let began = self.world.now();
        let done = self.work.work(given).await;
        let ended = self.world.now();
        for one in &done {
            let went_well = matches!(one, Done::Handled | Done::Passed);
            self.counters.tried(began, ended, went_well);
            if !went_well {
                self.counters.failed.one_more();
            }
        }
        done
    }

    /// What becomes of a message with which this was done.
    fn conclude(&self, delivery: &Delivery, done: Done) -> Settlement {
        let was_handled = matches!(done, Done::Handled);
        let leave = || self.seen(delivery, |seen, key, now| seen.leave(key, was_handled, now));
        drop(catch_unwind(AssertUnwindSafe(leave)));
        match done {
            Done::Handled => {
                self.outage.went_well();
                self.counters.handled.one_more();
                Settlement::Ack
            }
            Done::Passed => {
                self.counters.passed.one_more();
                Settlement::Ack
            }
            Done::Undecodable(reason) => self.give_up(FaultKind::Undecodable, reason),
            Done::Failed(HandleError::Permanent(reason)) => {
                self.outage.went_well();
                let reason = HandleError::Permanent(reason).to_string();
                self.give_up(FaultKind::Permanent, reason)
            }
            Done::Failed(HandleError::Throttled { after, .. }) => {
                self.outage.went_wrong();
                self.outage.forgive(&delivery.message.id);
                self.retry(after)
            }
            Done::Failed(error) => self.failed(delivery, FaultKind::Transient, error.to_string()),
            Done::Panicked(reason) => self.failed(delivery, FaultKind::Panic, reason),
        }
    }

    fn failed(&self, delivery: &Delivery, kind: FaultKind, reason: String) -> Settlement {
        self.outage.went_wrong();
        let (policy, id) = (self.endpoint.policy(), &delivery.message.id);
        if self.outage.is_on() {
            self.outage.forgive(id);
            return self.retry(policy.pause(1, &self.world));
        }
        let attempt = self.outage.counted(id, delivery.attempt);
        if attempt < policy.tries {
            return self.retry(policy.pause(attempt, &self.world));
        }
        self.give_up(kind, reason)
    }

    fn retry(&self, after: Duration) -> Settlement {
        self.counters.retried.one_more();
        Settlement::Retry(after)
    }

    fn give_up(&self, kind: FaultKind, reason: String) -> Settlement {
        self.counters.dead_lettered.one_more();
        Settlement::DeadLetter(Fault::new(kind, reason))
    }

    /// Tells the broker. If it does not learn of it, the message comes again.
    async fn settle(&self, delivery: Delivery, settlement: Settlement) {
        let id = delivery.message.id.clone();
        if !matches!(settlement, Settlement::Retry(_)) {
            self.outage.forget(&id);
        }
        let settled: Result<(), StoreError> = delivery.settle(settlement).await;
        failpoint!("endpoint.after_settle");
        if let Err(error) = settled {
            let group = &self.endpoint.subscription.group;
            tracing::warn!(%group, id, %error, "the broker was not told what became of a message");
        }
    }
}
