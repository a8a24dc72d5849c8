//! What an aggregate decided about the commands that wait for it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use es_core::{Aggregate, Claim, Conflict, Evolve, Loaded, StreamId, Version};

use crate::{
    Failure,
    lanes::{Try, Waiting},
};

/// Where a decision begins.
pub(crate) struct Basis<A> {
    pub(crate) loaded: Loaded<A>,
    /// Whether it was compared with the store, or is only remembered.
    pub(crate) verified: bool,
    /// Whether the state has gone ahead of what is appended.
    pub(crate) ahead: bool,
}

/// A command with what was decided about it.
pub(crate) struct Decided<A: Aggregate> {
    pub(crate) waiting: Waiting<A>,
    pub(crate) outcome: Result<Vec<A::Event>, A::Error>,
    /// The version of the aggregate after it.
    pub(crate) version: Version,
    /// The unique values that it takes or gives up.
    pub(crate) claims: Vec<Claim>,
    /// Whether the state has gone through its events already.
    pub(crate) evolved: bool,
}

/// Decides one after the other, each on the state that the earlier ones lead to.
pub(crate) fn decide<A: Aggregate>(
    pending: Vec<Waiting<A>>,
    base: &mut Basis<A>,
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
            events.iter().for_each(|event| base.loaded.evolve(event));
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

/// The base after what others have appended, if the conflict tells it all.
pub(crate) fn moved<A: Aggregate>(mut base: Basis<A>, conflict: &Conflict) -> Option<Basis<A>> {
    if base.ahead || !conflict.is_complete_after(base.loaded.version) {
        return None;
    }
    for event in &conflict.unseen {
        base.loaded.absorb(event).ok()?;
    }
    base.verified = true;
    Some(base)
}

pub(crate) fn waiting<A: Aggregate>(decided: Vec<Decided<A>>) -> Vec<Waiting<A>> {
    decided.into_iter().map(|one| one.waiting).collect()
}

/// Notes what was tried, in case it turns up.
pub(crate) fn remember<A: Aggregate>(decided: Vec<Decided<A>>, tries: Vec<Try>) -> Vec<Waiting<A>> {
    let mut tries = tries.into_iter();
    let remember = |mut one: Decided<A>| {
        if one.outcome.as_ref().is_ok_and(|events| !events.is_empty()) {
            one.waiting.tried = tries.next();
        }
        one.waiting
    };
    decided.into_iter().map(remember).collect()
}
