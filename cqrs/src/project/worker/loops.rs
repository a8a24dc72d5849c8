//! The loops of a worker: which parts share one, how they begin and end.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use es_core::{EventStoreExt, Part, Position, Views};
use futures_util::FutureExt;
use tokio::sync::watch;

use super::{Key, MOMENT, NEAR, PAUSES, RENEWALS, Worker};
use crate::{
    ProjectionError,
    project::{
        handler::{Held, Rebuilds},
        parking::said,
        session::{self, Ended, Handlers},
    },
};

/// A part whose handler has failed at a place, and when it is tried again; no time if
/// it was.
pub(super) struct Failing {
    pub(super) at: Option<Position>,
    pub(super) pause: Duration,
    pub(super) until: Option<DateTime<Utc>>,
}

impl<V: Views> Worker<V> {
    /// Gives every idle part to the loop where it belongs.
    pub(super) async fn arrange(&mut self) -> Result<(), ProjectionError> {
        if self.idle.is_empty() {
            return Ok(());
        }
        let head = self.inner.store.head().await?;
        self.inner.seen(head);
        let (ahead, idle): (Handlers<V>, Handlers<V>) = std::mem::take(&mut self.idle)
            .into_iter()
            .partition(|one| self.serves(&one.held().part) && one.held().is_beyond(head));
        self.idle = idle;
        for held in ahead.iter().map(|one| one.held().clone()) {
            let (name, checkpoint) = (held.part.model.to_string(), held.checkpoint.position);
            let error = ProjectionError::Ahead { name, checkpoint, head };
            if !self.is_shared() {
                return Err(error);
            }
            self.fails(held.part, &error);
        }
        // What a loop of the kind keeps joins the new ones.
        let now = self.inner.world.now();
        self.rests.retain(|_, until| *until > now);
        let kinds: BTreeSet<_> = self.idle.iter().map(|one| self.kind(one.held(), head)).collect();
        for key in kinds {
            if !self.rests.contains_key(&key) {
                self.stop_loop(key).await?;
            }
        }
        let mut groups: BTreeMap<Key, Handlers<V>> = BTreeMap::new();
        for handler in std::mem::take(&mut self.idle) {
            groups.entry(self.kind(handler.held(), head)).or_default().push(handler);
        }
        for key in self.rests.keys() {
            self.idle.extend(groups.remove(key).into_iter().flatten());
        }
        for (key, handlers) in groups {
            self.begin_loop(key, handlers, head);
        }
        Ok(())
    }

    pub(super) fn kind(&self, held: &Held, head: Position) -> Key {
        let mut recipes = self.inner.recipes.iter().map(|recipe| recipe.about());
        let reaction = recipes
            .position(|about| about.name == held.part.model && about.rebuilds == Rebuilds::Never);
        if let Some(reaction) = reaction {
            return Key::Reacting(reaction);
        }
        match head.get().saturating_sub(held.checkpoint.position.get()) > NEAR {
            _ if !self.serves(&held.part) => Key::Beside,
            true => Key::Far,
            false => Key::Near,
        }
    }

    pub(super) fn serves(&self, part: &Part) -> bool {
        self.held.get(part).is_some_and(|(_, serves)| *serves)
    }

    pub(super) fn begin_loop(&mut self, key: Key, handlers: Handlers<V>, head: Position) {
        let until = matches!(key, Key::Far | Key::Beside).then_some(head);
        if until
            .is_some_and(|until| handlers.iter().all(|one| one.held().checkpoint.position >= until))
        {
            self.idle.extend(handlers);
            return;
        }
        let (stop, stopped) = watch::channel(false);
        let (inner, ends) = (Arc::clone(&self.inner), self.ends.0.clone());
        self.loops.insert(key, stop);
        let parts: Vec<_> = handlers.iter().map(|one| one.held().part.clone()).collect();
        self.inner.world.detach(async move {
            let run = session::run(&inner, handlers, until, None, stopped);
            let ended = AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| {
                let lost = |part| (part, ProjectionError::handler(said(&*panic)));
                Ended { lost: parts.into_iter().map(lost).collect(), ..Ended::new(Vec::new()) }
            });
            let _ = ends.send((key, ended)).await;
        });
    }

    /// Takes back what a loop has kept. Who is alone stops at the first failure, but for one of
    /// a broker: that is no reason for read models to stand still.
    pub(super) fn ended(&mut self, key: Key, mut ended: Ended<V>) -> Result<(), ProjectionError> {
        let was_stopped = self.loops.remove(&key).is_some_and(|stop| *stop.borrow());
        self.idle.append(&mut ended.handlers);
        let now = self.inner.world.now();
        if ended.failure.is_some() {
            self.rests.insert(key, now + PAUSES.0);
        } else if !ended.has_moved && !was_stopped {
            self.rests.insert(key, now + MOMENT);
        }
        for (part, error) in ended.lost {
            if error.is_fenced() {
                self.held.remove(&part);
                self.inner.drops(&part);
                continue;
            }
            if self.presence.is_none() && !matches!(error, ProjectionError::Broker(_)) {
                return Err(error);
            }
            self.fails(part, &error);
        }
        match ended.failure {
            Some(error) if self.presence.is_none() => Err(error),
            Some(error) => {
                tracing::error!(%error, "the log cannot be read");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A part stands still for a while, longer each time that it fails at one place.
    pub(super) fn fails(&mut self, part: Part, error: &ProjectionError) {
        let now = self.inner.world.now();
        let at = self.inner.position(std::iter::once(&part));
        let again = self.failed.get(&part).filter(|failing| failing.at == at);
        let pause = again.map_or(PAUSES.0, |again| (again.pause * 2).min(PAUSES.1));
        tracing::error!(%part, %error, ?pause, "a part of a model stands still");
        self.failed.insert(part, Failing { at, pause, until: Some(now + pause) });
    }

    pub(super) async fn stop_loop(&mut self, key: Key) -> Result<(), ProjectionError> {
        if let Some(stop) = self.loops.get(&key) {
            stop.send_replace(true);
        }
        while self.loops.contains_key(&key) {
            let patience = self.inner.world.sleep(self.inner.lease / RENEWALS);
            let ended = tokio::select! {
                biased;
                ended = self.ends.1.recv() => ended,
                () = patience => None,
            };
            match ended {
                Some((key, ended)) => self.ended(key, ended)?,
                None => drop(self.renew().await?),
            }
        }
        Ok(())
    }

    pub(super) async fn stop_loops(&mut self) -> Option<(Key, Ended<V>)> {
        for stop in self.loops.values() {
            stop.send_replace(true);
        }
        if self.loops.is_empty() {
            return None;
        }
        let (key, ended) = self.ends.1.recv().await?;
        self.loops.remove(&key);
        Some((key, ended))
    }
}
