use es_postgres::PostgresOptions;
use es_testkit::servers::{PrivatePostgres, ServerError};

use crate::{Fate, assert_no_answer_is_older_than_its_token};

fn server() -> Option<PrivatePostgres> {
    match PrivatePostgres::start() {
        Err(error @ ServerError::Missing) => {
            tests::not_run(&format!("processes that share a cache in Postgres: {error}"));
            None
        }
        started => Some(started.unwrap()),
    }
}

/// It comes back with empty tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_older_than_its_token_while_postgres_dies_and_comes_back() {
    no_answer_is_older(|options| options).await;
}

/// As behind a pooler, where nobody is woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_any_where_processes_have_to_look_for_what_the_others_tell() {
    no_answer_is_older(PostgresOptions::behind_pooler).await;
}

async fn no_answer_is_older(set: fn(PostgresOptions) -> PostgresOptions) {
    let Some(mut postgres) = server() else { return };
    let open = || set(PostgresOptions::new(postgres.url())).open();
    let stores = [open().await.unwrap(), open().await.unwrap()];
    let caches = stores.each_ref().map(|store| store.cache().unwrap());
    assert_no_answer_is_older_than_its_token(caches, |fate| match fate {
        Fate::Dies => postgres.kill().unwrap(),
        Fate::ComesBack => postgres.restart().unwrap(),
    })
    .await;
    for store in stores {
        store.close().await;
    }
}
