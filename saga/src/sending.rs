use std::fmt::Display;

use cqrs::{Command, Commands, Decide, SendError};
use es_core::Aggregate;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Step, StepError, Work};

impl<D: Send + Sync + 'static> Step<D> {
    /// A step that sends a command, for the tenant of the saga. Its id is the key of the step:
    /// however often it is sent, its aggregate decides it once.
    ///
    /// What the aggregate rejects, or another one has claimed, is refused; anything else is
    /// tried again.
    ///
    /// ```
    /// # use es_core::{Aggregate, Event, Evolve, Rejection, memory::MemoryStore};
    /// # use cqrs::{Command, Commands, Decide};
    /// # use saga::Step;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # #[event(prefix = "room")]
    /// # enum RoomEvent { Booked, Freed }
    /// # #[derive(Default, Aggregate)]
    /// # struct Room;
    /// # impl Evolve for Room { type Event = RoomEvent; fn evolve(&mut self, _: &RoomEvent) {} }
    /// # #[derive(Command)]
    /// # struct Book { #[id(Room)] room: String }
    /// # impl Decide<Book> for Room {
    /// #     fn decide(&self, _: &Book) -> Result<Vec<RoomEvent>, Rejection> { Ok(vec![RoomEvent::Booked]) }
    /// # }
    /// # #[derive(Command)]
    /// # struct Free { #[id(Room)] room: String }
    /// # impl Decide<Free> for Room {
    /// #     fn decide(&self, _: &Free) -> Result<Vec<RoomEvent>, Rejection> { Ok(vec![RoomEvent::Freed]) }
    /// # }
    /// struct Trip { room: String }
    ///
    /// let commands = Commands::new(MemoryStore::new());
    /// let hotel = Step::send("hotel", &commands, |trip: &Trip| Book { room: trip.room.clone() })
    ///     .compensate_by(&commands, |trip| Free { room: trip.room.clone() });
    /// ```
    pub fn send<C>(
        name: &str,
        commands: &Commands,
        command: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: Command,
        C::Aggregate: Decide<C>,
        <C::Aggregate as Aggregate>::Error: Display,
    {
        let commands = commands.clone();
        Self::new(name, move |work| send(commands.clone(), command(&work.data), work))
    }
}

impl<D, O> Step<D, O>
where
    D: Send + Sync + 'static,
    O: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Sets the command by which it is undone; see [`send`](Step::send).
    #[must_use]
    pub fn compensate_by<C>(
        self,
        commands: &Commands,
        command: impl Fn(&D) -> C + Send + Sync + 'static,
    ) -> Self
    where
        C: Command,
        C::Aggregate: Decide<C>,
        <C::Aggregate as Aggregate>::Error: Display,
    {
        let commands = commands.clone();
        self.compensate(move |work| send(commands.clone(), command(&work.data), work))
    }
}

async fn send<D, C>(commands: Commands, command: C, work: Work<D>) -> Result<(), StepError>
where
    C: Command,
    C::Aggregate: Decide<C>,
    <C::Aggregate as Aggregate>::Error: Display,
{
    let commands = commands.of(work.saga.tenant().clone()).with(work.metadata).once(work.key);
    match commands.send(command).await {
        Ok(_) => Ok(()),
        Err(error) => Err(match &error {
            SendError::Rejected(_) | SendError::Claimed { .. } | SendError::Gone { .. } => {
                StepError::refused(error)
            }
            _ => StepError::failed(error.to_string()),
        }),
    }
}
