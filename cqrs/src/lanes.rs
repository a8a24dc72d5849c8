//! A queue in front of each aggregate that is being worked on. Commands for one
//! aggregate do not race each other to the store: the first starts a runner,
//! the others wait, and the runner takes as many of them as it may into one
//! append.

use std::{collections::VecDeque, sync::Arc};

use dashmap::{DashMap, Entry};
use es_core::{Aggregate, AppendId, Claim, EventId, Loaded, Metadata, NameError, StreamId, Write};
use quick_cache::sync::Cache;
use tokio::sync::oneshot;

use crate::{Command, Decide, SendError, Sent, Settings};

pub(crate) struct Lanes<A: Aggregate> {
    lanes: DashMap<StreamId, VecDeque<Waiting<A>>>,
    cache: Option<Cache<StreamId, Arc<Loaded<A>>>>,
    pub(crate) settings: Settings<A>,
}

pub(crate) type Answer<A> = Result<Sent, SendError<<A as Aggregate>::Error>>;

/// A command that waits for its turn.
pub(crate) struct Waiting<A: Aggregate> {
    pub(crate) ask: Arc<dyn Ask<A>>,
    pub(crate) metadata: Metadata,
    /// The id under which the sender may send it again.
    pub(crate) id: Option<AppendId>,
    /// The append of which nobody knows whether it arrived.
    pub(crate) tried: Option<Try>,
    pub(crate) answer: oneshot::Sender<Answer<A>>,
}

/// What an append would leave in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Try {
    /// Its last event.
    pub(crate) last: EventId,
}

impl Try {
    pub(crate) fn of(write: &Write) -> Option<Self> {
        write.events.last().map(|event| Self { last: event.id })
    }
}

/// A command whose type is forgotten.
pub(crate) trait Ask<A: Aggregate>: Send + Sync {
    fn decide(&self, aggregate: &A) -> Result<Vec<A::Event>, A::Error>;
    fn claims(&self, stream: &StreamId) -> Result<Vec<Claim>, NameError>;
    fn creates(&self) -> bool;
}

impl<A: Decide<C>, C: Command<Aggregate = A>> Ask<A> for C {
    fn decide(&self, aggregate: &A) -> Result<Vec<A::Event>, A::Error> {
        aggregate.decide(self)
    }

    fn claims(&self, stream: &StreamId) -> Result<Vec<Claim>, NameError> {
        Command::claims(self, stream)
    }

    fn creates(&self) -> bool {
        C::CREATES
    }
}

/// What to do after a command has entered its lane.
pub(crate) enum Entered<A: Aggregate> {
    /// Nobody works on the aggregate: start a runner with this command.
    Run(Waiting<A>),
    /// The runner will come to it.
    Wait,
    /// Too many wait already.
    Full,
}

impl<A: Aggregate> Lanes<A> {
    pub(crate) fn new(settings: Settings<A>) -> Self {
        let cache = (settings.cache > 0).then(|| Cache::new(settings.cache));
        Self { lanes: DashMap::new(), cache, settings }
    }

    pub(crate) fn enter(&self, stream: &StreamId, waiting: Waiting<A>) -> Entered<A> {
        match self.lanes.entry(stream.clone()) {
            Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                Entered::Run(waiting)
            }
            Entry::Occupied(lane) if lane.get().len() >= self.settings.queue => Entered::Full,
            Entry::Occupied(mut lane) => {
                lane.get_mut().push_back(waiting);
                Entered::Wait
            }
        }
    }

    /// The commands that wait, up to as many as go into one append; when there
    /// are none the lane is closed, in the same step, and the runner must end.
    pub(crate) fn next_group(&self, stream: &StreamId) -> Option<Vec<Waiting<A>>> {
        let Entry::Occupied(mut lane) = self.lanes.entry(stream.clone()) else { return None };
        if lane.get().is_empty() {
            lane.remove();
            return None;
        }
        let count = lane.get().len().min(self.settings.fold);
        Some(lane.get_mut().drain(..count).collect())
    }

    /// Drops the lane and whoever waits in it; for a runner that panicked.
    pub(crate) fn abandon(&self, stream: &StreamId) {
        self.lanes.remove(stream);
    }

    /// Takes the aggregate out of the cache: one runner at a time may have it.
    pub(crate) fn take(&self, stream: &StreamId) -> Option<Loaded<A>> {
        let (_, loaded) = self.cache.as_ref()?.remove(stream)?;
        Arc::into_inner(loaded)
    }

    pub(crate) fn keep(&self, stream: &StreamId, loaded: Loaded<A>) {
        if let Some(cache) = &self.cache {
            cache.insert(stream.clone(), Arc::new(loaded));
        }
    }
}
