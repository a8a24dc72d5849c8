use es_redis_streams::RedisOptions;
use es_testkit::servers::{PrivateRedis, ServerError};

use crate::{Fate, assert_no_answer_is_older_than_its_token};

fn server() -> Option<PrivateRedis> {
    match PrivateRedis::start() {
        Err(error @ ServerError::Unsupported(_)) => {
            tests::not_run(&format!("processes that share a Redis: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_its_token_while_redis_dies_and_comes_back() {
    let Some(mut redis) = server() else { return };
    let caches = [(); 2].map(|()| RedisOptions::new(redis.url()).cache().unwrap());
    assert_no_answer_is_older_than_its_token(caches, |fate| match fate {
        Fate::Dies => redis.kill().unwrap(),
        Fate::ComesBack => redis.restart().unwrap(),
    })
    .await;
}
