//! `kill -9` at random moments while the flights are imported, and the same
//! answer in the end as if nothing had happened.

use std::{
    fs::File,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    Length, rebuild,
    report::{Report, output},
    workspace::{Workspace, cargo},
};

/// The environment variable that repeats the moments of an earlier run.
const SEED: &str = "GESTA_SEED";

/// Most rounds until enough kills have landed in the import.
const ROUNDS: usize = 20;

/// How many kills have to land in the import; how many are tried in a round,
/// which has a file of its own; how many flights there are in it.
struct Plan {
    wanted: usize,
    kills: usize,
    flights: u64,
}

impl Plan {
    fn new(length: Length) -> Self {
        match length {
            Length::Short => Self { wanted: 5, kills: 5, flights: 40_000 },
            Length::Full => Self { wanted: 50, kills: 10, flights: 336_776 },
        }
    }
}

pub(crate) fn run(report: &mut Report, length: Length) -> Result<()> {
    let build = &mut cargo("build --release --locked --package flights");
    report.command("build for release", build)?;
    report.step("crash", |report| crash(report, &Plan::new(length)))?;
    rebuild::run(report, length)
}

fn crash(report: &mut Report, plan: &Plan) -> Result<()> {
    let target = Workspace::read()?.target()?;
    let folder = target.join("xtask/crash");
    let mut moments = Moments::new()?;
    let import = Import { program: target.join("release/flights"), folder, flights: plan.flights };

    let (undisturbed, expected) = import.undisturbed()?;
    println!("undisturbed: imported in {expected:.1} s; {SEED}={}", moments.seed);
    let mut counts = Counts::default();
    for round in 1..=ROUNDS {
        import.clear()?;
        for after in moments.gaps(plan.kills, expected) {
            let landed = import.killed(after)?;
            println!("round {round}: killed after {after:.2?}, {landed:?}");
            counts.add(landed);
        }
        let survived = import.finished()?;
        ensure!(survived == undisturbed, "{survived} is not {undisturbed}; seed {}", moments.seed);
        println!("round {round}: {} events, the same as undisturbed", survived["events"]);
        if counts.importing >= plan.wanted {
            break;
        }
    }
    import.clear()?;
    report.say(format!("crash: {counts}, nothing lost or doubled; seed {}", moments.seed));
    // Kills that come too late prove nothing.
    ensure!(counts.importing >= plan.wanted, "too few kills landed in the import: {counts}");
    Ok(())
}

/// When a kill came.
#[derive(Debug)]
enum Landed {
    WhileImporting,
    WhileRebuilding,
    TooLate,
}

#[derive(Default)]
struct Counts {
    sent: usize,
    importing: usize,
    rebuilding: usize,
}

impl Counts {
    fn add(&mut self, landed: Landed) {
        self.sent += 1;
        match landed {
            Landed::WhileImporting => self.importing += 1,
            Landed::WhileRebuilding => self.rebuilding += 1,
            Landed::TooLate => {}
        }
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, importing, rebuilding } = self;
        write!(f, "{sent} kills, {importing} during the import, {rebuilding} after it")
    }
}

/// The program under test.
struct Import {
    program: PathBuf,
    folder: PathBuf,
    flights: u64,
}

impl Import {
    /// What an import says that nobody kills, and the seconds it takes.
    fn undisturbed(&self) -> Result<(Value, f64)> {
        self.clear()?;
        let said = answer(&output(&mut self.command())?)?;
        let expected = said["import_seconds"].as_f64().context("no import_seconds")?;
        Ok((without_seconds(said), expected))
    }

    /// Goes on with the import, to the end.
    fn finished(&self) -> Result<Value> {
        Ok(without_seconds(answer(&output(&mut self.command())?)?))
    }

    /// Goes on with the import, and kills it after a while.
    fn killed(&self, after: Duration) -> Result<Landed> {
        let progress = self.folder.join("progress");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&progress)?);
        let mut child = command.spawn()?;
        std::thread::sleep(after);
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        if let Some(status) = ended {
            ensure!(status.success(), "flights ended with {status}");
            return Ok(Landed::TooLate);
        }
        self.landed(&progress)
    }

    fn landed(&self, progress: &Path) -> Result<Landed> {
        let done = format!("importing: {0} of {0} flights", self.flights);
        let imported = std::fs::read_to_string(progress)?.contains(&done);
        Ok(if imported { Landed::WhileRebuilding } else { Landed::WhileImporting })
    }

    fn command(&self) -> Command {
        let store = format!("sqlite:{}", self.folder.join("flights.db").display());
        let mut command = Command::new(&self.program);
        command.args(["--json", "--store", &store, "--limit", &self.flights.to_string()]);
        command
    }

    /// An empty folder for the next file.
    fn clear(&self) -> Result<()> {
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)?;
        }
        Ok(std::fs::create_dir_all(&self.folder)?)
    }
}

pub(crate) fn answer(said: &str) -> Result<Value> {
    serde_json::from_str(said.trim()).with_context(|| format!("no JSON: {said:?}"))
}

pub(crate) fn without_seconds(mut said: Value) -> Value {
    if let Some(fields) = said.as_object_mut() {
        fields.retain(|name, _| !name.ends_with("_seconds"));
    }
    said
}

/// Random moments that a seed repeats.
pub(crate) struct Moments {
    pub(crate) seed: u64,
    state: u64,
}

impl Moments {
    pub(crate) fn new() -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().with_context(|| format!("{SEED} is a number"))?,
            Err(_) => RandomState::new().hash_one(SEED),
        };
        Ok(Self { seed, state: seed })
    }

    /// The time between moments that are spread evenly over so many seconds.
    pub(crate) fn gaps(&mut self, count: usize, seconds: f64) -> Vec<Duration> {
        let mut moments: Vec<f64> = (0..count).map(|_| self.next() * seconds).collect();
        moments.sort_by(f64::total_cmp);
        let before = std::iter::once(0.0).chain(moments.iter().copied());
        let gaps = moments.iter().zip(before).map(|(moment, before)| moment - before);
        gaps.map(Duration::from_secs_f64).collect()
    }

    /// A number between 0 and 1, by `SplitMix64` (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        f64::from(u32::try_from(bits >> 32).expect("32 bits are left")) / 2.0_f64.powi(32)
    }
}
