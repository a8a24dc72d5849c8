//! The members of one group in this process, and what it has in hand for them.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use es_core::{Deliveries, Group, StoreError, StoreErrorKind, Subscription, TopicPattern};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    link::Terms,
    member::Member,
    turn::{Asked, Done, Outcome, Settling, Taken},
    wire,
};

/// Most messages that are taken, and most that are settled, in one turn.
const AT_ONCE: usize = 500;
/// Most messages that a process has in hand for a group, however wide the windows are: it has
/// to be able to tell the server all of them at once.
const IN_HAND: usize = 500_000;

#[derive(Debug)]
pub(super) struct Members {
    pub(super) group: Group,
    pub(super) terms: Terms,
    state: Mutex<State>,
    /// Wakes every member that waits.
    changed: Notify,
    /// Wakes the pump.
    pub(super) work: Notify,
}

/// Who is left after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    Members,
    /// Those who came while the others left.
    Latecomers,
    Nobody,
}

#[derive(Debug, Default)]
struct State {
    members: usize,
    /// Most that all members hold together.
    windows: usize,
    patterns: Vec<TopicPattern>,
    /// Counts the sessions: what was taken in one cannot be settled in another.
    session: u64,
    /// What waits for a member.
    queue: VecDeque<Result<Taken, StoreError>>,
    /// What the server should know to be in hand: in the queue, with a member, or settling.
    held: HashSet<u64>,
    settling: Vec<Settling>,
    /// Why there will be nothing more.
    ended: Option<(StoreErrorKind, &'static str)>,
}

impl Members {
    pub(super) fn new(subscription: &Subscription) -> Self {
        Self {
            group: subscription.group.clone(),
            terms: Terms::of(subscription),
            state: Mutex::default(),
            changed: Notify::new(),
            work: Notify::new(),
        }
    }

    /// What a new member gets, unless all has ended, or the group is another one since.
    pub(super) fn join(self: &Arc<Self>, subscription: &Subscription) -> Option<Deliveries> {
        let mut state = self.state.lock();
        if state.ended.is_some() || self.terms != Terms::of(subscription) {
            return None;
        }
        state.members += 1;
        let window = subscription.window.clamp(1, IN_HAND);
        state.windows += window;
        state.patterns.extend(subscription.patterns.iter().cloned());
        drop(state);
        self.work.notify_one();
        Some(Member::new(Arc::clone(self), window).deliveries())
    }

    pub(super) fn patterns(&self) -> Vec<TopicPattern> {
        self.state.lock().patterns.clone()
    }

    /// What to say and what to ask for next; all that is in hand, if it is asked for.
    pub(super) fn ask(&self, matches: bool) -> Asked {
        let mut state = self.state.lock();
        let count = state.settling.len().min(AT_ONCE);
        let mut settling: Vec<_> = state.settling.drain(..count).collect();
        if state.members == 0 {
            let count = state.queue.len().min(AT_ONCE);
            let unseen = state.queue.drain(..count).filter_map(Result::ok);
            settling.extend(unseen.map(|taken| self.returned(&taken)));
        }
        let kept = state.held.len().saturating_sub(settling.len());
        let leaves = state.members == 0 && kept == 0;
        let want = state.windows().saturating_sub(kept).min(AT_ONCE);
        let known = matches.then(|| state.held.iter().copied().collect());
        Asked { settling, want: (!leaves).then_some(want), known }
    }

    fn returned(&self, taken: &Taken) -> Settling {
        let lane = wire::lane(&taken.written, self.terms.order);
        Settling { number: taken.number, lane, outcome: Outcome::Return, told: None }
    }

    /// Whether there is more to say than was said in one turn.
    pub(super) fn has_more_to_say(&self) -> bool {
        let state = self.state.lock();
        !state.settling.is_empty() || (state.members == 0 && !state.queue.is_empty())
    }

    /// Whether there is room for more.
    pub(super) fn wants(&self) -> bool {
        let state = self.state.lock();
        state.held.len() < state.windows()
    }

    /// What was said is done; says who is left.
    pub(super) fn done(&self, asked: Asked, done: Done) -> Left {
        let left = {
            let mut state = self.state.lock();
            for mut settling in asked.settling {
                state.held.remove(&settling.number);
                settling.tell(outcome(settling.number, &done));
            }
            state.queue.extend(done.lost.iter().map(|number| Err(lost(*number))));
            state.held.extend(done.taken.iter().map(|taken| taken.number));
            state.queue.extend(done.taken.into_iter().map(Ok));
            state.left_after(asked.want.is_none())
        };
        self.changed.notify_waiters();
        left
    }

    /// Nobody knows whether what was said is done. What does not pass by itself is told to a
    /// member too. Says who is left.
    pub(super) fn failed(&self, asked: Asked, error: &StoreError) -> Left {
        let copy = || StoreError::new(error.kind(), error.to_string());
        let again = asked.settling.into_iter().map(|mut settling| {
            settling.tell(Err(copy()));
            settling.again()
        });
        let mut state = self.state.lock();
        state.settling.extend(again);
        if !error.is_transient() && state.queue.iter().all(Result::is_ok) {
            state.queue.push_back(Err(copy()));
        }
        let left = state.left_after(asked.want.is_none());
        drop(state);
        self.changed.notify_waiters();
        left
    }

    /// What was in hand is not any more.
    pub(super) fn fenced(&self, asked: Asked) {
        let mut state = self.state.lock();
        state.session += 1;
        state.held.clear();
        state.queue.retain(Result::is_err);
        let all = asked.settling.into_iter().chain(state.settling.drain(..));
        all.for_each(|mut settling| settling.tell(Err(fenced())));
    }

    /// Nothing more comes; the first reason counts.
    pub(super) fn end(&self, kind: StoreErrorKind, why: &'static str) {
        let mut state = self.state.lock();
        state.ended.get_or_insert((kind, why));
        state.queue.clear();
        let error = || StoreError::new(kind, why);
        state.settling.drain(..).for_each(|mut settling| settling.tell(Err(error())));
        drop(state);
        self.changed.notify_waiters();
    }

    /// Says what became of a message, at once if it is too late.
    pub(super) fn settle(&self, settling: Settling, session: u64) {
        let mut settling = settling;
        let mut state = self.state.lock();
        match state.ended {
            Some((kind, why)) => settling.tell(Err(StoreError::new(kind, why))),
            None if state.session != session => settling.tell(Err(fenced())),
            None => state.settling.push(settling),
        }
        drop(state);
        self.work.notify_one();
    }

    /// The next message, and the session in which it was taken.
    pub(super) async fn next(&self) -> Result<(Taken, u64), Ended> {
        loop {
            // Created before the look, so that no change between the two is lost.
            let changed = self.changed.notified();
            if let Some(next) = self.state.lock().next() {
                return next;
            }
            changed.await;
        }
    }

    pub(super) fn leave(&self, window: usize) {
        let mut state = self.state.lock();
        state.members -= 1;
        state.windows -= window;
        drop(state);
        self.work.notify_one();
    }
}

/// Why there is no message.
pub(super) enum Ended {
    /// But there may be more.
    Once(StoreError),
    /// And there will be none.
    ForAll(StoreError),
}

impl State {
    /// Who is left after a turn in which all members have left, or not.
    fn left_after(&mut self, have_left: bool) -> Left {
        if !have_left {
            return Left::Members;
        }
        if self.members > 0 {
            return Left::Latecomers;
        }
        self.ended = Some((StoreErrorKind::Closed, "all members have left"));
        Left::Nobody
    }

    fn windows(&self) -> usize {
        self.windows.min(IN_HAND)
    }

    fn next(&mut self) -> Option<Result<(Taken, u64), Ended>> {
        match (self.queue.pop_front(), self.ended) {
            (Some(Ok(taken)), _) => Some(Ok((taken, self.session))),
            (Some(Err(error)), _) => Some(Err(Ended::Once(error))),
            (None, Some((kind, why))) => Some(Err(Ended::ForAll(StoreError::new(kind, why)))),
            (None, None) => None,
        }
    }
}

fn outcome(number: u64, done: &Done) -> Result<(), StoreError> {
    if done.fenced.contains(&number) {
        return Err(fenced());
    }
    if done.full.contains(&number) {
        let message = "no room for another dead letter, the message comes again";
        return Err(StoreError::new(StoreErrorKind::Full, message));
    }
    Ok(())
}

fn fenced() -> StoreError {
    let message = "this process was silent for longer than its lease, and the message was given \
                   to another one";
    StoreError::new(StoreErrorKind::Fenced, message)
}

fn lost(number: u64) -> StoreError {
    let message = format!("message {number} of the group is not there any more");
    StoreError::new(StoreErrorKind::Corrupt, message)
}
