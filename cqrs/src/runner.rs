//! Carries out the commands of one aggregate: load, decide, append, and decide
//! again when others were faster.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use es_core::{
    Aggregate, AppendError, AppendId, Appended, Batch, Claim, Conflict, EventStore, EventStoreExt,
    Evolve, Expected, Loaded, NewEvent, Position, Read, RecordedEvent, StoreErrorKind, StreamId,
    Version, Write,
};

use crate::{
    Failure, SendError, Sent,
    bus::Bus,
    lanes::{Answer, Lanes, Try, Waiting},
};

/// One runner, for one aggregate.
pub(crate) struct Runner<A: Aggregate> {
    pub(crate) bus: Arc<Bus>,
    pub(crate) lanes: Arc<Lanes<A>>,
    pub(crate) stream: StreamId,
    /// Whether its lane is closed.
    pub(crate) ended: bool,
}

/// Where a decision begins.
struct Base<A> {
    loaded: Loaded<A>,
    /// Whether it was compared with the store, or is only remembered.
    verified: bool,
    /// Whether the state has gone ahead of what is appended.
    ahead: bool,
}

/// A command with what was decided about it.
struct Decided<A: Aggregate> {
    waiting: Waiting<A>,
    outcome: Result<Vec<A::Event>, A::Error>,
    /// The version of the aggregate after it.
    version: Version,
    /// The unique values that it takes or gives up.
    claims: Vec<Claim>,
    /// Whether the state has gone through its events already.
    evolved: bool,
}

/// What an attempt leaves to the next one.
struct Left<A: Aggregate> {
    pending: Vec<Waiting<A>>,
    base: Option<Base<A>>,
    failure: Option<Failure>,
}

impl<A: Aggregate> Left<A> {
    fn none() -> Self {
        Self { pending: Vec::new(), base: None, failure: None }
    }
}

impl<A: Aggregate> Runner<A> {
    /// Works until nobody waits any more.
    pub(crate) async fn run(mut self, first: Waiting<A>) {
        self.carry_out(vec![first]).await;
        while let Some(group) = self.lanes.next_group(&self.stream) {
            self.carry_out(group).await;
        }
        self.ended = true;
    }

    async fn carry_out(&self, pending: Vec<Waiting<A>>) {
        let mut left = Left { pending, base: self.remembered(), failure: None };
        let mut attempt = 0;
        while attempt < self.lanes.settings.attempts {
            let before = left.pending.len();
            let base = match left.base.take() {
                Some(base) => Ok(base),
                None => self.base(&left.pending, attempt).await,
            };
            left = match base {
                Ok(base) => self.attempt(left.pending, base).await,
                Err(failure) => return fail(left.pending, failure),
            };
            if left.pending.is_empty() {
                return;
            }
            // Fewer are left: that was progress, not a lost race.
            if left.pending.len() == before {
                attempt += 1;
            }
            if attempt > 1 || left.failure.is_some() {
                self.bus.back_off(attempt).await;
            }
        }
        match left.failure {
            Some(failure) => fail(left.pending, failure),
            None => contended(left.pending, self.lanes.settings.attempts),
        }
    }

    /// The aggregate as this process last saw it.
    fn remembered(&self) -> Option<Base<A>> {
        let loaded = self.lanes.take(&self.stream)?;
        Some(Base { loaded, verified: false, ahead: false })
    }

    async fn base(&self, pending: &[Waiting<A>], attempt: u32) -> Result<Base<A>, Failure> {
        if attempt == 0 && pending.first().is_some_and(|first| first.ask.creates()) {
            return Ok(Base { loaded: Loaded::default(), verified: false, ahead: false });
        }
        let loaded = (self.lanes.settings.load)(&*self.bus.store, &self.stream).await?;
        Ok(Base { loaded, verified: true, ahead: false })
    }

    async fn attempt(&self, pending: Vec<Waiting<A>>, mut base: Base<A>) -> Left<A> {
        let from = base.loaded.version;
        let decided = decide(pending, &mut base, &self.stream);
        if decided.is_empty() {
            self.lanes.keep(&self.stream, base.loaded);
            return Left::none();
        }
        let batch = match self.batch(&decided, from) {
            Ok(batch) => batch,
            Err(failure) => {
                fail(waiting(decided), failure);
                return Left::none();
            }
        };
        if batch.is_empty() {
            return self.nothing_to_append(decided, base).await;
        }
        let tries: Vec<_> = batch.writes.iter().filter_map(Try::of).collect();
        match self.bus.store.append(batch).await {
            Err(AppendError::Store(error)) if error.kind() == StoreErrorKind::Unknown => {
                self.unknown(remember(decided, tries), from, error.into()).await
            }
            Ok(appended) if appended.repeated => self.repeated(decided, &appended),
            Ok(appended) => self.appended(decided, base, &appended).await,
            Err(error) => self.refused(decided, base, error).await,
        }
    }

    /// Each command with events is a write of its own, with its own id if the
    /// sender gave it one; the batch is all of them or none.
    fn batch(&self, decided: &[Decided<A>], mut from: Version) -> Result<Batch, Failure> {
        let mut batch = Batch::new([]);
        for one in decided {
            let events = one.outcome.as_deref().unwrap_or_default();
            if events.is_empty() {
                continue;
            }
            let mut write = Write::new(self.stream.clone()).expect(Expected::Exact(from));
            write.append_id = one.waiting.id;
            batch.writes.push(write.events(self.encode(events, &one.waiting)?));
            batch.claims.extend(one.claims.iter().cloned());
            from = one.version;
        }
        Ok(batch)
    }

    fn encode(&self, events: &[A::Event], waiting: &Waiting<A>) -> Result<Vec<NewEvent>, Failure> {
        let encode = |event| {
            let mut event = NewEvent::encode(event, self.bus.world.event_id(), self.bus.codec)?;
            event.metadata = waiting.metadata.clone();
            Ok(event)
        };
        events.iter().map(encode).collect()
    }

    /// All were rejected, or nothing followed from them. A base that is only
    /// remembered must be compared with the store before anybody is told so.
    async fn nothing_to_append(&self, decided: Vec<Decided<A>>, mut base: Base<A>) -> Left<A> {
        if !base.verified {
            match base.loaded.catch_up(&*self.bus.store, &self.stream).await {
                Ok(0) => {}
                Ok(_) => {
                    base.verified = true;
                    return Box::pin(self.attempt(waiting(decided), base)).await;
                }
                Err(error) => {
                    fail(waiting(decided), error.into());
                    return Left::none();
                }
            }
        }
        let position = base.loaded.position;
        for one in decided {
            self.answer_without_events(one, position).await;
        }
        self.lanes.keep(&self.stream, base.loaded);
        Left::none()
    }

    async fn appended(
        &self,
        decided: Vec<Decided<A>>,
        mut base: Base<A>,
        appended: &Appended,
    ) -> Left<A> {
        let mut writes = appended.writes.iter();
        let mut position = base.loaded.position;
        for one in decided {
            let events = one.outcome.as_deref().unwrap_or_default();
            if events.is_empty() {
                self.answer_without_events(one, position).await;
                continue;
            }
            let written = writes.next().copied().unwrap_or_default();
            position = written.position;
            if !one.evolved {
                events.iter().for_each(|event| base.loaded.state.evolve(event));
            }
            let sent = Sent { version: written.version, position, repeated: false };
            let _ = one.waiting.answer.send(Ok(sent));
        }
        let loaded = Loaded::at(base.loaded.state, appended.version(), appended.position);
        self.lanes.keep(&self.stream, loaded);
        Left::none()
    }

    /// The log had them already: their senders get the first results, and what
    /// was decided beside them is decided again.
    fn repeated(&self, decided: Vec<Decided<A>>, first: &Appended) -> Left<A> {
        let mut writes = first.writes.iter();
        let mut pending = Vec::new();
        for one in decided {
            if one.outcome.as_ref().map_or(true, Vec::is_empty) {
                pending.push(one.waiting);
                continue;
            }
            let written = writes.next().copied().unwrap_or_default();
            let sent =
                Sent { version: written.version, position: written.position, repeated: true };
            let _ = one.waiting.answer.send(Ok(sent));
        }
        Left { pending, base: None, failure: None }
    }

    async fn refused(
        &self,
        decided: Vec<Decided<A>>,
        base: Base<A>,
        error: AppendError,
    ) -> Left<A> {
        let mut pending = waiting(decided);
        let (mut again, mut failure) = (None, None);
        match error {
            AppendError::Conflict(conflict) => {
                let before = pending.len();
                pending = answer_arrived(pending, &conflict.unseen);
                if pending.len() == before {
                    again = moved(base, &conflict);
                }
            }
            AppendError::Overtaken { .. } => {}
            AppendError::Repeated { known } => pending = answer_known(pending, &known),
            AppendError::Claimed { scope, key, holder } => {
                let refuse = SendError::Claimed { scope, key, holder };
                pending = answer_claimed(pending, &self.stream, refuse);
            }
            AppendError::Invalid(_) if pending.len() > 1 => {
                for one in pending.drain(..) {
                    Box::pin(self.carry_out(vec![one])).await;
                }
            }
            AppendError::Store(error) if error.is_transient() => {
                again = (!base.ahead).then_some(base);
                failure = Some(error.into());
            }
            AppendError::Store(error) => fail(std::mem::take(&mut pending), error.into()),
            AppendError::Invalid(invalid) => fail(std::mem::take(&mut pending), invalid.into()),
            other => {
                let error =
                    es_core::StoreError::new(es_core::StoreErrorKind::Other, other.to_string());
                fail(std::mem::take(&mut pending), error.into());
            }
        }
        Left { pending, base: again, failure }
    }

    /// Nobody knows whether the append arrived: looks for its events before
    /// anything is decided again.
    async fn unknown(&self, pending: Vec<Waiting<A>>, from: Version, failure: Failure) -> Left<A> {
        for attempt in 1..=self.lanes.settings.attempts {
            self.bus.back_off(attempt).await;
            let read = Read::stream(&self.stream).after_version(from);
            match self.bus.store.events(read).await {
                Ok(events) => {
                    let pending = answer_arrived(pending, &events);
                    return Left { pending, base: None, failure: Some(failure) };
                }
                Err(error) if error.is_transient() => {}
                Err(_) => break,
            }
        }
        fail(pending, failure);
        Left::none()
    }

    /// A sender that repeats a command may find it rejected because of its own
    /// first try; it gets that try's result instead.
    async fn answer_without_events(&self, one: Decided<A>, position: Position) {
        let Decided { waiting, outcome, version, .. } = one;
        let answer = match self.first_result(&waiting).await {
            Ok(Some(first)) => Ok(first),
            Ok(None) => match outcome {
                Ok(_) => Ok(Sent { version, position, repeated: false }),
                Err(reason) => Err(SendError::Rejected(reason)),
            },
            Err(failure) => Err(failure.into()),
        };
        let _ = waiting.answer.send(answer);
    }

    async fn first_result(&self, waiting: &Waiting<A>) -> Result<Option<Sent>, Failure> {
        let Some(id) = waiting.id else { return Ok(None) };
        let read = Read::append(id).of(self.stream.tenant().clone());
        let events = self.bus.store.events(read).await?;
        let sent = |event: &RecordedEvent| Sent {
            version: event.version,
            position: event.position,
            repeated: true,
        };
        Ok(events.last().map(sent))
    }
}

impl<A: Aggregate> Drop for Runner<A> {
    /// After a panic, or in a runtime that goes down, nobody would come for
    /// those who wait.
    fn drop(&mut self) {
        if !self.ended {
            self.lanes.abandon(&self.stream);
        }
    }
}

/// Decides one after the other, each on the state that the earlier ones lead to.
fn decide<A: Aggregate>(
    pending: Vec<Waiting<A>>,
    base: &mut Base<A>,
    stream: &StreamId,
) -> Vec<Decided<A>> {
    let mut version = base.loaded.version;
    let mut decided = Vec::with_capacity(pending.len());
    let mut pending = pending.into_iter().peekable();
    while let Some(waiting) = pending.next() {
        let (outcome, claims) = match ask(&waiting, &base.loaded.state, stream) {
            Ok(answer) => answer,
            Err(failure) => {
                let _ = waiting.answer.send(Err(failure.into()));
                continue;
            }
        };
        let events = outcome.as_deref().unwrap_or_default();
        let evolved = pending.peek().is_some() && !events.is_empty();
        if evolved {
            events.iter().for_each(|event| base.loaded.state.evolve(event));
            base.ahead = true;
        }
        version = version.plus(events.len());
        decided.push(Decided { waiting, outcome, version, claims, evolved });
    }
    decided
}

type Asked<A> = (Result<Vec<<A as Evolve>::Event>, <A as Aggregate>::Error>, Vec<Claim>);

fn ask<A: Aggregate>(
    waiting: &Waiting<A>,
    state: &A,
    stream: &StreamId,
) -> Result<Asked<A>, Failure> {
    let decision = catch_unwind(AssertUnwindSafe(|| waiting.ask.decide(state)));
    let outcome = decision.map_err(|_| Failure::Panicked)?;
    let claims = match &outcome {
        Ok(events) if !events.is_empty() => waiting.ask.claims(stream)?,
        _ => Vec::new(),
    };
    Ok((outcome, claims))
}

/// Notes what was tried, in case it turns up.
fn remember<A: Aggregate>(decided: Vec<Decided<A>>, tries: Vec<Try>) -> Vec<Waiting<A>> {
    let mut tries = tries.into_iter();
    let remember = |mut one: Decided<A>| {
        if one.outcome.as_ref().is_ok_and(|events| !events.is_empty()) {
            one.waiting.tried = tries.next();
        }
        one.waiting
    };
    decided.into_iter().map(remember).collect()
}

/// Answers those whose earlier try is among these events after all: its answer
/// was lost, or it came late.
fn answer_arrived<A: Aggregate>(
    pending: Vec<Waiting<A>>,
    events: &[RecordedEvent],
) -> Vec<Waiting<A>> {
    let mut left = Vec::new();
    for waiting in pending {
        let tried = waiting.tried.as_ref();
        match tried.and_then(|tried| events.iter().find(|event| event.id == tried.last)) {
            Some(last) => {
                let (version, position) = (last.version, last.position);
                let _ = waiting.answer.send(Ok(Sent { version, position, repeated: false }));
            }
            None => left.push(waiting),
        }
    }
    left
}

/// The base after what others have appended, if the conflict tells it all.
fn moved<A: Aggregate>(mut base: Base<A>, conflict: &Conflict) -> Option<Base<A>> {
    if base.ahead || !conflict.is_complete_after(base.loaded.version) {
        return None;
    }
    for event in &conflict.unseen {
        base.loaded.absorb(event).ok()?;
    }
    base.verified = true;
    Some(base)
}

fn waiting<A: Aggregate>(decided: Vec<Decided<A>>) -> Vec<Waiting<A>> {
    decided.into_iter().map(|one| one.waiting).collect()
}

fn answer_known<A: Aggregate>(
    pending: Vec<Waiting<A>>,
    known: &[(AppendId, Appended)],
) -> Vec<Waiting<A>> {
    let mut left = Vec::new();
    for waiting in pending {
        match known.iter().find(|(id, _)| Some(*id) == waiting.id) {
            Some((_, first)) => {
                let (version, position) = (first.version(), first.position);
                let _ = waiting.answer.send(Ok(Sent { version, position, repeated: true }));
            }
            None => left.push(waiting),
        }
    }
    left
}

/// Tells the command that wanted the claim; the others are decided again.
fn answer_claimed<A: Aggregate>(
    mut pending: Vec<Waiting<A>>,
    stream: &StreamId,
    refuse: SendError<A::Error>,
) -> Vec<Waiting<A>> {
    let SendError::Claimed { scope, key, .. } = &refuse else { return pending };
    let wants = |waiting: &Waiting<A>| {
        let claims = waiting.ask.claims(stream).unwrap_or_default();
        claims.iter().any(|claim| (claim.scope(), claim.key()) == (scope, key))
    };
    if let Some(at) = pending.iter().position(wants) {
        let _ = pending.remove(at).answer.send(Err(refuse));
    }
    pending
}

fn fail<A: Aggregate>(mut pending: Vec<Waiting<A>>, failure: Failure) {
    let last = pending.pop();
    for waiting in pending {
        let answer: Answer<A> = Err(failure.again().into());
        let _ = waiting.answer.send(answer);
    }
    if let Some(last) = last {
        let _ = last.answer.send(Err(failure.into()));
    }
}

fn contended<A: Aggregate>(pending: Vec<Waiting<A>>, attempts: u32) {
    for waiting in pending {
        let _ = waiting.answer.send(Err(SendError::Contended { attempts }));
    }
}
