use std::{collections::HashMap, sync::Arc};

use futures_util::{FutureExt, future::Shared};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Entry, Key};
use crate::AskError;

/// What a load has come to.
pub(super) type Landed<T> = Result<Arc<Entry<T>>, AskError>;

/// The loads that are under way, one for each key however many wait for it.
pub(super) struct Flights<T> {
    flying: Arc<Flying<T>>,
}

type Flying<T> = Mutex<HashMap<Key, Waiting<T>>>;

/// What becomes of someone who wants an answer.
pub(super) enum Boarded<T> {
    /// It has come meanwhile.
    Landed(Arc<Entry<T>>),
    /// A load was under way.
    Waits(Waiting<T>),
    /// A load is to be started.
    Flies(Flight<T>, Waiting<T>),
}

/// A load that is under way. If it is dropped without landing, those who wait are
/// told so, and the next one loads.
pub(super) struct Flight<T> {
    key: Key,
    landed: Option<Landed<T>>,
    landing: Option<oneshot::Sender<Landed<T>>>,
    flying: Arc<Flying<T>>,
}

/// Those who wait are told in the order in which they came.
pub(super) struct Waiting<T>(Shared<oneshot::Receiver<Landed<T>>>);

impl<T> Flights<T> {
    pub(super) fn new() -> Self {
        Self { flying: Arc::default() }
    }

    /// Joins the load of this key; if there is none, one begins, unless
    /// `landed` finds that one has just ended.
    pub(super) fn board(
        &self,
        key: &Key,
        landed: impl FnOnce() -> Option<Arc<Entry<T>>>,
    ) -> Boarded<T> {
        let mut flying = self.flying.lock();
        if let Some(waiting) = flying.get(key) {
            return Boarded::Waits(waiting.clone());
        }
        if let Some(entry) = landed() {
            return Boarded::Landed(entry);
        }
        let (landing, landed) = oneshot::channel();
        let waiting = Waiting(landed.shared());
        flying.insert(key.clone(), waiting.clone());
        let (key, flying) = (key.clone(), Arc::clone(&self.flying));
        let flight = Flight { key, landed: None, landing: Some(landing), flying };
        Boarded::Flies(flight, waiting)
    }
}

impl<T> Flight<T> {
    /// What was loaded must be remembered before, so that nobody loads again.
    pub(super) fn land(mut self, landed: Landed<T>) {
        self.landed = Some(landed);
    }
}

impl<T> Drop for Flight<T> {
    fn drop(&mut self) {
        // Before anybody is told: who wants more must not find it again.
        self.flying.lock().remove(&self.key);
        if let (Some(landing), Some(landed)) = (self.landing.take(), self.landed.take()) {
            // Nobody may be waiting.
            let _ = landing.send(landed);
        }
    }
}

impl<T> Waiting<T> {
    pub(super) async fn landed(self) -> Landed<T> {
        self.0.await.unwrap_or(Err(AskError::Panicked))
    }
}

impl<T> Clone for Waiting<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
