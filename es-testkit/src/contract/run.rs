use std::{any::Any, panic, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{runtime, time};

use super::{Harness, Need, Promise, Site, UnderTest};

/// How long a promise may take before it counts as broken: a follower that
/// misses an event would wait for ever.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What became of a promise.
///
/// ```
/// use es_testkit::contract::{Need, Outcome};
///
/// assert!(!Outcome::Skipped(Need::Reopens).is_broken());
/// assert!(Outcome::Broken("two winners".into()).is_broken());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The port keeps it.
    Kept,
    /// The port lacks this, and says so as it should.
    Refused(Need),
    /// The port lacks this, and there is no way to ask.
    Skipped(Need),
    /// The port does not keep it, and this is how.
    Broken(String),
}

impl Outcome {
    /// Whether the promise was broken.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// Tries the promise of this name, and panics if it is broken: the body of the
/// tests that the contract macros write.
///
/// # Panics
///
/// If the promise is broken, or there is none of this name.
pub fn keep<P>(harness: impl Harness<P>, promises: &[Promise<P>], module: &str, name: &str)
where
    P: UnderTest + ?Sized,
{
    let named = |one: &&Promise<P>| (one.module, one.name) == (module, name);
    let promise = promises.iter().find(named).expect("a promise of this name");
    match attempt(Arc::new(harness), promise, PATIENCE) {
        Outcome::Broken(how) => panic!("{}: {how}", promise.sentence()),
        Outcome::Skipped(need) => println!("skipped: it needs {need}"),
        Outcome::Refused(_) | Outcome::Kept => {}
    }
}

/// Tries a promise on something fresh, and leaves nothing behind.
///
/// # Panics
///
/// If the operating system refuses threads for a runtime.
pub fn attempt<P>(harness: Arc<dyn Harness<P>>, promise: &Promise<P>, patience: Duration) -> Outcome
where
    P: UnderTest + ?Sized,
{
    let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("threads for a runtime");
    let outcome = runtime.block_on(async {
        let Ok(site) = time::timeout(PATIENCE, Site::open(harness)).await else {
            return Outcome::Broken(format!("it could not be opened within {PATIENCE:?}"));
        };
        let trial = AssertUnwindSafe(on(&site, promise)).catch_unwind();
        let outcome = match time::timeout(patience, trial).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panic)) => Outcome::Broken(words(&*panic)),
            Err(_) => Outcome::Broken(format!("it did not end within {patience:?}")),
        };
        let _ = time::timeout(PATIENCE, site.leave()).await;
        outcome
    });
    runtime.shutdown_background();
    outcome
}

async fn on<P: UnderTest + ?Sized>(site: &Site<P>, promise: &Promise<P>) -> Outcome {
    let lacking = promise.needs.iter().copied().find(|need| !site.can(*need));
    match lacking {
        None => {
            (promise.run)(site).await;
            Outcome::Kept
        }
        Some(need) if P::refuses(site, need).await => Outcome::Refused(need),
        Some(need) => Outcome::Skipped(need),
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// Runs all of them at once, each as a task, and returns what they return, in
/// their order.
pub(crate) async fn together<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set = tokio::task::JoinSet::new();
    for (at, task) in tasks.into_iter().enumerate() {
        set.spawn(async move { (at, task.await) });
    }
    let mut done = Vec::new();
    while let Some(ended) = set.join_next().await {
        done.push(ended.unwrap_or_else(|error| panic::resume_unwind(error.into_panic())));
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, value)| value).collect()
}
