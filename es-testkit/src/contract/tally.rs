use std::{fmt, sync::Arc};

use tokio::runtime;

use super::{Harness, Need, Promise, Site, UnderTest};

/// How many promises a port runs, refuses and skips.
///
/// ```
/// use es_testkit::contract::{Need, Tally};
///
/// let tally = Tally {
///     suite: "event store".into(),
///     adapter: "es-sqlite".into(),
///     run: 130,
///     refused: vec![],
///     skipped: vec![Need::Reopens],
/// };
/// assert_eq!(
///     tally.to_string(),
///     "contract es-sqlite, event store: 131 promises, 130 run, 1 skipped (reopens)",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Which suite.
    pub suite: String,
    /// Whose port.
    pub adapter: String,
    /// How many run in full.
    pub run: usize,
    /// Which needs are refused instead, one for each promise.
    pub refused: Vec<Need>,
    /// Which needs are skipped, one for each promise.
    pub skipped: Vec<Need>,
}

/// Counts the promises by what the port says that it can do; runs none.
///
/// # Panics
///
/// If the operating system refuses threads for a runtime.
pub fn tally<P: UnderTest + ?Sized>(
    suite: &str,
    adapter: &str,
    harness: impl Harness<P>,
    promises: &[Promise<P>],
) -> Tally {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("threads for a runtime").block_on(async {
        let site = Site::open(Arc::new(harness)).await;
        let lacking: Vec<Need> = promises
            .iter()
            .filter_map(|one| one.needs.iter().copied().find(|need| !site.can(*need)))
            .collect();
        site.leave().await;
        let (skipped, refused): (Vec<_>, Vec<_>) =
            lacking.iter().partition(|need| **need == Need::Reopens);
        let run = promises.len() - lacking.len();
        Tally { suite: suite.into(), adapter: adapter.into(), run, refused, skipped }
    })
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suite, adapter, run, refused, skipped } = self;
        let all = run + refused.len() + skipped.len();
        write!(f, "contract {adapter}, {suite}: {all} promises, {run} run")?;
        write_group(f, "refused", refused)?;
        write_group(f, "skipped", skipped)
    }
}

fn write_group(f: &mut fmt::Formatter<'_>, what: &str, needs: &[Need]) -> fmt::Result {
    if needs.is_empty() {
        return Ok(());
    }
    let mut reasons: Vec<_> = needs.iter().map(ToString::to_string).collect();
    reasons.sort_unstable();
    reasons.dedup();
    write!(f, ", {} {what} ({})", needs.len(), reasons.join(", "))
}
