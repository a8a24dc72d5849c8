use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use chrono::{DateTime, Utc};
use es_core::{StoreError, TakenTimer, Task, failpoint};
use tokio::sync::watch;

use crate::{
    SagaError, SagaId, Sagas,
    list::live_sagas,
    sagas::{Inner, is_wake, whose},
};

/// Most timers that are taken in one turn.
const TAKEN: usize = 256;

impl Sagas {
    /// Goes on with sagas from now on, with those that other processes leave too.
    ///
    /// # Errors
    ///
    /// [`SagaError::LeftBehind`] if sagas are under way by definitions that nobody has
    /// registered, with their list; [`SagaError::Started`] if these sagas go on already;
    /// [`SagaError`] if the log cannot be read.
    pub async fn start(&self) -> Result<RunningSagas, SagaError> {
        let live = live_sagas(&*self.inner.store).await?;
        let registry = &self.inner.registry;
        let unknown = |(id, version): &(SagaId, u32)| {
            // Of another name, they are another program's.
            registry.newest(id.definition()).is_ok()
                && registry.find(id.definition(), *version).is_err()
        };
        let sagas: Vec<_> = live.into_iter().filter(unknown).collect();
        if !sagas.is_empty() {
            return Err(SagaError::LeftBehind { sagas });
        }
        let starts = self.inner.shared.running.send_if_modified(|stopping| {
            let starts = *stopping != Some(false);
            *stopping = Some(false);
            starts
        });
        if !starts {
            return Err(SagaError::Started);
        }
        let (stop, stopping) = watch::channel(false);
        let task = self.inner.world.spawn(work(Arc::clone(&self.inner), stopping));
        Ok(RunningSagas { inner: Arc::clone(&self.inner), stop, task: Some(task) })
    }

    /// Sets the timers of all sagas that are under way, as after the store of timers was
    /// lost, and says of how many. It does no harm to those that have one.
    ///
    /// # Errors
    ///
    /// [`SagaError`] if a store fails.
    pub async fn recover(&self) -> Result<usize, SagaError> {
        let mut live = live_sagas(&*self.inner.store).await?;
        live.retain(|(id, _)| self.inner.registry.newest(id.definition()).is_ok());
        for (id, _) in &live {
            self.inner.set_timer(id, self.inner.world.now() + self.inner.lease).await?;
        }
        Ok(live.len())
    }
}

/// Sagas that go on in this process until it is stopped, or this is dropped; see [`Sagas`]
/// for an example.
#[must_use = "no saga goes on any more when this is dropped"]
pub struct RunningSagas {
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    task: Option<Task>,
}

impl RunningSagas {
    /// Ends once the steps that are being tried have come to something; what follows from
    /// them another process begins, or this one when it starts again. It takes as long as the
    /// longest of these steps.
    pub async fn stop(mut self) {
        self.say_stop();
        if let Some(task) = self.task.take() {
            task.await;
        }
        let all = u32::try_from(self.inner.at_once).unwrap_or(u32::MAX);
        let _ = self.inner.shared.room.acquire_many(all).await;
    }

    fn say_stop(&self) {
        self.inner.shared.running.send_replace(Some(true));
        self.stop.send_replace(true);
    }
}

impl Drop for RunningSagas {
    fn drop(&mut self) {
        self.say_stop();
    }
}

impl std::fmt::Debug for RunningSagas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningSagas").finish_non_exhaustive()
    }
}

async fn work(inner: Arc<Inner>, mut stopping: watch::Receiver<bool>) {
    while !*stopping.borrow() {
        let pause = match take_due(&inner).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(owner = %inner.owner, %error, "the timers of sagas cannot be read");
                inner.poll
            }
        };
        if pause.is_zero() {
            continue;
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = inner.shared.sooner.notified() => {}
            () = inner.world.sleep(pause) => {}
        }
    }
}

/// Takes what is due, as far as there is room, and says how long to wait before the next
/// look.
async fn take_due(inner: &Arc<Inner>) -> Result<Duration, StoreError> {
    let now = inner.world.now();
    let looks =
        |at: DateTime<Utc>| inner.shared.looks.store(at.timestamp_millis(), Ordering::SeqCst);
    looks(now + inner.poll);
    let next = inner.timers.next_due(&inner.owner).await?;
    let wait = next.map_or(inner.poll, |next| (next - now).to_std().unwrap_or_default());
    if !wait.is_zero() {
        return Ok(wait.min(inner.poll));
    }
    let room = inner.shared.room.available_permits().min(TAKEN);
    if room == 0 {
        return Ok(inner.poll.min(Duration::from_millis(10)));
    }
    let taken = inner.timers.take_due(&inner.owner, now, now + inner.lease, room).await?;
    failpoint!("saga.after_take_due");
    for timer in taken {
        if let Err(error) = hand_out(inner, timer).await {
            tracing::warn!(owner = %inner.owner, %error, "a saga goes on after its lease");
        }
    }
    Ok(Duration::ZERO)
}

async fn hand_out(inner: &Arc<Inner>, timer: TakenTimer) -> Result<(), StoreError> {
    let Some(id) = whose(&timer) else {
        tracing::warn!(timer = %timer.timer.id.name, "a timer of sagas is of none");
        return inner.timers.done(&timer).await;
    };
    match inner.may_drive(&id) {
        Some(hold) => {
            hold.take_over(timer);
            Ok(())
        }
        None if inner.is_driven(&id) && is_wake(&timer) => inner.timers.done(&timer).await,
        None if inner.is_driven(&id) => Ok(()),
        // There is no room any more, or it stops: somebody else may go on with it.
        None => inner.timers.set(timer.timer).await,
    }
}
