//! Workers that stand still for longer than their leases, and go on.

use std::{
    collections::BTreeMap,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use chrono::{DateTime, Utc};
use es_core::{
    Build, BuildChange, Builds, Changes, Checkpoint, EventStore, Name, Part, PartState, Slices,
    Taking, Views, World,
};
use tests::models::{Journal, LEASE, MODELS};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
};

use crate::{
    number,
    place::{Lock, Place, postgres, sqlite},
    random,
    truth::{Verdict, check},
};

/// How long anything of this may take.
const LONG: Duration = Duration::from_secs(60);
/// What a takeover may take beyond the lease.
const BEYOND: Duration = Duration::from_secs(1);
/// How long the server lets an open transaction stand still, and a second.
const STANDSTILL: Duration = Duration::from_secs(6);
/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// The pause between two events.
const PAUSE: Duration = Duration::from_millis(2);

/// What has come of some pauses.
#[derive(Default)]
pub(crate) struct Pauses {
    pub(crate) done: u64,
    /// Commits that were refused after a pause: by the store, and before it was asked.
    fenced: u64,
    stale: u64,
    /// Commits under an epoch that somebody else had raised by then.
    pub(crate) accepted: u64,
    /// From the stop to the last part taken over.
    takeovers: Vec<Duration>,
    /// The same, of those who stood still in the middle of a transaction.
    in_commit: Vec<Duration>,
    /// Those who held the lock of the file, and were not waited for.
    locked: u64,
}

/// A worker whose lines are read.
struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _input: ChildStdin,
    /// What it has, as far as it has said so.
    epochs: BTreeMap<(String, u64, Slices), u64>,
}

/// What a worker has said about a part: `committed by-row 1 0-1023 7 431`.
struct Said {
    what: String,
    part: (String, u64, Slices),
    epoch: u64,
    position: u64,
}

impl Said {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (what, model) = (words.next()?.to_owned(), words.next()?.to_owned());
        let build = words.next()?.parse().ok()?;
        let (first, last) = words.next()?.split_once('-')?;
        let slices = Slices { first: first.parse().ok()?, last: last.parse().ok()? };
        let (epoch, position) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { what, part: (model, build, slices), epoch, position })
    }
}

impl Worker {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let input = child.stdin.take().unwrap();
        Self { child, lines, _input: input, epochs: BTreeMap::new() }
    }

    async fn next(&mut self) -> Option<Said> {
        loop {
            let line = self.lines.next_line().await.unwrap()?;
            let Some(said) = Said::read(&line) else { continue };
            if said.what == "took" {
                self.epochs.insert(said.part.clone(), said.epoch);
            }
            return Some(said);
        }
    }

    async fn signal(&self, signal: &str) -> ExitStatus {
        let pid = self.child.id().unwrap().to_string();
        Command::new("kill").args([signal, &pid]).status().await.unwrap()
    }

    /// Whether it stands still.
    fn is_stopped(&self) -> bool {
        let status = format!("/proc/{}/stat", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        status.rsplit(')').next().unwrap().trim_start().starts_with('T')
    }
}

/// Looks until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            World::real().sleep(LOOK).await;
        }
    };
    let looked = tokio::time::timeout(LONG, looking).await;
    assert!(looked.is_ok(), "it takes too long: {what}");
}

fn now() -> DateTime<Utc> {
    World::real().now()
}

pub(crate) struct Pausing<'a, S> {
    pub(crate) place: &'a Place<S>,
    pub(crate) pauses: u64,
    pub(crate) flags: &'static [&'static str],
}

impl<S: EventStore + Views<Tx: Journal>> Pausing<'_, S> {
    /// Lets workers stand still, one after the other, while another one lives on and
    /// events are appended. Returns how many.
    pub(crate) async fn run(&self) -> (Pauses, u64) {
        let (stop, stopped) = watch::channel(false);
        let pausing = async {
            let mut pauses = Pauses::default();
            let others = [self.other(), self.other()];
            while pauses.done < self.pauses {
                self.pause(&mut pauses).await;
            }
            stop.send_replace(true);
            drop(others);
            pauses
        };
        tokio::join!(pausing, self.import(stopped))
    }

    /// A worker that does not stand still.
    fn other(&self) -> Child {
        let mut command = self.place.program(&["work"]);
        command.spawn().unwrap()
    }

    async fn import(&self, stopped: watch::Receiver<bool>) -> u64 {
        let mut number = 0;
        while !*stopped.borrow() {
            self.place.append(number).await;
            number += 1;
            World::real().sleep(PAUSE).await;
        }
        number
    }

    /// A worker stops, its parts are taken over, it goes on, and loses them.
    async fn pause(&self, pauses: &mut Pauses) {
        let mut arguments = vec!["work"];
        arguments.extend(self.flags);
        let mut command = self.place.program(&arguments);
        let between = pauses.done.is_multiple_of(2);
        if between {
            let hits = random(1, 60);
            command.env("GESTA_STOP", format!("projection.before_commit:{hits}"));
        }
        let mut worker = Worker::start(command);
        if between {
            self.until_it_stops(&mut worker).await;
        } else {
            let mut commits = random(1, 60);
            while commits > 0 {
                let said = worker.next().await.expect("a worker that lives");
                commits -= u64::from(said.what == "committed");
            }
            worker.signal("-STOP").await;
            until("it does not stop", async || worker.is_stopped()).await;
        }
        let stopped = now();
        let lock = self.place.lock();
        if lock == Lock::File {
            // It stands still in the middle of a commit, which on SQLite nobody can end.
            pauses.locked += 1;
            worker.child.kill().await.unwrap();
            return;
        }
        let taken = self.taken_over(&mut worker).await;
        if taken.is_empty() {
            worker.child.kill().await.unwrap();
            return;
        }
        let after = (now() - stopped).to_std().unwrap_or_default();
        match lock {
            Lock::Part => pauses.in_commit.push(after),
            _ => pauses.takeovers.push(after),
        }
        pauses.done += 1;
        worker.signal("-CONT").await;
        self.listen(worker, &taken, pauses).await;
    }

    /// Reads what it says until it stands still at its failpoint.
    async fn until_it_stops(&self, worker: &mut Worker) {
        let stops = async {
            loop {
                let said = tokio::time::timeout(LOOK, worker.next()).await;
                if said.is_err() && worker.is_stopped() {
                    return;
                }
            }
        };
        tokio::time::timeout(LONG, stops).await.expect("it reaches its failpoint");
    }

    /// Waits until somebody else has every part that it had. Returns them with the epochs
    /// under which it had them, and how far it had brought them.
    async fn taken_over(&self, worker: &mut Worker) -> BTreeMap<(String, u64, Slices), (u64, u64)> {
        // What it has said before it stopped.
        while tokio::time::timeout(LOOK, worker.next()).await.is_ok() {}
        let names = MODELS.map(Name::from_static);
        let parts = async || -> BTreeMap<(String, u64, Slices), PartState> {
            let builds = self.place.store.builds(&names).await.unwrap();
            let of = |build: Build| {
                let (model, number) = (build.model.to_string(), build.number);
                let key = move |part: PartState| ((model.clone(), number, part.slices), part);
                build.parts.into_iter().map(key)
            };
            builds.into_iter().flat_map(of).collect()
        };
        let found = parts().await;
        let mut mine = BTreeMap::new();
        for (part, epoch) in &worker.epochs {
            let found = found.get(part).map(|found| found.checkpoint);
            if let Some(found) = found.filter(|found| found.epoch == *epoch) {
                mine.insert(part.clone(), (*epoch, found.position.get()));
            }
        }
        until("its parts are not taken over", async || {
            let found = parts().await;
            mine.iter().all(|(part, (epoch, _))| {
                let taken = |found: &PartState| found.checkpoint.epoch > *epoch && !found.is_free();
                found.get(part).is_none_or(taken)
            })
        })
        .await;
        mine
    }

    /// What it writes late, until it knows that it has lost its parts and takes some anew.
    async fn listen(
        &self,
        mut worker: Worker,
        taken: &BTreeMap<(String, u64, Slices), (u64, u64)>,
        pauses: &mut Pauses,
    ) {
        let (mut is_refused, mut has_taken) = (false, false);
        let listening = async {
            while let Some(said) = worker.next().await {
                // What it only says late was committed before it stopped.
                let is_late = taken.get(&said.part).is_some_and(|(epoch, position)| {
                    *epoch == said.epoch && *position < said.position
                });
                match said.what.as_str() {
                    "fenced" => pauses.fenced += 1,
                    "stale" => pauses.stale += 1,
                    "committed" if is_late => pauses.accepted += 1,
                    "took" => has_taken = true,
                    _ => {}
                }
                is_refused |= matches!(said.what.as_str(), "fenced" | "stale");
                if is_refused && has_taken {
                    return;
                }
            }
        };
        // Without either there is nothing to hear.
        let _ = tokio::time::timeout(LEASE * 4, listening).await;
        worker.child.kill().await.unwrap();
    }
}

impl Pauses {
    /// Returns how long nearly all takeovers took, and the longest from a transaction.
    fn print(&mut self) -> (Duration, Duration) {
        self.takeovers.sort_unstable();
        let at = |share: usize| self.takeovers[(self.takeovers.len() * share).div_ceil(100) - 1];
        let (median, worst) = (at(50), at(99));
        let in_commit = self.in_commit.iter().max().copied().unwrap_or_default();
        println!(
            "{} pauses; late commits: {} accepted, {} refused by the store, {} not tried; \
             takeover p50 {median:.0?}, p99 {worst:.0?}, lease {LEASE:.0?}; {} in the middle of \
             a transaction, {in_commit:.0?} at most; {} with the lock of the file",
            self.done,
            self.accepted,
            self.fenced,
            self.stale,
            self.in_commit.len(),
            self.locked,
        );
        (worst, in_commit)
    }
}

async fn pauses<S>(place: Place<S>)
where
    S: EventStore + Views<Tx: Journal>,
{
    const PAUSES: &str = "GESTA_MODEL_PAUSES";
    let pausing = Pausing { place: &place, pauses: number(PAUSES, 12), flags: &[] };
    let (mut pauses, appended) = pausing.run().await;
    let (worst, in_commit) = pauses.print();
    place.settle().await.unwrap_or_else(|error| panic!("{error}\n{}", place.told()));
    let verdict: Verdict = check(&place, appended).await;
    println!("{verdict}");
    assert!(verdict.is_sound(), "{verdict}");
    assert_eq!(pauses.accepted, 0);
    assert!(pauses.fenced > 0, "no late commit was tried");
    // How fast they are is asked of a machine that does nothing else.
    if std::env::var_os(PAUSES).is_some() {
        assert!(worst < LEASE + BEYOND, "{worst:?}");
        assert!(in_commit < LEASE + STANDSTILL, "{in_commit:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_writes_nothing_more_on_sqlite() {
    pauses(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stood_still_writes_nothing_more_on_postgres() {
    let Some(place) = postgres().await else { return };
    pauses(place).await;
}

/// An owner who stands still in the middle of a commit has locked its part: nobody who looks
/// for a free one waits for it, others and their leases go on, and it is not for long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stands_still_keeps_its_part_from_nobody_for_long() {
    let Some(place) = postgres().await else { return };
    let store = &place.store;
    let model = Name::from_static("by-row");
    store.change(BuildChange::begin(model.clone(), 1).parts(Slices::split(2))).await.unwrap();
    let [part, free] = Slices::split(2)[..] else { panic!("two halves") };
    let [part, free] = [part, free].map(|half| Part::new(model.clone(), 1, half));
    let (owner, other) = (Name::from_static("owner"), Name::from_static("other"));
    let lease = Duration::from_millis(1);
    let mine = store.take(&part, &owner, lease, Taking::IfFree).await.unwrap().unwrap();
    let (mut still, _) = store.begin(&part).await.unwrap();
    let lock = sqlx::query("SELECT 1 FROM gesta.parts WHERE first_slice = 0 FOR UPDATE");
    lock.execute(still.connection().await.unwrap()).await.unwrap();

    let at_once = async {
        until("its lease does not end", async || {
            let builds = store.builds(std::slice::from_ref(&model)).await.unwrap();
            builds[0].parts[0].is_free()
        })
        .await;
        let taken = async |part| store.take(part, &other, LEASE, Taking::IfIdle).await.unwrap();
        assert!(taken(&part).await.is_none(), "it is taken from under a transaction");
        let second = taken(&free).await.expect("a part that nobody writes");
        let held = [(free.clone(), second.epoch)];
        assert_eq!(store.renew(&other, &held, LEASE).await.unwrap(), [free]);
        let held = [(part.clone(), mine.epoch)];
        assert_eq!(store.renew(&owner, &held, LEASE).await.unwrap(), std::slice::from_ref(&part));
    };
    // Sooner than the server ends the transaction.
    tokio::time::timeout(BEYOND * 3, at_once).await.expect("somebody waits for it");
    let taking = store.take(&part, &other, LEASE, Taking::IfFree);
    let taken = tokio::time::timeout(STANDSTILL, taking).await;
    assert!(taken.expect("it still waits").unwrap().is_some());
    let nothing = Changes::default();
    let end = store.commit(&part, still, nothing, Checkpoint::default(), Checkpoint::default());
    assert!(end.await.unwrap_err().is_transient(), "it is tried again, and then is fenced");
}
