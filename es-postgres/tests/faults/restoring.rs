//! A log that was restored from a copy, or by a server that has crashed.

use es_core::{
    Batch, BuildChange, Builds, Changes, Checkpoint, Checkpoints, EventStore, EventStoreExt,
    Lookup, Name, Part, Position, Read, Row, RowId, Rows, Slices, StoreErrorKind, Tenant, Views,
};
use es_postgres::PostgresStore;
use es_testkit::{fake, servers::PrivatePostgres};
use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};

use crate::private::{SOON, Watch, server};

fn part() -> Part {
    Part::new(Name::new("projection").expect("a name"), 1, Slices::ALL)
}

fn row(value: &str) -> Row {
    let value = Some(value.to_owned().into());
    Row { id: RowId::new(Tenant::default(), "one"), value }
}

async fn append(store: &PostgresStore, count: usize) -> Position {
    let batch = Batch::to(fake::stream("thing-1")).events(fake::events(count));
    store.append(batch).await.expect("an append").position
}

/// Projects a row, and moves the checkpoints of a projection and of a follower.
async fn project(store: &PostgresStore, value: &str, position: Position) {
    let (tx, seen) = store.begin(&part()).await.expect("a transaction");
    let next = Checkpoint { epoch: 1, position };
    let changes = Changes::rows([row(value)]);
    store.commit(&part(), tx, changes, seen, next).await.expect("a commit");
    let follower = Name::new("follower").expect("a name");
    let seen = Checkpoints::load(store, &follower).await.expect("a checkpoint");
    Checkpoints::save(store, &follower, seen, next).await.expect("a checkpoint");
}

async fn follow_one(store: &PostgresStore, after: Position) -> Position {
    let mut pages = store.follow(Read::all().after(after));
    let following = async {
        loop {
            let page = pages.try_next().await.expect("a page").expect("a further page");
            if let Some(event) = page.events.first() {
                return event.position;
            }
        }
    };
    tokio::time::timeout(SOON, following).await.expect("a follower that sees the event")
}

#[tokio::test]
async fn a_restored_copy_goes_on_where_the_old_one_was() {
    let Some(old) = server(&[]) else { return };
    let new = PrivatePostgres::start().expect("a second server");
    let store = PostgresStore::open(old.url()).await.expect("a store");
    let last = append(&store, 300).await;
    store.change(BuildChange::begin(part().model, 1)).await.expect("a build");
    project(&store, "old", last).await;
    store.close().await;
    new.restore_from(&old.dump().expect("a dump")).expect("a copy");

    let store = PostgresStore::open(new.url()).await.expect("a store");
    let copied = store.events(Read::all()).await.expect("a read");
    assert_eq!((copied.len(), copied[299].position), (300, last));
    let (_, seen) = store.begin(&part()).await.expect("a checkpoint");
    assert_eq!(seen.position, last);
    let next = append(&store, 1).await;
    assert!(next > last);
    assert_eq!(follow_one(&store, seen.position).await, next);
    project(&store, "new", next).await;
    let lookup = Lookup::new(part().model, Rows::These(vec![row("").id]));
    let found = store.rows(lookup).await.expect("rows");
    assert_eq!(found, [row("new")]);
}

#[tokio::test]
async fn a_store_whose_positions_were_set_back_says_how_to_go_on() {
    let Some(server) = server(&[]) else { return };
    let mut watch = Watch::over(&server).await;
    for schema in ["gesta", "it's \"odd\""] {
        let options = || es_postgres::PostgresOptions::new(server.url()).schema(schema);
        let store = options().open().await.expect("a store");
        let last = append(&store, 10).await;
        store.close().await;
        let quoted = schema.replace('"', "\"\"").replace('\'', "''");
        watch.number(&format!("SELECT setval('\"{quoted}\".positions', 3)")).await;

        let error = options().open().await.expect_err("a store that cannot go on");
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        let error = error.to_string();
        let advice = &error[error.find("SELECT setval").expect("an advice")..];
        watch.number(advice).await;
        let store = options().open().await.expect("a store that can go on");
        assert!(append(&store, 1).await > last);
    }
}

/// A position that was drawn and never committed may be drawn once more after a
/// crash, and no follower may have gone past it.
#[tokio::test]
async fn a_follower_never_goes_past_a_position_that_a_crash_takes_back() {
    // What is not committed stays in memory.
    let quiet = [("wal_writer_delay", "10s"), ("bgwriter_delay", "10s"), ("autovacuum", "off")];
    let Some(mut server) = server(&quiet) else { return };
    let mut watch = Watch::over(&server).await;
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let last = append(&store, 1).await;
    // The next position is written to the log of the server once more.
    watch.run("CHECKPOINT").await;
    let mut connection = PgConnection::connect(&server.url()).await.expect("a session");
    let mut tx = connection.begin().await.expect("a transaction");
    let regretted = Batch::to(fake::stream("thing-1")).events(fake::events(1));
    let regretted = store.append_in(&mut tx, regretted).await.expect("an append").position;
    tx.rollback().await.expect("a rollback");
    assert!(regretted > last);

    let mut through = Position::START;
    let mut pages = store.read(Read::all());
    while let Some(page) = pages.try_next().await.expect("a page") {
        through = page.through;
    }
    server.restart().expect("a server that starts again");
    let store = PostgresStore::open(server.url()).await.expect("a store");
    let next = append(&store, 1).await;
    assert!(next > through, "a follower was at {through}, and the next event is at {next}");
}
