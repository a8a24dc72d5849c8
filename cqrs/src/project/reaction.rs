use es_core::{AppendId, Event, EventId, Recorded};

use crate::ProjectionError;

/// Something that happens outside because of an event: a mail, a payment, a message.
///
/// It gets its tools from [`Live`] only, and nothing that rebuilds read models can make
/// one: a reaction never runs on history by accident. It runs **at least once** for each
/// event that comes after its start. If it is killed between the effect and its checkpoint
/// it runs again, with the same [`effect id`](Live::effect_id), by which the other side
/// tells the second time from the first.
///
/// ```
/// use std::sync::Mutex;
/// use cqrs::{Event, Live, ProjectionError, Projector, Reaction, StartAt};
/// use es_core::{AppendId, Recorded, memory::{MemoryStore, MemoryViews}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "bell.rung")]
/// struct Rung { by: String }
///
/// /// A mailer that ignores a key that it has seen.
/// #[derive(Default)]
/// struct Mailer(Mutex<Vec<(AppendId, String)>>);
///
/// struct Thanks;
///
/// impl Reaction for Thanks {
///     const NAME: &'static str = "thanks";
///     type Event = Rung;
///     type Tools = Mailer;
///
///     async fn react(
///         &self,
///         rung: Recorded<'_, Rung>,
///         live: &mut Live<'_, Mailer>,
///     ) -> Result<(), ProjectionError> {
///         let key = live.effect_id();
///         let mut sent = live.tools().0.lock().map_err(|_| ProjectionError::handler("mailer"))?;
///         if !sent.iter().any(|(known, _)| *known == key) {
///             sent.push((key, format!("thank you, {}", rung.event.by)));
///         }
///         Ok(())
///     }
/// }
///
/// let projector = Projector::new(MemoryStore::new(), MemoryViews::new())
///     .reaction(Thanks, Mailer::default(), StartAt::End);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a reaction",
    note = "write `impl Reaction for {Self}` with its `NAME`, `Event`, `Tools` and `react`"
)]
pub trait Reaction: Send + Sync + 'static {
    /// Its name: where its checkpoint is kept, and part of the ids of its effects.
    const NAME: &'static str;
    /// The events that it names; others pass it by.
    type Event: Event;
    /// What it does its effects with.
    type Tools: Send + Sync + 'static;

    /// Does what follows from the event.
    fn react(
        &self,
        event: Recorded<'_, Self::Event>,
        live: &mut Live<'_, Self::Tools>,
    ) -> impl Future<Output = Result<(), ProjectionError>> + Send;
}

/// Where a reaction begins that has no checkpoint yet. Later it goes on where it was.
///
/// ```
/// assert_ne!(cqrs::StartAt::Beginning, cqrs::StartAt::End);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartAt {
    /// With the first event of the log.
    Beginning,
    /// With what comes after the log as it is now.
    End,
}

/// What a reaction may use while it handles an event: only what follows the log has one.
///
/// ```
/// use cqrs::Live;
///
/// fn two_keys(live: &mut Live<'_, ()>) -> bool {
///     live.effect_id() != live.effect_id()
/// }
/// ```
#[derive(Debug)]
pub struct Live<'a, T> {
    tools: &'a T,
    reaction: &'static str,
    event: EventId,
    effects: u32,
}

impl<'a, T> Live<'a, T> {
    pub(crate) fn new(tools: &'a T, reaction: &'static str, event: EventId) -> Self {
        Self { tools, reaction, event, effects: 0 }
    }

    /// What effects are done with.
    pub fn tools(&self) -> &'a T {
        self.tools
    }

    /// The idempotency key of the next effect: the same whenever this reaction handles this
    /// event, and another one for each effect. It can be the id of a command.
    pub fn effect_id(&mut self) -> AppendId {
        let number = self.effects;
        self.effects += 1;
        AppendId::derive(&format!("{}/{}/{number}", self.reaction, self.event))
    }
}
