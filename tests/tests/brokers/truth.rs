//! What must have been heard of each bell, and what was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tests::brokers::Rung;

/// How what was heard differs from what was rung.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    rung: u64,
    pub(crate) lost: Vec<Rung>,
    /// What was heard more than once.
    pub(crate) doubled: Vec<Rung>,
    /// What was heard for the first time after a later one of its bell.
    pub(crate) turned: Vec<Rung>,
    /// How often a bell went back to what was heard before.
    pub(crate) rewound: u64,
}

/// Compares what was heard, that of each bell in its order, with so many rounds of so many
/// bells.
pub(crate) fn check(heard: &[Rung], bells: u64, rounds: u64) -> Verdict {
    let mut verdict = Verdict { rung: bells * rounds, ..Verdict::default() };
    let (mut seen, mut last) = (BTreeSet::new(), BTreeMap::new());
    for &rung in heard {
        let last = last.entry(rung.bell).or_insert((0, 0));
        let (before, highest) = *last;
        verdict.rewound += u64::from(rung.number <= before);
        if !seen.insert(rung) {
            verdict.doubled.push(rung);
        } else if rung.number < highest {
            verdict.turned.push(rung);
        }
        *last = (rung.number, highest.max(rung.number));
    }
    let every = (0..bells).flat_map(|bell| (1..=rounds).map(move |number| Rung { bell, number }));
    verdict.lost.extend(every.filter(|rung| !seen.contains(rung)));
    verdict
}

impl Verdict {
    pub(crate) fn is_sound(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.turned.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rung, lost, doubled, turned, rewound } = self;
        let some = |what: &[Rung]| {
            let some = what.iter().take(5).map(|Rung { bell, number }| format!("{bell}/{number}"));
            some.collect::<Vec<_>>().join(" ")
        };
        write!(
            f,
            "{rung} rung; {} lost [{}], {} doubled [{}] in {rewound} rewinds, {} out of order [{}]",
            lost.len(),
            some(lost),
            doubled.len(),
            some(doubled),
            turned.len(),
            some(turned),
        )
    }
}
