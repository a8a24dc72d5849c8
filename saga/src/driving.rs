//! One saga on its way, in the hands of this process.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{AppendError, TakenTimer, World, failpoint};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};
use serde_json::Value;

use crate::{
    Effect, Probe, SagaError, SagaEvent, SagaId, Stage, Way, Work,
    decide::{Failed, Outcome},
    definition::Start,
    live::Live,
    sagas::{Inner, Local},
};

/// What is due so soon is waited for, and not given back.
const SOON: TimeDelta = TimeDelta::milliseconds(100);
/// How often an append is made anew after others have been faster.
const CONFLICTS: u32 = 16;

pub(crate) struct Driving {
    inner: Arc<Inner>,
    live: Live,
    local: Arc<Local>,
    tries: FuturesUnordered<BoxFuture<'static, Outcome>>,
    /// What this process tries.
    mine: HashSet<(String, Way)>,
    outcomes: Vec<Outcome>,
    renewed: DateTime<Utc>,
    /// Until when it is in these hands.
    timer: TakenTimer,
    /// What has brought it here; it comes again if this process dies before it has said
    /// otherwise.
    wake: Option<TakenTimer>,
}

/// What becomes of a saga in these hands.
enum Turn {
    Wait,
    Rest(Option<DateTime<Utc>>),
    Ended,
    /// Another process has it.
    Taken,
}

impl Driving {
    /// Goes on with what has just been appended.
    pub(crate) fn with(
        inner: Arc<Inner>,
        live: Live,
        local: Arc<Local>,
        timer: TakenTimer,
        new: &[SagaEvent],
    ) -> Self {
        let (renewed, outcomes) = (inner.world.now(), Vec::new());
        let (tries, mine) = (FuturesUnordered::new(), HashSet::new());
        let wake = None;
        let mut driving = Self { inner, live, local, tries, mine, outcomes, renewed, timer, wake };
        driving.begin(new);
        driving
    }

    /// Takes over a saga that nobody else goes on with, as far as is known.
    pub(crate) fn take_over(
        inner: Arc<Inner>,
        live: Live,
        local: Arc<Local>,
        timer: TakenTimer,
        wake: Option<TakenTimer>,
    ) -> Self {
        let outcomes = live.sight(&inner.world, &inner.node).lost();
        Self { outcomes, wake, ..Self::with(inner, live, local, timer, &[]) }
    }

    /// Goes on until nothing follows for a while.
    pub(crate) async fn run(mut self) -> Result<(), SagaError> {
        let id = self.live.id.clone();
        loop {
            match self.advance().await? {
                Turn::Taken => return Ok(()),
                Turn::Ended => {
                    self.inner.timers.cancel(&self.timer.timer.id).await?;
                    return self.is_awake().await;
                }
                Turn::Rest(due) => {
                    self.rest(due).await?;
                    if self.inner.leave(&id, &self.local) {
                        return Ok(());
                    }
                    self.reload().await?;
                    let until = self.inner.world.now() + self.inner.lease;
                    self.timer = self.inner.set_timer(&id, until).await?;
                }
                Turn::Wait if self.wait().await? => return Ok(()),
                Turn::Wait => {}
            }
        }
    }

    /// Says when something is due, or that nothing is; what somebody else has said
    /// meanwhile stays.
    async fn rest(&mut self, due: Option<DateTime<Utc>>) -> Result<(), SagaError> {
        match due {
            Some(due) => self.timer = self.inner.set_timer(&self.live.id, due).await?,
            None => self.inner.timers.done(&self.timer).await?,
        }
        self.is_awake().await
    }

    async fn is_awake(&mut self) -> Result<(), SagaError> {
        match self.wake.take() {
            Some(wake) => Ok(self.inner.timers.done(&wake).await?),
            None => Ok(()),
        }
    }

    /// Records what has come and what follows from it, and begins what is to be tried.
    async fn advance(&mut self) -> Result<Turn, SagaError> {
        for _ in 0..CONFLICTS {
            let mut events = Vec::new();
            self.take_in(&mut events)?;
            let inner = Arc::clone(&self.inner);
            if !inner.is_stopping() {
                self.live.follow(&mut events, &inner.world, &inner.node)?;
            }
            if events.is_empty() {
                self.outcomes.clear();
                return Ok(self.turn());
            }
            match self.live.append(&*inner.store, &inner.world, &events).await {
                Ok(()) => {
                    self.outcomes.clear();
                    inner.metrics.recorded(&self.live.id, &events);
                    self.begin(&events);
                    return Ok(self.turn());
                }
                Err(SagaError::Append(AppendError::Conflict(_))) => {
                    self.reload().await?;
                    if self.is_taken() {
                        return Ok(Turn::Taken);
                    }
                }
                Err(error) if error.is_invalid() && self.outputs_are_left_out(&error) => {
                    self.reload().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Err(SagaError::Contended { saga: self.live.id.clone() })
    }

    fn take_in(&mut self, events: &mut Vec<SagaEvent>) -> Result<(), SagaError> {
        for outcome in &self.outcomes {
            let event = self.live.sight(&self.inner.world, &self.inner.node).accept(outcome);
            if matches!(event, SagaEvent::AnswerIgnored { .. }) {
                continue;
            }
            self.live.apply(&event)?;
            events.push(event);
        }
        Ok(())
    }

    /// What cannot be recorded, as it is too large, has failed. `false` if it was none of
    /// the outputs.
    fn outputs_are_left_out(&mut self, error: &SagaError) -> bool {
        let reason = format!("its output cannot be recorded: {error}");
        let mut any = false;
        for outcome in &mut self.outcomes {
            if outcome.result.is_ok() {
                any = true;
                outcome.result = Err(Failed { again: false, ..Failed::unknown(&reason) });
            }
        }
        any
    }

    async fn reload(&mut self) -> Result<(), SagaError> {
        let Inner { store, registry, .. } = &*self.inner;
        self.live = Live::load(&**store, registry, &self.live.id).await?;
        Ok(())
    }

    /// Whether another process tries what this one does.
    fn is_taken(&self) -> bool {
        let by_other = |stage: &Stage| match stage {
            Stage::Running { by } => **by != *self.inner.node,
            _ => false,
        };
        let steps = self.live.state.steps.values();
        steps.into_iter().any(|step| by_other(&step.forward) || by_other(&step.back))
    }

    fn turn(&self) -> Turn {
        let (state, now) = (&self.live.state, self.inner.world.now());
        if state.phase.is_terminal() {
            return Turn::Ended;
        }
        if self.inner.is_stopping() && self.tries.is_empty() {
            return Turn::Rest(Some(now));
        }
        let due = self.live.sight(&self.inner.world, &self.inner.node).next_due();
        let is_soon = due.is_some_and(|due| due - now <= SOON);
        if self.tries.is_empty() && !is_soon { Turn::Rest(due) } else { Turn::Wait }
    }

    /// Waits until a try has come to something, something is due, or others have recorded
    /// something. `true` if another process has taken the saga.
    async fn wait(&mut self) -> Result<bool, SagaError> {
        let (world, lease) = (self.inner.world.clone(), self.inner.lease);
        let renew = self.renewed + lease / 3;
        let due = self.live.sight(&world, &self.inner.node).next_due();
        let until = due.map_or(renew, |due| due.min(renew));
        let pause = (until - world.now()).to_std().unwrap_or_default();
        let has_tries = !self.tries.is_empty();
        let local = Arc::clone(&self.local);
        let told = tokio::select! {
            biased;
            Some(outcome) = self.tries.next(), if has_tries => {
                self.settle(outcome);
                false
            }
            () = local.told() => true,
            () = world.sleep(pause) => false,
        };
        while let Some(Some(outcome)) = self.tries.next().now_or_never() {
            self.settle(outcome);
        }
        let renews = world.now() >= renew;
        if renews {
            self.renewed = world.now();
            self.timer = self.inner.set_timer(&self.live.id, self.renewed + lease).await?;
            self.is_awake().await?;
        }
        if told || renews {
            self.reload().await?;
        }
        Ok((told || renews) && self.is_taken())
    }

    fn settle(&mut self, outcome: Outcome) {
        self.mine.remove(&(outcome.step.clone(), outcome.way));
        self.outcomes.push(outcome);
    }

    fn begin(&mut self, events: &[SagaEvent]) {
        for event in events {
            let SagaEvent::StepBegan { step, way, attempt, .. } = event else { continue };
            let Some(at) = self.live.definition.graph().find(step) else { continue };
            if self.mine.insert((step.clone(), *way)) {
                self.tries.push(self.attempt(at, step, *way, *attempt));
            }
        }
    }

    fn attempt(
        &self,
        at: usize,
        name: &str,
        way: Way,
        attempt: u32,
    ) -> BoxFuture<'static, Outcome> {
        let state = self.live.state.known(name);
        let (id, step) = (&self.live.id, Arc::<str>::from(name));
        let action_key = id.key(name, "forward", state.round);
        let key = match way {
            Way::Forward => action_key,
            Way::Back => id.key(name, "back", state.round),
        };
        let work = Work {
            data: Arc::new(()),
            saga: id.clone(),
            step,
            key,
            action_key,
            attempt,
            metadata: self.live.metadata.clone(),
        };
        let limits = self.live.definition.limits(at, way);
        let time = Timed { world: self.inner.world.clone(), timeout: limits.timeout };
        let probe = || self.live.data.probe(at, work.clone()).filter(|_| way == Way::Forward);
        let before = if state.uncertain { probe() } else { None };
        let after = if state.tries >= limits.retry.tries { probe() } else { None };
        let (run, immediate) = (self.live.data.run(at, way, work), limits.retry.immediate);
        let (name, span) = (name.to_owned(), span(id, name, way, attempt));
        let (id, metrics) = (id.clone(), self.inner.metrics);
        let trying = async move {
            let began = time.world.now();
            let result = match time.probe(before).await {
                Some(Probe::Happened(output)) => Ok(output),
                _ => match time.try_all(run, immediate).await {
                    Err(failed) if failed.effect == Effect::Unknown => {
                        match time.probe(after).await {
                            Some(Probe::Happened(output)) => Ok(output),
                            Some(Probe::Absent) => Err(Failed { effect: Effect::Absent, ..failed }),
                            _ => Err(failed),
                        }
                    }
                    result => result,
                },
            };
            failpoint!("saga.after_action");
            metrics.tried(&id, way, (time.world.now() - began).to_std().unwrap_or_default());
            Outcome { step: name, way, attempt, result, answers: false }
        };
        tracing::Instrument::instrument(trying, span).boxed()
    }
}

/// How long one try may take.
struct Timed {
    world: World,
    timeout: Option<Duration>,
}

impl Timed {
    /// One try and those that follow it at once.
    async fn try_all(&self, run: Start<Value>, immediate: u32) -> Result<Value, Failed> {
        let mut left = immediate;
        loop {
            match self.run(&run).await {
                Err(failed) if failed.again && left > 0 => left -= 1,
                ended => return ended,
            }
        }
    }

    async fn probe(&self, probe: Option<Start<Probe<Value>>>) -> Option<Probe<Value>> {
        match self.run(&probe?).await {
            Ok(found) => Some(found),
            Err(failed) => {
                tracing::warn!(reason = %failed.reason, "a probe has failed");
                None
            }
        }
    }

    async fn run<T>(&self, start: &Start<T>) -> Result<T, Failed> {
        let running = AssertUnwindSafe(async { start().await }).catch_unwind();
        let running = std::pin::pin!(running);
        let ended = match self.timeout {
            None => running.await,
            Some(timeout) => match select(running, self.world.sleep(timeout)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => return Err(Failed::unknown("it took too long")),
            },
        };
        match ended {
            Ok(result) => Ok(result?),
            Err(_) => Err(Failed::unknown("it panicked")),
        }
    }
}

fn span(id: &SagaId, step: &str, way: Way, attempt: u32) -> tracing::Span {
    tracing::info_span!("saga.step", saga = %id, step, %way, attempt)
}
