use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{
    Address, Message, Name, NameError, StoreError, StoreErrorKind, TakenTimer, Tenant, Timer,
    TimerId, Timers, World, failpoint,
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};

use crate::{
    BusError, EventBus,
    cloudevents::{self, CloudEventError},
    time::after,
};

/// How long whoever takes what is due has to send it; then another one does.
const TURN: TimeDelta = TimeDelta::seconds(30);
/// Most messages that are taken in one turn, and that are sent at once.
const TAKEN: usize = 256;
const AT_ONCE: usize = 32;

/// Messages that are sent later: at a time, or after one.
///
/// They wait in a store of [timers](Timers), and any process with a
/// [started](Self::start) schedule on that store sends what is due: one of them does, and if
/// it dies, another one half a minute later. A message is sent **at least once**, never
/// before its time. What the broker does not take is tried once more every half minute,
/// until it is [cancelled](Self::cancel).
///
/// ```
/// use std::time::Duration;
/// use es_bus::{Endpoint, EventBus, Received, Schedule};
/// use es_core::{Event, Topic, memory::MemoryTimers};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// #[event(name = "egg.boiled")]
/// struct Boiled;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let bus = EventBus::for_testing();
/// # let (told, mut tell) = tokio::sync::mpsc::channel(1);
/// let cook = Endpoint::new("cook")?.to("egg.*")?.handle(move |egg: Received<Boiled>| {
///     # let told = told.clone();
///     async move {
///         println!("{} is ready", egg.message.id);
/// #       told.send(()).await?;
///         Ok(())
///     }
/// });
/// let cooking = bus.subscribe(cook).await?;
///
/// let schedule = Schedule::new(&bus, MemoryTimers::new());
/// let sending = schedule.start();
/// let soft = bus.message(&Boiled)?;
/// let hard = bus.message(&Boiled)?;
/// schedule.after(Duration::from_millis(10), Topic::new("egg.boiled")?, soft).await?;
/// let at = chrono::Utc::now() + Duration::from_secs(600);
/// let wanted = schedule.at(at, Topic::new("egg.boiled")?, hard).await?;
/// schedule.cancel(&wanted).await?;
/// # tell.recv().await;
/// sending.stop().await;
/// # let _ = cooking.drain().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Schedule {
    bus: EventBus,
    timers: Arc<dyn Timers>,
    owner: Name,
    poll: Duration,
    sooner: Arc<Notify>,
}

/// What is sent, and where to, as it is kept: the message as a
/// [CloudEvent](crate::cloudevents).
#[derive(Serialize, Deserialize)]
struct Kept<'k> {
    to: Address,
    #[serde(borrow)]
    message: &'k RawValue,
}

impl Schedule {
    /// The owner of its timers, unless another one is set.
    pub const OWNER: &'static str = "bus";
    /// How often it looks for what other processes have scheduled, unless another time is set.
    pub const POLL: Duration = Duration::from_secs(1);

    /// A schedule of this bus, whose messages wait in this store.
    pub fn new(bus: &EventBus, timers: impl Timers) -> Self {
        Self {
            bus: bus.clone(),
            timers: Arc::new(timers),
            owner: Name::from_static(Self::OWNER),
            poll: Self::POLL,
            sooner: Arc::default(),
        }
    }

    /// Keeps its messages apart from those of other schedules on the same store.
    #[must_use]
    pub fn owner(mut self, owner: Name) -> Self {
        self.owner = owner;
        self
    }

    /// Sets how often it looks for what other processes have scheduled: so late may their
    /// messages be.
    #[must_use]
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every;
        self
    }

    /// Sends the message at this time, in the place of a scheduled one with the same id.
    /// Once this returns, it is kept.
    ///
    /// # Errors
    ///
    /// [`BusError`] if its id is no [`Name`], or the store fails.
    pub async fn at(
        &self,
        due: DateTime<Utc>,
        to: impl Into<Address> + Send,
        message: Message,
    ) -> Result<TimerId, BusError> {
        let id = self.id(message.tenant.clone(), &message.id)?;
        let payload = write(to.into(), &message).map_err(damaged)?;
        self.timers.set(Timer { id: id.clone(), due, payload: payload.into() }).await?;
        self.sooner.notify_one();
        Ok(id)
    }

    /// Sends the message after this time; see [`at`](Self::at).
    ///
    /// # Errors
    ///
    /// As of [`at`](Self::at).
    pub async fn after(
        &self,
        time: Duration,
        to: impl Into<Address> + Send,
        message: Message,
    ) -> Result<TimerId, BusError> {
        self.at(after(self.world().now(), time), to, message).await
    }

    /// Does not send it, unless that has begun.
    ///
    /// # Errors
    ///
    /// [`BusError`] if the store fails.
    pub async fn cancel(&self, id: &TimerId) -> Result<(), BusError> {
        Ok(self.timers.cancel(id).await?)
    }

    /// What [`at`](Self::at) has returned for this message.
    ///
    /// # Errors
    ///
    /// [`NameError`] if that is no [`Name`].
    pub fn id(&self, tenant: Tenant, message: &str) -> Result<TimerId, NameError> {
        Ok(TimerId { tenant, owner: self.owner.clone(), name: Name::new(message)? })
    }

    /// Sends what is due from now on.
    pub fn start(&self) -> Sending {
        let (stop, stopping) = watch::channel(false);
        let task = self.world().spawn(self.clone().run(stopping));
        Sending { stop, task: Some(task) }
    }

    async fn run(self, mut stopping: watch::Receiver<bool>) {
        while !*stopping.borrow() {
            let pause = match self.send_due().await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(owner = %self.owner, %error, "a schedule cannot be read");
                    self.poll
                }
            };
            if pause.is_zero() {
                continue;
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.sooner.notified() => {}
                () = self.world().sleep(pause) => {}
            }
        }
    }

    /// Sends what is due, and says how long to wait before the next look.
    async fn send_due(&self) -> Result<Duration, StoreError> {
        let now = self.world().now();
        let Some(next) = self.timers.next_due(&self.owner).await? else { return Ok(self.poll) };
        if let Ok(wait) = (next - now).to_std()
            && !wait.is_zero()
        {
            return Ok(wait.min(self.poll));
        }
        let taken = self.timers.take_due(&self.owner, now, now + TURN, TAKEN).await?;
        failpoint!("schedule.after_take");
        stream::iter(&taken).for_each_concurrent(AT_ONCE, |one| self.send(one)).await;
        Ok(Duration::ZERO)
    }

    async fn send(&self, taken: &TakenTimer) {
        let sent = async {
            let (to, message) = read(&taken.timer.payload).map_err(damaged)?;
            self.bus.send(to, vec![message]).await?;
            failpoint!("schedule.after_send");
            Ok::<_, BusError>(self.timers.done(taken).await?)
        };
        if let Err(error) = sent.await {
            let TimerId { owner, name, .. } = &taken.timer.id;
            tracing::warn!(%owner, message = %name, %error, "it is sent later, or once more");
        }
    }

    fn world(&self) -> &World {
        self.bus.world()
    }
}

fn write(to: Address, message: &Message) -> Result<Vec<u8>, serde_json::Error> {
    let message = cloudevents::to_json(message);
    serde_json::to_vec(&Kept { to, message: serde_json::from_slice(&message)? })
}

fn read(payload: &[u8]) -> Result<(Address, Message), CloudEventError> {
    let Kept { to, message } = serde_json::from_slice(payload)?;
    Ok((to, cloudevents::from_json(message.get().as_bytes())?))
}

fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    let message = "a scheduled message cannot be written or read, cancel it";
    StoreError::new(StoreErrorKind::Corrupt, message).because(error)
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule")
            .field("owner", &self.owner)
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// A schedule that sends what is due, until it is stopped or this is dropped; see
/// [`Schedule`] for an example.
#[derive(Debug)]
#[must_use = "nothing is sent any more when this is dropped"]
pub struct Sending {
    stop: watch::Sender<bool>,
    task: Option<es_core::Task>,
}

impl Sending {
    /// Ends once it has sent what it has taken.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            task.await;
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}
