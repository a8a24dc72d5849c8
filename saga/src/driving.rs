//! One saga on its way, in the hands of this process.

use std::{collections::HashSet, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{AppendError, EventStoreExt, TakenTimer, World, failpoint, limits};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};
use serde_json::Value;

use crate::{
    Effect, Phase, Probe, SagaError, SagaEvent, SagaId, Stage, Way, Work,
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
    mine: HashSet<(String, Way, u32)>,
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
                    if self.is_taken() {
                        return Ok(());
                    }
                    let until = self.inner.world.now() + self.inner.lease;
                    self.timer = self.inner.set_timer(&id, until).await?;
                }
                Turn::Wait if self.wait().await? => return Ok(()),
                Turn::Wait => {}
            }
        }
    }

    /// Says when something is due. Who is suspended waits for nothing; what somebody else
    /// has said of the timer meanwhile stays.
    async fn rest(&mut self, due: Option<DateTime<Utc>>) -> Result<(), SagaError> {
        let Inner { timers, store, world, lease, .. } = &*self.inner;
        let id = &self.live.id;
        match due {
            None if self.live.state.phase == Phase::Suspended => timers.done(&self.timer).await?,
            _ => {
                let lease = world.now() + *lease;
                self.timer = self.inner.set_timer(id, due.unwrap_or(lease)).await?;
                // Another process may have it by now, and that was its lease.
                if store.version(id.stream()).await? != self.live.version {
                    self.timer = self.inner.set_timer(id, lease).await?;
                }
            }
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
                    if self.wake.is_some() {
                        self.renew().await?;
                    }
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
        let bytes = |output: &Value| output.to_string().len();
        let outputs = self.outcomes.iter_mut().filter_map(|outcome| {
            let bytes = outcome.result.as_ref().ok().map(bytes)?;
            Some((outcome, bytes))
        });
        let Some((largest, bytes)) = outputs.max_by_key(|(_, bytes)| *bytes) else { return false };
        largest.result = Err(Failed { again: false, ..Failed::unknown(&reason) });
        bytes > limits::PAYLOAD_BYTES / 8
    }

    async fn reload(&mut self) -> Result<(), SagaError> {
        let Inner { store, registry, .. } = &*self.inner;
        self.live = Live::load(&**store, registry, &self.live.id).await?;
        // What this process has begun, and forgotten since.
        let lost = self.live.sight(&self.inner.world, &self.inner.node).lost();
        let forgotten = |one: &Outcome| {
            !self.mine.contains(&(one.step.clone(), one.way, one.attempt))
                && !self
                    .outcomes
                    .iter()
                    .any(|known| (&known.step, known.way) == (&one.step, one.way))
        };
        let lost: Vec<_> = lost.into_iter().filter(forgotten).collect();
        if !self.is_taken() {
            self.outcomes.extend(lost);
        }
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
        let due = due.filter(|_| !self.inner.is_stopping());
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
            match self.renew().await {
                Err(error) if error.is_transient() && world.now() < self.timer.until => {
                    tracing::warn!(saga = %self.live.id, %error, "a lease is renewed later");
                    self.renewed += lease / 12;
                    return Ok(false);
                }
                renewed => renewed?,
            }
        }
        if told || renews {
            self.reload().await?;
        }
        Ok((told || renews) && self.is_taken())
    }

    async fn renew(&mut self) -> Result<(), SagaError> {
        let now = self.inner.world.now();
        self.timer = self.inner.set_timer(&self.live.id, now + self.inner.lease).await?;
        self.renewed = now;
        self.is_awake().await
    }

    fn settle(&mut self, outcome: Outcome) {
        self.mine.remove(&(outcome.step.clone(), outcome.way, outcome.attempt));
        self.outcomes.push(outcome);
    }

    fn begin(&mut self, events: &[SagaEvent]) {
        for event in events {
            let SagaEvent::StepBegan { step, way, attempt, .. } = event else { continue };
            let Some(at) = self.live.definition.graph().find(step) else { continue };
            self.mine.insert((step.clone(), *way, *attempt));
            self.tries.push(self.attempt(at, step, *way, *attempt));
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
        let called = state.called.as_deref().unwrap_or(name);
        let action_key = id.key(called, "forward", state.round);
        let key = match way {
            Way::Forward => action_key,
            Way::Back => id.key(called, "back", state.round),
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
            let mut result = Err(Failed::unknown("it was not tried"));
            let mut found = time.probe(before).await;
            if !matches!(found, Some(Probe::Happened(_))) {
                result = time.try_all(run, immediate).await;
                let unknown = |failed: &Failed| failed.effect == Effect::Unknown;
                found = match result.as_ref().err().filter(|failed| unknown(failed)) {
                    Some(_) => time.probe(after).await,
                    None => None,
                };
            }
            let answers = matches!(found, Some(Probe::Happened(_)));
            let result = match (found, result) {
                (Some(Probe::Happened(output)), _) => Ok(output),
                (Some(Probe::Absent), Err(failed)) => {
                    Err(Failed { effect: Effect::Absent, ..failed })
                }
                (_, result) => result,
            };
            failpoint!("saga.after_action");
            metrics.tried(&id, way, (time.world.now() - began).to_std().unwrap_or_default());
            Outcome { step: name, way, attempt, result, answers }
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
