use std::{fmt, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Clock, World};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A clock that stands still until a test moves it; clones show the same time.
///
/// It starts at [`TestClock::START`]. [`advance`](Self::advance) wakes those
/// who sleep in the order in which they are due; while one is woken the clock
/// shows the time for which it asked.
///
/// ```
/// use std::time::Duration;
/// use es_core::World;
/// use es_testkit::TestClock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let clock = TestClock::new();
/// let world = World::real().with_clock(clock.clone());
/// let nap = world.sleep(Duration::from_secs(60));
/// clock.advance(Duration::from_secs(60));
/// nap.await;
/// assert_eq!(world.now(), TestClock::START + Duration::from_secs(60));
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct TestClock {
    state: Arc<Mutex<State>>,
}

struct State {
    now: DateTime<Utc>,
    sleepers: Vec<Sleeper>,
}

struct Sleeper {
    due: DateTime<Utc>,
    wake: oneshot::Sender<()>,
}

impl Default for State {
    fn default() -> Self {
        Self { now: TestClock::START, sleepers: Vec::new() }
    }
}

impl TestClock {
    /// The moment at which every test begins: 1 January 2030, midnight in
    /// Greenwich.
    pub const START: DateTime<Utc> =
        DateTime::from_timestamp(1_893_456_000, 0).expect("a time that exists");

    /// A clock that shows [`START`](Self::START).
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forwards and wakes whoever is due, the earliest first.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state.lock();
        let target = state.now + duration;
        while let Some(at) = state.next_due(target) {
            let sleeper = state.sleepers.remove(at);
            state.now = state.now.max(sleeper.due);
            let _ = sleeper.wake.send(());
        }
        state.now = target;
    }

    /// Sets the clock, backwards too, and wakes nobody.
    pub fn set(&self, now: DateTime<Utc>) {
        self.state.lock().now = now;
    }

    /// How many sleep; those who were dropped do not count.
    pub fn sleepers(&self) -> usize {
        let state = self.state.lock();
        state.sleepers.iter().filter(|sleeper| !sleeper.wake.is_closed()).count()
    }
}

impl State {
    fn next_due(&self, target: DateTime<Utc>) -> Option<usize> {
        let due = self.sleepers.iter().enumerate().filter(|(_, one)| one.due <= target);
        due.min_by_key(|(_, one)| one.due).map(|(at, _)| at)
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        self.state.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let (wake, woken) = oneshot::channel();
        let mut state = self.state.lock();
        if duration.is_zero() {
            let _ = wake.send(());
        } else {
            let due = state.now + duration;
            state.sleepers.push(Sleeper { due, wake });
        }
        Box::pin(async move {
            let _ = woken.await;
        })
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sleepers = self.sleepers.len();
        f.debug_struct("State").field("now", &self.now).field("sleepers", &sleepers).finish()
    }
}

/// The machine's clock, moved by as much as a test says. Sleeping takes real
/// time, so that a store which waits for something real goes on.
///
/// ```
/// use chrono::TimeDelta;
/// use es_core::{Clock, World};
/// use es_testkit::MovedClock;
///
/// let clock = MovedClock::new();
/// let before = clock.now();
/// clock.move_by(TimeDelta::days(1));
/// assert!(clock.now() - before >= TimeDelta::days(1));
/// ```
#[derive(Debug, Clone, Default)]
pub struct MovedClock {
    real: World,
    moved: Arc<Mutex<TimeDelta>>,
}

impl MovedClock {
    /// A clock that shows the machine's time.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves it further, backwards too.
    pub fn move_by(&self, delta: TimeDelta) {
        *self.moved.lock() += delta;
    }
}

impl Clock for MovedClock {
    fn now(&self) -> DateTime<Utc> {
        self.real.now() + *self.moved.lock()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.real.sleep(duration)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_in_which_they_are_due() {
        let clock = TestClock::new();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let nap = |seconds| {
            let (sleep, woken) = (clock.sleep(Duration::from_secs(seconds)), Arc::clone(&woken));
            async move {
                sleep.await;
                woken.lock().push(seconds);
            }
        };
        let naps = futures_util::future::join3(nap(3), nap(1), nap(2));
        let steps = async {
            for _ in 0..3 {
                clock.advance(Duration::from_secs(1));
                tokio::task::yield_now().await;
            }
        };
        futures_util::future::join(naps, steps).await;
        assert_eq!(*woken.lock(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn nobody_wakes_early() {
        let clock = TestClock::new();
        let mut nap = clock.sleep(Duration::from_secs(10));
        clock.advance(Duration::from_secs(9));
        assert!((&mut nap).now_or_never().is_none());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(Duration::from_secs(1));
        assert!((&mut nap).now_or_never().is_some());
    }

    #[test]
    fn a_sleeper_that_was_dropped_does_not_count() {
        let clock = TestClock::new();
        drop(clock.sleep(Duration::from_secs(1)));
        assert_eq!(clock.sleepers(), 0);
    }
}
