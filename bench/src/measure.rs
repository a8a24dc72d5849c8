//! Timing, and clients of which each sends its next command when the last has
//! ended: the same rules as in the peers' `common/measure.rs`.

#![expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::contest::Unit;

/// What one run came to.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) note: String,
}

impl Measured {
    /// Steps that were timed one by one, each of so many operations.
    pub(crate) fn of_steps(latencies: Vec<Duration>, each: u32) -> Result<Self> {
        let elapsed = latencies.iter().sum();
        let operations = u32::try_from(latencies.len())? * each;
        Self::new(operations, elapsed, latencies)
    }

    /// One step of so many operations.
    pub(crate) fn of_one(operations: u32, elapsed: Duration) -> Result<Self> {
        Self::new(operations, elapsed, vec![elapsed])
    }

    fn new(operations: u32, elapsed: Duration, mut latencies: Vec<Duration>) -> Result<Self> {
        ensure!(operations > 0, "no operation ended in time");
        latencies.sort_unstable();
        Ok(Self {
            per_second: f64::from(operations) / elapsed.as_secs_f64(),
            p50_us: percentile(&latencies, 50),
            p99_us: percentile(&latencies, 99),
            note: String::new(),
        })
    }

    /// Nothing yet.
    pub(crate) fn none() -> Self {
        Self { per_second: 0.0, p50_us: 0.0, p99_us: 0.0, note: String::new() }
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(crate) fn figure(&self, unit: Unit) -> f64 {
        match unit {
            Unit::PerSecond => self.per_second,
            Unit::Milliseconds => self.p50_us / 1_000.0,
        }
    }
}

/// By nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}

/// When each of many things began.
pub(crate) struct Schedule {
    start: Instant,
    begun_us: Vec<AtomicU64>,
}

impl Schedule {
    pub(crate) fn new(count: usize) -> Self {
        Self { start: Instant::now(), begun_us: (0..count).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.begun_us.len()
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn begin(&self, number: usize) {
        if let Some(begun) = self.begun_us.get(number) {
            begun.store(self.now_us(), Ordering::Relaxed);
        }
    }

    /// What the clock shows now.
    pub(crate) fn stamp(&self) -> Stamp {
        Stamp(self.now_us())
    }

    /// The time from then on until the clock showed this; none if it began later.
    pub(crate) fn until(&self, number: usize, Stamp(end): Stamp) -> Result<Duration> {
        let begun = self.begun_us.get(number).context("it has not begun")?;
        Ok(Duration::from_micros(end.saturating_sub(begun.load(Ordering::Relaxed))))
    }

    /// The time since then.
    pub(crate) fn since(&self, number: usize) -> Result<Duration> {
        let begun = self.begun_us.get(number).context("it has not begun")?;
        Ok(Duration::from_micros(self.now_us() - begun.load(Ordering::Relaxed)))
    }
}

/// A moment of a [`Schedule`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp(u64);

/// The latency that so many of a hundred stay below, as the figure.
pub(crate) fn percentile_of(mut latencies: Vec<Duration>, percent: usize) -> Result<Measured> {
    latencies.sort_unstable();
    let figure = Duration::from_secs_f64(percentile(&latencies, percent) / 1e6);
    let median = percentile(&latencies, 50) / 1e3;
    Ok(Measured::of_one(1, figure)?.note(format!("median {median:.2} ms")))
}

/// One that sends commands.
pub(crate) trait Client: Send + 'static {
    fn send(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// Lets every client send commands until the time is over. What is under way
/// then is let finish: `successes` counts it, the rate does not.
pub(crate) async fn drive<C: Client>(clients: Vec<C>, seconds: f64) -> Result<(Measured, u64)> {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let one = |client| tokio::spawn(drive_one(client, deadline));
    let tasks: Vec<_> = clients.into_iter().map(one).collect();
    let (mut in_time, mut latencies) = (0, Vec::new());
    for task in tasks {
        let (counted, taken) = task.await??;
        in_time += counted;
        latencies.extend(taken);
    }
    let successes = latencies.len() as u64;
    Ok((Measured::new(in_time, Duration::from_secs_f64(seconds), latencies)?, successes))
}

async fn drive_one<C: Client>(mut client: C, deadline: Instant) -> Result<(u32, Vec<Duration>)> {
    let (mut in_time, mut latencies) = (0, Vec::new());
    loop {
        let start = Instant::now();
        if start >= deadline {
            return Ok((in_time, latencies));
        }
        client.send().await?;
        let end = Instant::now();
        in_time += u32::from(end <= deadline);
        latencies.push(end - start);
        // A store that never waits would else keep its thread to itself.
        tokio::task::yield_now().await;
    }
}

/// Runs a step again and again until the time is over, and times each.
pub(crate) fn repeat(seconds: f64, mut step: impl FnMut() -> Result<()>) -> Result<Vec<Duration>> {
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let mut latencies = Vec::new();
    while latencies.is_empty() || Instant::now() < deadline {
        let (latency, done) = timed(&mut step);
        done?;
        latencies.push(latency);
    }
    Ok(latencies)
}

/// The time that a step takes, and what comes of it.
pub(crate) fn timed<T>(step: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = step();
    (start.elapsed(), done)
}

/// The time that a future takes.
pub(crate) async fn timed_async<T>(step: impl Future<Output = Result<T>>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let done = step.await?;
    Ok((start.elapsed(), done))
}

/// Runs all at once, each as a task, and waits for all of them.
pub(crate) async fn all_at_once<F>(tasks: impl IntoIterator<Item = F>) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let tasks: Vec<_> = tasks.into_iter().map(tokio::spawn).collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Runs a task on a runtime of two workers, as the peers do.
pub(crate) fn on_runtime<F>(task: F) -> Result<Measured>
where
    F: Future<Output = Result<Measured>> + Send + 'static,
{
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(runtime.spawn(task))?
}

/// A small pseudo-random generator (xorshift64).
pub(crate) struct Xorshift(u64);

impl Xorshift {
    pub(crate) fn seeded(number: usize) -> Self {
        Self((number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }
}
