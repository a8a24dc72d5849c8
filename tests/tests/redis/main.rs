//! Read models in a Redis that several programs keep.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod models;

use es_testkit::servers::{PrivateRedis, ServerError};

fn server() -> Option<PrivateRedis> {
    match PrivateRedis::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            tests::not_run(&format!("read models in Redis: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}
