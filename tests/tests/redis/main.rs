//! Programs that share a Redis: answers that they remember, and read models.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod answers;
mod models;

use es_testkit::servers::{PrivateRedis, ServerError};

fn server() -> Option<PrivateRedis> {
    match PrivateRedis::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            tests::not_run(&format!("programs that share a Redis: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}
