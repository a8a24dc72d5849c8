//! What keeps the parts of a projector's models: takes them, renews the leases, runs the
//! loops, and lets new builds answer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Build, BuildChange, Name, Part, StoreErrorKind, Taking, Views, failpoint};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    in_place,
    inner::Inner,
    plan::{self, Plan},
    presence::Presence,
    session::{Ended, Handlers},
    visit::{is_paused, is_visited},
};
use crate::ProjectionError;

mod alone;
mod answering;
mod loops;

use loops::Failing;

/// A part that is further behind than this does not hold up the others: it catches up
/// by itself.
const NEAR: u64 = 20_000;
/// How soon a part is looked at again that somebody else has for a moment.
const MOMENT: Duration = Duration::from_millis(50);
/// The first pause before a part that has failed is tried again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The share of a lease after which it begins anew.
const RENEWALS: u32 = 3;
/// How often it is tried again to hand over: whoever stops is not to be held up for long.
const HANDS_OVER: u32 = 3;
const HANDS_OVER_WITHIN: TimeDelta = TimeDelta::seconds(2);
/// How often a take-over begins anew because the builds have changed meanwhile.
const TRIES: u32 = 20;
/// Most loops that end while nobody looks.
const ENDS: usize = 16;

/// Whether a worker has company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// All parts are its own.
    Alone,
    /// It has its share of them.
    Shared,
}

/// What a loop is for: all parts of one kind share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Those that are near the end of the log, and follow it.
    Near,
    /// Those that are far behind.
    Far,
    /// Those of builds that are to answer.
    Beside,
    /// Those of one reaction, which may take its time.
    Reacting(usize),
}

pub(crate) struct Worker<V: Views> {
    inner: Arc<Inner<V>>,
    owner: Name,
    presence: Option<Presence>,
    stop: watch::Receiver<bool>,
    /// The epoch of each part that this worker has, and whether its build answers.
    held: HashMap<Part, (u64, bool)>,
    idle: Handlers<V>,
    failed: HashMap<Part, Failing>,
    loops: BTreeMap<Key, watch::Sender<bool>>,
    ends: Ends<V>,
    /// Parts that nobody had the last time either.
    free: BTreeSet<Part>,
    refused: BTreeSet<Name>,
    /// Models that are not touched until then, and loops that do not begin before.
    left: HashMap<Name, DateTime<Utc>>,
    rests: BTreeMap<Key, DateTime<Utc>>,
    discarding: Arc<Mutex<BTreeSet<(Name, u64)>>>,
}

/// Where loops tell of their end.
type Ends<V> = (mpsc::Sender<(Key, Ended<V>)>, mpsc::Receiver<(Key, Ended<V>)>);

impl<V: Views> Worker<V> {
    pub(crate) fn new(inner: &Arc<Inner<V>>, work: Work, stop: watch::Receiver<bool>) -> Self {
        let id = inner.world.random_u64();
        let owner = Name::new(format!("worker.{id:016x}"));
        let presence = (work == Work::Shared).then(|| Presence::new(&inner.revisions()));
        Self {
            inner: Arc::clone(inner),
            owner: owner.unwrap_or(Name::from_static("worker")),
            presence,
            stop,
            held: HashMap::new(),
            idle: Vec::new(),
            failed: HashMap::new(),
            loops: BTreeMap::new(),
            ends: mpsc::channel(ENDS),
            free: BTreeSet::new(),
            refused: BTreeSet::new(),
            left: HashMap::new(),
            rests: BTreeMap::new(),
            discarding: Arc::default(),
        }
    }

    /// Keeps parts until it is told to stop, then hands them over.
    pub(crate) async fn run(mut self) -> Result<(), ProjectionError> {
        let kept = self.keep().await;
        while let Some((_, ended)) = self.stop_loops().await {
            self.idle.extend(ended.handlers);
        }
        let handed_over = self.hand_over().await;
        kept.and(handed_over)
    }

    async fn keep(&mut self) -> Result<(), ProjectionError> {
        if self.presence.is_none() {
            self.idle = self.take_all().await?;
        }
        let mut tries = 0;
        loop {
            let pause = match self.tick().await {
                Ok(pause) => {
                    tries = 0;
                    pause
                }
                Err(error) if self.may_pass(&error) && (self.is_shared() || tries < TRIES) => {
                    tries = (tries + 1).min(TRIES);
                    tracing::warn!(%error, "read models stand still for a moment");
                    MOMENT * tries
                }
                Err(error) => return Err(error),
            };
            let sleep = self.inner.world.sleep(pause);
            let ended = tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Ok(()),
                ended = self.ends.1.recv() => ended,
                () = sleep => None,
            };
            if let Some((key, ended)) = ended {
                self.ended(key, ended)?;
            }
        }
    }

    fn may_pass(&self, error: &ProjectionError) -> bool {
        error.is_transient() || (self.is_shared() && error.is_fenced())
    }

    fn is_shared(&self) -> bool {
        self.presence.is_some()
    }

    /// Looks at everything once, and says how soon to look again.
    async fn tick(&mut self) -> Result<Duration, ProjectionError> {
        let lost = self.renew().await?;
        let builds = self.builds().await?;
        let mut wanted = BTreeMap::new();
        let (mut replaced, mut is_waiting) = (Vec::new(), false);
        for recipe in self.inner.recipes.clone() {
            let name = recipe.about().name.clone();
            let plan = Plan::new(recipe.about(), &plan::of(&name, &builds));
            replaced.extend(plan.discard.iter().map(|build| (name.clone(), *build)));
            if let Some(error) = plan.refusal {
                self.refuse(name, error)?;
            } else if plan.in_place {
                if is_visited_model(&builds, &name) {
                    is_waiting = true;
                } else if !self.is_left(&name) {
                    let done = in_place::rebuild(&self.inner, recipe.as_ref()).await;
                    done.or_else(|error| self.leave(&name, error))?;
                    return Ok(MOMENT);
                }
            } else if let Some(begin) = plan.begin {
                return self.inner.begin(begin).await.map(|()| Duration::ZERO);
            } else {
                wanted.extend(plan.serving.into_iter().map(|part| (part, true)));
                wanted.extend(plan.beside.into_iter().map(|part| (part, false)));
            }
        }
        self.let_go(&wanted, &lost).await?;
        is_waiting |= self.take_free(&builds, &wanted).await?;
        self.count(&wanted, &builds);
        self.try_again().await?;
        self.discard(replaced);
        self.arrange().await?;
        let swapped = self.swap(&builds).await?;
        let pause = self.due().min(self.inner.lease / RENEWALS);
        Ok(if is_waiting || swapped { MOMENT.min(pause) } else { pause })
    }

    /// Whether all that answers is kept here; of those who share, what is their own. What
    /// changes with each append is kept by nobody.
    fn count(&self, wanted: &BTreeMap<Part, bool>, builds: &[Build]) {
        let serving: Vec<_> = wanted.iter().filter(|(_, serves)| **serves).collect();
        let mut inline = builds.iter().filter(|build| build.serves && build.is_inline());
        let is_there = |name: &Name| {
            serving.iter().any(|(part, _)| part.model == *name)
                || inline.clone().any(|build| build.model == *name)
        };
        let is_whole = self.is_shared()
            || self.inner.names().iter().all(is_there)
                && serving.iter().all(|(part, _)| self.held.contains_key(*part));
        self.inner.has_inline.store(inline.next().is_some(), Ordering::Release);
        self.inner.is_whole(is_whole);
    }

    /// Every build of every model.
    async fn builds(&self) -> Result<Vec<Build>, ProjectionError> {
        Ok(self.inner.views.builds(&self.inner.names()).await?)
    }

    /// Deletes builds that were replaced, each in a task of its own as it may be large.
    /// What it leaves behind is found again.
    fn discard(&self, replaced: Vec<(Name, u64)>) {
        for (model, build) in replaced {
            if !self.discarding.lock().insert((model.clone(), build)) {
                continue;
            }
            let (views, discarding) = (self.inner.views.clone(), Arc::clone(&self.discarding));
            self.inner.world.detach(async move {
                if let Err(error) = views.change(BuildChange::discard(model.clone(), build)).await {
                    tracing::warn!(%model, build, %error, "a replaced build is not yet deleted");
                }
                discarding.lock().remove(&(model, build));
            });
        }
    }

    /// How long until a part that has failed is tried again.
    fn due(&self) -> Duration {
        let next = self.failed.values().filter_map(|failing| failing.until).min();
        let next = next.into_iter().chain(self.rests.values().copied()).min();
        let left = next.map(|next| (next - self.inner.world.now()).to_std().unwrap_or_default());
        left.unwrap_or(Duration::MAX)
    }

    /// A model that this program cannot keep stops it, unless it has company: newer
    /// programs may be among them.
    fn refuse(&mut self, model: Name, error: ProjectionError) -> Result<(), ProjectionError> {
        if self.presence.is_none() {
            return Err(error);
        }
        if self.refused.insert(model.clone()) {
            tracing::warn!(%model, %error, "a model is left to other programs");
        }
        Ok(())
    }

    /// Begins the leases anew, and tells which parts are not ours any more.
    async fn renew(&mut self) -> Result<Vec<Part>, ProjectionError> {
        let mut all: Vec<_> =
            self.held.iter().map(|(part, (epoch, _))| (part.clone(), *epoch)).collect();
        let presence = self.presence.as_ref().and_then(Presence::held);
        all.extend(presence.clone());
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let still = self.inner.views.renew(&self.owner, &all, self.inner.lease).await?;
        failpoint!("worker.after_renew");
        let still: BTreeSet<_> = still.into_iter().collect();
        if let (Some(presence), Some((slot, _))) = (&mut self.presence, presence)
            && !still.contains(&slot)
        {
            presence.lost();
        }
        let lost = self.held.keys().filter(|part| !still.contains(*part));
        Ok(lost.cloned().collect())
    }

    /// Gives up what is lost, what is not wanted any more, and what is more than a fair
    /// share.
    async fn let_go(
        &mut self,
        wanted: &BTreeMap<Part, bool>,
        lost: &[Part],
    ) -> Result<(), ProjectionError> {
        let mut gone: BTreeSet<Part> = lost.iter().cloned().collect();
        gone.extend(self.held.keys().filter(|part| !wanted.contains_key(part)).cloned());
        if let Some(presence) = &mut self.presence {
            presence.appear(&self.inner, &self.owner).await?;
            let mut mine: Vec<_> = self.held.keys().filter(|part| !gone.contains(*part)).collect();
            let surplus = mine.len().saturating_sub(presence.share(wanted.len()));
            mine.sort_unstable();
            gone.extend(mine.into_iter().rev().take(surplus).cloned().collect::<Vec<_>>());
        }
        if gone.is_empty() {
            return Ok(());
        }
        for key in self.loops.keys().copied().collect::<Vec<_>>() {
            self.stop_loop(key).await?;
        }
        self.idle.retain(|handler| !gone.contains(&handler.held().part));
        let mut given = Vec::new();
        for part in gone {
            self.inner.drops(&part);
            self.failed.remove(&part);
            given.extend(self.held.remove(&part).map(|(epoch, _)| (part, epoch)));
        }
        self.give(&given).await
    }

    /// Lets others have these parts from now on. Who does not hear of it waits for the end of
    /// the lease, so it is tried more than once: a connection that broke meanwhile shows first
    /// when it is used.
    async fn give(&self, parts: &[(Part, u64)]) -> Result<(), ProjectionError> {
        failpoint!("worker.before_hand_over");
        let (mut tries, began) = (0, self.inner.world.now());
        while let Err(error) = self.inner.views.renew(&self.owner, parts, Duration::ZERO).await {
            // Of a server that says nothing for long, nothing else is to be expected.
            let is_slow = self.inner.world.now() - began > HANDS_OVER_WITHIN;
            if !error.is_transient() || tries == HANDS_OVER || is_slow {
                return Err(error.into());
            }
            tries += 1;
            self.inner.world.sleep(MOMENT * tries).await;
        }
        failpoint!("worker.after_hand_over");
        Ok(())
    }

    /// Takes what nobody has, up to a fair share; and what nobody has had for a whole
    /// while, however much that is. Says whether somebody only has a part for a moment.
    async fn take_free(
        &mut self,
        builds: &[Build],
        wanted: &BTreeMap<Part, bool>,
    ) -> Result<bool, ProjectionError> {
        let share = self.presence.as_ref().map_or(usize::MAX, |all| all.share(wanted.len()));
        let (mut is_waiting, mut still_free) = (false, BTreeSet::new());
        for build in builds {
            for state in &build.parts {
                let part = build.part(state.slices);
                let Some(serves) = wanted.get(&part) else { continue };
                if self.held.contains_key(&part) {
                    continue;
                }
                let is_ours = state.owner.as_ref() == Some(&self.owner);
                if !state.is_free() && !is_ours {
                    let visits = is_visited(state);
                    is_waiting |= visits && *serves;
                    if self.presence.is_none() && !visits && !is_paused(state) {
                        return Err(taken(&part, state.owner.as_ref()));
                    }
                } else if self.held.len() < share || self.free.contains(&part) {
                    // Of one that is being written nobody waits for the end: others have to be
                    // taken, and leases renewed, meanwhile.
                    self.take(part, *serves, Taking::IfIdle).await?;
                } else {
                    still_free.insert(part);
                }
            }
        }
        self.free = still_free;
        Ok(is_waiting)
    }

    async fn take(
        &mut self,
        part: Part,
        serves: bool,
        taking: Taking,
    ) -> Result<(), ProjectionError> {
        let Some(recipe) = self.inner.recipe(&part.model).cloned() else { return Ok(()) };
        let taken = match serves {
            true => self.inner.take(recipe.as_ref(), part, &self.owner, taking).await?,
            false => self.inner.take_beside(recipe.as_ref(), part, &self.owner, taking).await?,
        };
        if let Some(handler) = taken {
            let held = handler.held();
            self.inner.keeps(&held.part, held.checkpoint.position, serves);
            self.held.insert(held.part.clone(), (held.checkpoint.epoch, serves));
            self.idle.push(handler);
        }
        Ok(())
    }

    /// Makes anew what has failed a while ago.
    async fn try_again(&mut self) -> Result<(), ProjectionError> {
        let now = self.inner.world.now();
        let is_due = |failing: &Failing| failing.until.is_some_and(|until| until <= now);
        let due = self.failed.iter().filter(|(_, failing)| is_due(failing));
        for part in due.map(|(part, _)| part.clone()).collect::<Vec<_>>() {
            if let Some((_, serves)) = self.held.get(&part).copied() {
                self.take(part.clone(), serves, Taking::IfFree).await?;
            }
            if let Some(failing) = self.failed.get_mut(&part) {
                failing.until = None;
            }
        }
        Ok(())
    }

    /// Who is alone ends with what a model cannot do. Who has company leaves the model for
    /// a while; what may pass is looked at again at once.
    fn leave(&mut self, model: &Name, error: ProjectionError) -> Result<(), ProjectionError> {
        if !self.is_shared() || self.may_pass(&error) {
            return Err(error);
        }
        tracing::error!(%model, %error, "a model is left as it is for a while");
        self.left.insert(model.clone(), self.inner.world.now() + PAUSES.1);
        Ok(())
    }

    fn is_left(&self, model: &Name) -> bool {
        self.left.get(model).is_some_and(|until| *until > self.inner.world.now())
    }

    /// Lets others have all that it has.
    pub(crate) async fn hand_over(&mut self) -> Result<(), ProjectionError> {
        let mut all: Vec<_> = self.held.drain().map(|(part, (epoch, _))| (part, epoch)).collect();
        all.extend(self.presence.as_ref().and_then(Presence::held));
        for (part, _) in &all {
            self.inner.drops(part);
        }
        if all.is_empty() {
            return Ok(());
        }
        self.give(&all).await
    }
}

/// Whether somebody has a part of what answers for a moment.
fn is_visited_model(builds: &[Build], model: &Name) -> bool {
    let mut serving = builds.iter().filter(|build| build.serves && build.model == *model);
    serving.any(|build| build.parts.iter().any(is_visited))
}

fn is_paused_part(builds: &[Build], part: &Part) -> bool {
    let builds = builds.iter().filter(|one| one.model == part.model && one.number == part.build);
    let mut states = builds.flat_map(|build| &build.parts);
    states.any(|state| state.slices == part.slices && is_paused(state))
}

fn taken(part: &Part, owner: Option<&Name>) -> ProjectionError {
    let owner = owner.map_or("somebody", Name::as_str);
    let message = format!("{part} was taken over by {owner}");
    ProjectionError::Store(es_core::StoreError::new(StoreErrorKind::Fenced, message))
}
