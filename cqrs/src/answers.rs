//! Tells those who wait what became of their commands.

use es_core::{Aggregate, AppendId, Appended, RecordedEvent, StreamId};

use crate::{
    Failure, SendError, Sent,
    lanes::{Answer, Waiting},
};

/// Answers those whose earlier try is among these events after all: its answer
/// was lost, or it came late.
pub(crate) fn answer_arrived<A: Aggregate>(
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

pub(crate) fn answer_known<A: Aggregate>(
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
pub(crate) fn answer_claimed<A: Aggregate>(
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

pub(crate) fn answer_gone<A: Aggregate>(pending: Vec<Waiting<A>>, stream: &StreamId) {
    for waiting in pending {
        let _ = waiting.answer.send(Err(SendError::Gone { stream: stream.clone() }));
    }
}

pub(crate) fn fail<A: Aggregate>(mut pending: Vec<Waiting<A>>, failure: Failure) {
    let last = pending.pop();
    for waiting in pending {
        let answer: Answer<A> = Err(failure.again().into());
        let _ = waiting.answer.send(answer);
    }
    if let Some(last) = last {
        let _ = last.answer.send(Err(failure.into()));
    }
}

pub(crate) fn contended<A: Aggregate>(pending: Vec<Waiting<A>>, attempts: u32) {
    for waiting in pending {
        let _ = waiting.answer.send(Err(SendError::Contended { attempts }));
    }
}
