//! Carries out the commands of one aggregate: load, decide, append, and decide
//! again when others were faster.

use std::sync::Arc;

use es_core::{
    Aggregate, AppendError, Appended, Batch, EventStore, EventStoreExt, Expected, LoadError,
    Loaded, NewEvent, Position, Read, RecordedEvent, StoreError, StoreErrorKind, StreamId, Version,
    Write,
};

use crate::{
    Failure, SendError, Sent,
    answers::{answer_arrived, answer_claimed, answer_gone, answer_known, contended, fail},
    bus::Bus,
    decided::{Basis, Decided, decide, moved, remember, waiting},
    lanes::{Lanes, Try, Waiting},
};

/// One runner, for one aggregate.
pub(crate) struct Runner<A: Aggregate> {
    pub(crate) bus: Arc<Bus>,
    pub(crate) lanes: Arc<Lanes<A>>,
    pub(crate) stream: StreamId,
    /// Whether its lane is closed.
    pub(crate) ended: bool,
}

/// What an attempt leaves to the next one.
struct Left<A: Aggregate> {
    pending: Vec<Waiting<A>>,
    base: Option<Basis<A>>,
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
            self.bus.metrics.again(left.pending.len());
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
    fn remembered(&self) -> Option<Basis<A>> {
        let loaded = self.lanes.take(&self.stream)?;
        Some(Basis { loaded, verified: false, ahead: false })
    }

    async fn base(&self, pending: &[Waiting<A>], attempt: u32) -> Result<Basis<A>, Failure> {
        if attempt == 0 && pending.first().is_some_and(|first| first.ask.creates()) {
            return Ok(Basis { loaded: Loaded::default(), verified: false, ahead: false });
        }
        let loaded = (self.lanes.settings.load)(&*self.bus.store, &self.stream).await?;
        Ok(Basis { loaded, verified: true, ahead: false })
    }

    async fn attempt(&self, pending: Vec<Waiting<A>>, mut base: Basis<A>) -> Left<A> {
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
        let mut events = NewEvent::encode_all(events, &self.bus.world, self.bus.codec)?;
        events.iter_mut().for_each(|event| event.metadata = waiting.metadata.clone());
        Ok(events)
    }

    /// All were rejected, or nothing followed from them. A base that is only
    /// remembered must be compared with the store before anybody is told so.
    async fn nothing_to_append(&self, decided: Vec<Decided<A>>, mut base: Basis<A>) -> Left<A> {
        if !base.verified {
            match base.loaded.catch_up(&*self.bus.store, &self.stream).await {
                Ok(0) => {}
                Ok(_) => {
                    base.verified = true;
                    return Box::pin(self.attempt(waiting(decided), base)).await;
                }
                // It was truncated meanwhile; a load may find a snapshot.
                Err(LoadError::Hole { .. }) => {
                    let pending = waiting(decided);
                    return Left { pending, base: None, failure: None };
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
        mut base: Basis<A>,
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
                events.iter().for_each(|event| base.loaded.evolve(event));
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
        base: Basis<A>,
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
            AppendError::Gone { stream } => answer_gone(std::mem::take(&mut pending), &stream),
            // Whose event it is, each finds out alone.
            AppendError::Invalid(_) | AppendError::Model { .. } if pending.len() > 1 => {
                for one in pending.drain(..) {
                    Box::pin(self.carry_out(vec![one])).await;
                }
            }
            AppendError::Model { model, why } => {
                for one in pending.drain(..) {
                    let (model, why) = (model.clone(), why.clone());
                    let _ = one.answer.send(Err(SendError::Model { model, why }));
                }
            }
            AppendError::Store(error) if error.is_transient() => {
                again = (!base.ahead).then_some(base);
                failure = Some(error.into());
            }
            AppendError::Store(error) => fail(std::mem::take(&mut pending), error.into()),
            AppendError::Invalid(invalid) => fail(std::mem::take(&mut pending), invalid.into()),
            other => {
                let error = StoreError::new(StoreErrorKind::Other, other.to_string());
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
