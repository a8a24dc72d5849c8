//! A line on standard error that shows progress, rate and time left.

use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::import::now;

#[derive(Debug)]
pub(crate) struct Line {
    what: &'static str,
    unit: &'static str,
    total: u64,
    from: u64,
    started: Instant,
    shown: Instant,
    every: Duration,
}

impl Line {
    pub(crate) fn new(what: &'static str, unit: &'static str, total: u64, from: u64) -> Self {
        let millis = if std::io::stderr().is_terminal() { 200 } else { 2_000 };
        let every = Duration::from_millis(millis);
        Self { what, unit, total, from, started: now(), shown: now(), every }
    }

    pub(crate) fn tick(&mut self, done: u64) {
        if done.is_multiple_of(64) && self.shown.elapsed() >= self.every {
            self.shown = now();
            self.show(done, if std::io::stderr().is_terminal() { "\r" } else { "\n" });
        }
    }

    pub(crate) fn finish(&self, done: u64) {
        self.show(done, "\n");
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is for people"
    )]
    fn show(&self, done: u64, end: &str) {
        let elapsed = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = (done - self.from) as f64 / elapsed;
        let left = self.total.saturating_sub(done) as f64 / rate.max(1.0);
        let percent = done * 100 / self.total.max(1);
        let (what, unit, total) = (self.what, self.unit, self.total);
        let line = format!(
            "{what}: {done} of {total} {unit} ({percent}%), {} {unit}/s, {left:.0} s left",
            rate as u64
        );
        let _ = write!(std::io::stderr(), "{line:<78}{end}");
    }
}
