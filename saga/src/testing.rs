//! Tests of definitions: in memory, with a clock that jumps to what is next due, and every
//! failure at every step.
//!
//! ```
//! use saga::{Definition, Path, Step, Work, testing::Matrix};
//!
//! fn trip() -> Definition<String> {
//!     let book = |name| Step::new(name, |_: Work<String>| async { Ok(()) })
//!         .compensate(|_| async { Ok(()) });
//!     let charge = Step::new("charge", |_: Work<String>| async { Ok(()) }).pivot();
//!     let path = Path::new().all([Path::of(book("hotel")), Path::of(book("car"))]).step(charge);
//!     Definition::new("trip", 1, path).expect("a graph that can be run")
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! // In a test with #[tokio::test(start_paused = true)]:
//! Matrix::of(trip, "Rome".to_owned()).run().await.assert_all_right();
//! # });
//! ```

mod matrix;
mod play;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use es_core::{Clock, World};
use futures_util::future::BoxFuture;

pub use matrix::{Case, Fault, Matrix, Report};

/// A world whose time is that of tokio: in a test that has paused it, the clock jumps to what
/// is next due as soon as nothing else is to be done.
///
/// ```
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
/// let world = saga::testing::world();
/// let began = world.now();
/// world.sleep(Duration::from_secs(3_600)).await;
/// assert_eq!((world.now() - began).num_hours(), 1);
/// # });
/// ```
pub fn world() -> World {
    World::real().with_clock(TokioClock { began: tokio::time::Instant::now() })
}

#[derive(Debug)]
struct TokioClock {
    began: tokio::time::Instant,
}

/// When the clock begins: 1 January 2030.
const START: DateTime<Utc> =
    DateTime::from_timestamp(1_893_456_000, 0).expect("a time that exists");

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        START + TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "this is a clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
