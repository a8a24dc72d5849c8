//! Timing, closed-loop clients and the one line of output.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::args::Options;

/// Accounts that are opened before `commands` and `catchup`.
pub const ACCOUNTS: u64 = 1_000;
/// Events in one batch of `bulk`.
pub const BATCH: u64 = 1_000;
/// Batches after which `bulk` stops, if its time is not over before.
pub const BATCHES: u64 = 100;
/// Events that each account has in `catchup`.
pub const CATCHUP_ROUNDS: u64 = 100;

/// A small pseudo-random generator (xorshift64).
pub struct Xorshift(u64);

impl Xorshift {
    pub fn for_client(client: usize) -> Self {
        let seed = (client as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self(seed | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// How one command of a client ended.
pub enum Outcome {
    /// It succeeded after so many repeats.
    Done { retries: u64 },
    /// The library gave up with a passing error, after so many repeats.
    GaveUp { retries: u64 },
}

/// One closed-loop client: the next command starts when the last has ended.
pub trait Client: Send + 'static {
    fn send(&mut self) -> impl Future<Output = Result<Outcome>> + Send;
}

/// What all clients did together.
#[derive(Default)]
pub struct Run {
    /// Successes before the time was over.
    pub in_time: u64,
    /// Successes in all: commands under way at the end were let finish.
    pub successes: u64,
    pub gave_up: u64,
    pub retries: u64,
    latencies: Vec<u64>,
}

impl Run {
    fn add(&mut self, outcome: Outcome, start: Instant, deadline: Instant) {
        let end = Instant::now();
        match outcome {
            Outcome::Done { retries } => {
                self.retries += retries;
                self.successes += 1;
                self.in_time += u64::from(end <= deadline);
                self.latencies.push(nanos(end - start));
            }
            Outcome::GaveUp { retries } => {
                self.retries += retries;
                self.gave_up += 1;
            }
        }
    }

    fn merge(&mut self, other: Self) {
        self.in_time += other.in_time;
        self.successes += other.successes;
        self.gave_up += other.gave_up;
        self.retries += other.retries;
        self.latencies.extend(other.latencies);
    }
}

/// Lets every client send commands until the time is over.
pub async fn drive<C: Client>(clients: Vec<C>, seconds: f64) -> Result<Run> {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> =
        clients.into_iter().map(|client| tokio::spawn(drive_one(client, deadline))).collect();
    let mut all = Run::default();
    for task in tasks {
        all.merge(task.await??);
    }
    Ok(all)
}

async fn drive_one<C: Client>(mut client: C, deadline: Instant) -> Result<Run> {
    let mut run = Run::default();
    loop {
        let start = Instant::now();
        if start >= deadline {
            return Ok(run);
        }
        let outcome = client.send().await?;
        run.add(outcome, start, deadline);
        // A store that never waits would else keep its thread to itself.
        tokio::task::yield_now().await;
    }
}

/// The figures of one workload.
pub struct Figures {
    pub clients: usize,
    pub operations: u64,
    pub elapsed: Duration,
    pub latencies: Vec<u64>,
    pub note: String,
}

impl Figures {
    /// The figures of clients that were driven for so long.
    pub fn of_run(options: &Options, run: Run, note: String) -> Self {
        Self {
            clients: options.clients,
            operations: run.in_time,
            elapsed: Duration::from_secs_f64(options.seconds),
            latencies: run.latencies,
            note,
        }
    }

    /// The figures of steps that one client made, each of so many operations.
    pub fn of_steps(latencies: Vec<u64>, each: u64, note: String) -> Self {
        Self {
            clients: 1,
            operations: latencies.len() as u64 * each,
            elapsed: Duration::from_nanos(latencies.iter().sum()),
            latencies,
            note,
        }
    }
}

/// What a workload came to.
pub enum Report {
    Measured(Figures),
    Unsupported(String),
}

impl Report {
    pub fn to_json(&self, peer: &str, options: &Options) -> Result<Value> {
        let figures = match self {
            Self::Measured(figures) => figures,
            Self::Unsupported(why) => {
                return Ok(json!({
                    "peer": peer, "workload": options.workload,
                    "store": options.store.name(), "unsupported": why,
                }));
            }
        };
        ensure!(figures.operations > 0, "no operation ended in time");
        let mut sorted = figures.latencies.clone();
        sorted.sort_unstable();
        let rate = figures.operations as f64 / figures.elapsed.as_secs_f64();
        Ok(json!({
            "peer": peer,
            "workload": options.workload,
            "store": options.store.name(),
            "clients": figures.clients,
            "per_second": tenths(rate),
            "p50_us": percentile(&sorted, 0.50),
            "p99_us": percentile(&sorted, 0.99),
            "operations": figures.operations,
            "note": figures.note,
        }))
    }
}

pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn percentile(sorted: &[u64], part: f64) -> f64 {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    let nanos = sorted.get(rank.max(1) - 1).copied().unwrap_or(0);
    tenths(nanos as f64 / 1_000.0)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
