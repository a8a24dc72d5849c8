//! What must be true of orders, however often those were killed who went on with them.

use std::fmt;

use es_core::{EventStore, EventStoreExt, Timers};
use saga::{Phase, Sagas};
use tests::sagas::{Order, STEPS, effects, id_of};

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) completed: usize,
    pub(crate) compensated: usize,
    /// Orders that were begun, and are not there.
    pub(crate) lost: Vec<u64>,
    /// Orders that have not ended, or not as they must.
    pub(crate) open: Vec<String>,
    /// Effects that are not there once.
    pub(crate) doubled: Vec<String>,
    /// Steps undone before those that follow them.
    pub(crate) turned: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_sound(&self) -> bool {
        self.lost.len() + self.open.len() + self.doubled.len() + self.turned.len() == 0
    }

    fn look(&mut self, number: u64, phase: Phase, effects: &[String]) {
        let refused = Order::new(number).is_refused();
        let count = |line: &str| effects.iter().filter(|effect| *effect == line).count();
        let at = |line: &str| effects.iter().position(|effect| effect == line);
        let told = || format!("{number}: {phase}, {effects:?}");
        match (phase, refused) {
            (Phase::Completed, false) => self.completed += 1,
            (Phase::Compensated, true) => self.compensated += 1,
            _ => return self.open.push(told()),
        }
        let done = if refused { &STEPS[..3] } else { &STEPS[..] };
        let undone = done.iter().filter(|_| refused).map(|step| format!("-{step}"));
        let expected: Vec<_> = done.iter().map(ToString::to_string).chain(undone).collect();
        if expected.iter().any(|line| count(line) != 1) || effects.len() != expected.len() {
            self.doubled.push(told());
        }
        if refused && (at("-reserve") < at("-pack") || at("-reserve") < at("-label")) {
            self.turned.push(told());
        }
    }
}

pub(crate) async fn check<S: EventStore + Timers>(
    store: &S,
    sagas: &Sagas,
    begun: &[u64],
    last: u64,
) -> Verdict {
    let mut verdict = Verdict::default();
    for number in 0..last {
        let id = id_of(number);
        let is_there = store.version(id.stream()).await.unwrap() > es_core::Version::NONE;
        if !is_there {
            if begun.binary_search(&number).is_ok() {
                verdict.lost.push(number);
            }
            continue;
        }
        let phase = sagas.state(&id).await.unwrap().phase;
        verdict.look(number, phase, &effects(store, number).await.unwrap());
    }
    verdict
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { completed, compensated, lost, open, doubled, turned } = self;
        writeln!(f, "{completed} completed, {compensated} compensated, {} lost", lost.len())?;
        for (what, lines) in [("open", open), ("effects not once", doubled), ("order", turned)] {
            writeln!(f, "{what}: {}", lines.len())?;
            lines.iter().take(5).try_for_each(|line| writeln!(f, "    {line}"))?;
        }
        Ok(())
    }
}
