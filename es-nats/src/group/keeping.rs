use std::{collections::HashMap, pin::pin, time::Duration};

use async_nats::{HeaderMap, Subscriber};
use es_core::StoreError;
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use tokio::time::Instant;
use tracing::warn;

use super::{
    Members,
    charter::{Charter, Claim},
    unit::Progress,
};
use crate::{
    error::{contended, fenced, forgotten, rewound},
    letters,
    server::{Put, json, parse},
};

/// How often a process says that it lives, in one lease.
const BEATS: u32 = 3;
/// How often a charter is written that others change at the same time.
const TRIES: usize = 100;

/// When each process was last seen to say that it lives. No two clocks are compared: what
/// counts is how long we have looked and seen nothing new.
#[derive(Debug)]
struct Seen {
    beats: HashMap<String, (u64, Instant)>,
    looked: Instant,
}

impl Seen {
    /// The members that have been silent for longer than this.
    fn silent(&mut self, charter: &Charter, lease: Duration, now: Instant) -> Vec<String> {
        // While we could not look, the others could not write: the server was away.
        let is_blind = now.duration_since(self.looked) > lease / 2;
        self.looked = now;
        self.beats.retain(|process, _| charter.is_member(process));
        let mut silent = Vec::new();
        for (process, beat) in charter.beats() {
            let seen = self.beats.entry(process.to_owned()).or_insert((beat, now));
            if seen.0 != beat || is_blind {
                *seen = (beat, now);
            } else if now.duration_since(seen.1) > lease {
                silent.push(process.to_owned());
            }
        }
        silent
    }
}

impl Members {
    /// Says that this process lives, takes its share of the group, and gives up what falls
    /// to others, as long as there are members.
    pub(super) async fn keep(&self) {
        let mut seen = Seen { beats: HashMap::new(), looked: Instant::now() };
        let mut hints = self.hints().await;
        loop {
            let beat = self.server.unbroken(self.beat(&mut seen));
            let pause = match beat.await {
                Ok(true) => self.server.lease / BEATS,
                Ok(false) => return,
                Err(error) => {
                    warn!(%error, group = %self.group, "the charter cannot be kept, trying again");
                    self.server.lease / (BEATS * 4)
                }
            };
            tokio::select! {
                () = self.server.world.sleep(pause) => {}
                () = self.keep.notified() => {}
                Some(_) = next(&mut hints) => {}
            }
        }
    }

    /// Without hints all goes on, but more slowly.
    async fn hints(&self) -> Option<Subscriber> {
        self.server.client.subscribe(self.server.names.hint(&self.group)).await.ok()
    }

    /// Says whether it goes on.
    async fn beat(&self, seen: &mut Seen) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let Some((revision, mut charter)) = self.charter().await? else {
                self.close(forgotten);
                return Ok(false);
            };
            self.listen(&charter);
            for process in seen.silent(&charter, self.server.lease, Instant::now()) {
                if process != self.server.process {
                    warn!(group = %self.group, process, "a process is silent, it counts as dead");
                    charter.remove(&process);
                }
            }
            let before = charter.clone();
            self.give_up(&mut charter).await?;
            let sent = Instant::now();
            if charter.write(&self.server, &self.group, revision).await? {
                *self.alive_until.lock() = sent + self.server.lease;
                self.take_over(&charter).await?;
                if charter.concerns_others(&before, &self.server.process) {
                    self.server.hint(&self.group).await;
                }
                self.changed.notify_waiters();
                return Ok(!self.is_closed() && !self.has_left());
            }
        }
        Err(contended(&self.group))
    }

    /// The charter and its revision, unless the group was forgotten.
    pub(super) async fn charter(&self) -> Result<Option<(u64, Charter)>, StoreError> {
        let found = Charter::read(&self.server, &self.group).await?;
        Ok(found.filter(|(_, charter)| charter.id == self.id))
    }

    /// Takes over patterns that are new; whoever reads has to begin anew with them.
    pub(super) fn listen(&self, charter: &Charter) {
        let mut queue = self.queue.lock();
        if queue.listen(&charter.patterns) {
            queue.version += 1;
            self.read.notify_one();
        }
    }

    /// Puts into the charter what this process has and what it wants, and gives up what
    /// falls to another as soon as nothing of it is in hand.
    async fn give_up(&self, charter: &mut Charter) -> Result<(), StoreError> {
        let process = &self.server.process;
        if !charter.is_member(process) {
            // We were taken for dead, and somebody may have had what is ours since.
            self.queue.lock().end_all();
        }
        charter.beat(process, self.is_empty());
        let claims: Vec<_> =
            (0..charter.units()).map(|unit| (unit, charter.claim(unit, process))).collect();
        self.stop_handing_out(&claims);
        self.save_all().await?;
        for (unit, claim) in claims {
            if claim == Claim::Leave {
                self.queue.lock().end(unit);
            } else if self.is_given_up(unit, claim) {
                charter.free(unit);
            }
        }
        charter.leave(process);
        Ok(())
    }

    fn stop_handing_out(&self, claims: &[(u32, Claim)]) {
        let mut queue = self.queue.lock();
        for (unit, _) in claims.iter().filter(|(_, claim)| *claim == Claim::Yield) {
            if let Some(unit) = queue.units.get_mut(unit) {
                unit.is_leaving = true;
            }
        }
    }

    /// Whether a unit that is to go, or has to be begun anew, is in no hand.
    fn is_given_up(&self, unit: u32, claim: Claim) -> bool {
        let mut queue = self.queue.lock();
        let Some(state) = queue.units.get(&unit) else { return claim == Claim::Yield };
        if !state.is_leaving || state.in_hand > 0 || state.unsaved().is_some() {
            return false;
        }
        queue.end(unit);
        claim == Claim::Yield
    }

    fn has_left(&self) -> bool {
        self.is_empty() && self.queue.lock().units.is_empty()
    }

    /// Begins with the units that the charter gives to this process, and it has not yet.
    async fn take_over(&self, charter: &Charter) -> Result<(), StoreError> {
        let process = &self.server.process;
        if self.is_empty() {
            return Ok(());
        }
        let new: Vec<_> = {
            let queue = self.queue.lock();
            let ours = (0..charter.units()).filter(|unit| charter.is_owner(*unit, process));
            ours.filter(|unit| !queue.units.contains_key(unit)).collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let begun = join_all(new.iter().map(|unit| self.fence(*unit, charter.start))).await;
        let begun: Vec<_> = begun.into_iter().collect::<Result<_, _>>()?;
        let mut letters = self.living(self.parked(charter, &new)).await?;
        let (first, last) = self.server.ends().await?;
        if begun.iter().any(|(_, progress)| progress.to > last) {
            return Err(rewound(&self.group));
        }
        let mut queue = self.queue.lock();
        for (unit, (revision, mut progress)) in new.into_iter().zip(begun) {
            self.forget_what_is_gone(&mut progress, first);
            let letters = letters.remove(&unit).unwrap_or_default();
            queue.begin(unit, revision, progress, letters);
        }
        drop(queue);
        self.read.notify_one();
        Ok(())
    }

    /// Writes the progress of a unit anew, so that the process before can write it no more.
    pub(super) async fn fence(&self, unit: u32, start: u64) -> Result<(u64, Progress), StoreError> {
        let subject = self.server.names.progress(unit, &self.group);
        for _ in 0..TRIES {
            let found = self.server.last(&subject).await?;
            let (revision, mut progress) = match &found {
                Some(found) => (found.sequence, parse(&subject, &found.payload)?),
                None => (0, Progress { to: start, ..Progress::default() }),
            };
            progress.by.clone_from(&self.server.process);
            let put = self.server.put(&subject, HeaderMap::new(), json(&progress), Some(revision));
            if let Put::Done(revision) = put.await? {
                return Ok((revision, progress));
            }
        }
        Err(contended(&self.group))
    }

    /// The dead letters that stand in the way of others, by units.
    async fn parked(
        &self,
        charter: &Charter,
        units: &[u32],
    ) -> Result<HashMap<u32, Vec<(es_core::Lane, u64)>>, StoreError> {
        let mut parked: HashMap<u32, Vec<_>> = HashMap::new();
        if !charter.parks {
            return Ok(parked);
        }
        let mut letters = pin!(letters::all(&self.server, &self.group).await?);
        while let Some(letter) = letters.try_next().await? {
            let queue = self.queue.lock();
            let unit = queue.unit_of(self.server.names.partition(&letter.message));
            if let Some(lane) = queue.lane(&letter.message).filter(|_| units.contains(&unit)) {
                parked.entry(unit).or_default().push((lane, letter.id.0));
            }
        }
        Ok(parked)
    }

    /// Does what may take longer than a lease, and says meanwhile that this process lives.
    async fn living<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            done = work => done,
            error = self.only_beat() => Err(error),
        }
    }

    /// Ends when it cannot go on.
    async fn only_beat(&self) -> StoreError {
        loop {
            self.server.world.sleep(self.server.lease / BEATS).await;
            if let Err(error) = self.beat_once().await {
                return error;
            }
        }
    }

    async fn beat_once(&self) -> Result<(), StoreError> {
        for _ in 0..TRIES {
            let Some((revision, mut charter)) = self.charter().await? else {
                return Err(forgotten(&self.group));
            };
            if !charter.is_member(&self.server.process) {
                return Err(fenced(&self.group));
            }
            charter.beat(&self.server.process, self.is_empty());
            let sent = Instant::now();
            if charter.write(&self.server, &self.group, revision).await? {
                *self.alive_until.lock() = sent + self.server.lease;
                return Ok(());
            }
        }
        Err(contended(&self.group))
    }

    fn forget_what_is_gone(&self, progress: &mut Progress, first: u64) {
        let kept = progress.open.split_off(&first);
        let gone = std::mem::replace(&mut progress.open, kept);
        if !gone.is_empty() || progress.to + 1 < first {
            let (group, open) = (&self.group, gone.len());
            warn!(%group, open, first, "messages may be gone that nobody had handled");
        }
    }
}

async fn next(hints: &mut Option<Subscriber>) -> Option<async_nats::Message> {
    hints.as_mut()?.next().await
}

#[cfg(test)]
mod tests {
    use es_core::{Group, Subscription};

    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn charter() -> Charter {
        let asked = Subscription::of(Group::new("billing").expect("a group"));
        let mut charter = Charter::new("1".into(), &asked, 1, 0);
        charter.beat("a", false);
        charter
    }

    /// Looks so often, a second apart, and says who is silent at last.
    fn looked(seen: &mut Seen, charter: &Charter, times: u32) -> Vec<String> {
        let from = seen.looked;
        let looks = (1..=times).map(|second| from + Duration::from_secs(second.into()));
        looks.map(|now| seen.silent(charter, LEASE, now)).last().unwrap_or_default()
    }

    #[test]
    fn whoever_says_nothing_for_a_lease_is_silent() {
        let mut seen = Seen { beats: HashMap::new(), looked: Instant::now() };
        let mut charter = charter();
        assert!(looked(&mut seen, &charter, 7).is_empty());
        charter.beat("a", false);
        assert!(looked(&mut seen, &charter, 7).is_empty());
        assert_eq!(looked(&mut seen, &charter, 1), ["a"]);
    }

    #[test]
    fn silence_does_not_count_while_nobody_could_look() {
        let mut seen = Seen { beats: HashMap::new(), looked: Instant::now() };
        let charter = charter();
        assert!(looked(&mut seen, &charter, 5).is_empty());
        let later = seen.looked + 10 * LEASE;
        assert!(seen.silent(&charter, LEASE, later).is_empty());
        assert_eq!(looked(&mut seen, &charter, 7), ["a"]);
    }
}
