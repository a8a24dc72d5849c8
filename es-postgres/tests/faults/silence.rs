//! A server, or a network, that says nothing at all.

use std::{pin::pin, time::Duration};

use es_core::{
    AppendError, Appended, Batch, BuildChange, Builds, CachePlace, CacheStamp, Changes, Checkpoint,
    Checkpoints, ContentType, EventStore, EventStoreExt, Invalidation, Lookup, Name, Part,
    Position, Read, Rows, SharedCache, Slices, Snapshot, Snapshots, StoreError, StoreErrorKind,
    TakenTimer, Taking, Tenant, Timer, TimerId, Timers, Version, Views,
};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{TestClock, fake, servers::Proxy};
use futures_util::{
    FutureExt, TryStreamExt,
    future::{BoxFuture, join_all, try_join_all},
    poll,
};

use crate::{
    load::kind,
    private::{SOON, server},
};

/// So long a slow machine answers, too.
const PATIENCE: Duration = Duration::from_secs(2);
/// Less than the patience that a store has if nothing is said.
const LIMIT: Duration = Duration::from_secs(25);

async fn open(url: &str) -> PostgresStore {
    let options = PostgresOptions::new(url).patience(PATIENCE).readers(32);
    options.open().await.expect("a store")
}

fn name() -> Name {
    Name::new("projection").expect("a name")
}

fn part() -> Part {
    Part::new(name(), 1, Slices::ALL)
}

fn place() -> CachePlace {
    CachePlace::new("a", Duration::from_secs(300)).tag("t")
}

type Call = BoxFuture<'static, Result<(), StoreError>>;

/// Every call but an append.
fn calls(store: &PostgresStore, url: &str) -> Vec<(&'static str, Call)> {
    let stream = fake::stream("thing-1");
    let checkpoint = Checkpoint { epoch: 1, position: Position::START };
    let (tenant, due) = (Tenant::default(), TestClock::START);
    let id = TimerId { tenant, owner: name(), name: name() };
    let timer = Timer { id: id.clone(), due, payload: "1".into() };
    let taken = TakenTimer { timer: timer.clone(), until: due };
    let snapshot = Snapshot::new(Version::new(1), 7, ContentType::JSON, "1");
    let options = PostgresOptions::new(url).patience(PATIENCE);
    macro_rules! call {
        ($store:ident => $call:expr) => {{
            let $store = store.clone();
            async move { $call.await.map(drop) }.boxed()
        }};
    }
    let (one, other) = (stream.clone(), stream.clone());
    let (looked, kept) = (place(), place());
    let stamp = CacheStamp::new("1");
    let (migrating, opening) = (options.clone(), options);
    let every = Lookup::new(name(), Rows::Every { after: None, limit: 10 });
    let (of, lease, held) = ([name()], Duration::from_secs(1), [(part(), 1)]);
    vec![
        ("read", call!(store => store.events(Read::all()))),
        ("read of a stream", call!(store => store.events(Read::stream(&stream)))),
        ("holder", call!(store => store.holder())),
        ("load of a checkpoint", call!(store => Checkpoints::load(&store, &name()))),
        (
            "save of a checkpoint",
            call!(store => Checkpoints::save(&store, &name(), Checkpoint::default(), checkpoint)),
        ),
        ("load of a snapshot", call!(store => Snapshots::load(&store, &one))),
        ("save of a snapshot", call!(store => Snapshots::save(&store, &other, snapshot))),
        ("set of a timer", call!(store => store.set(timer))),
        ("take of timers", call!(store => store.take_due(&name(), due, due, 10))),
        ("end of a timer", call!(store => store.done(&taken))),
        ("next timer", call!(store => store.next_due(&name()))),
        ("cancel of a timer", call!(store => store.cancel(&id))),
        ("get of an answer", call!(store => store.cache()?.get(&looked))),
        (
            "put of an answer",
            call!(store => store.cache()?.put(&kept, &stamp, Position::START, "".into())),
        ),
        ("invalidation", call!(store => store.cache()?.invalidate(&Invalidation::Everything))),
        ("begin", call!(store => store.begin(&part()))),
        ("rows", call!(store => store.rows(every))),
        ("builds", call!(store => store.builds(&of))),
        ("begin of a build", call!(store => store.change(BuildChange::begin(name(), 2)))),
        ("discard of a build", call!(store => store.change(BuildChange::discard(name(), 1)))),
        ("take", call!(store => store.take(&part(), &name(), lease, Taking::Anyway))),
        ("renew", call!(store => store.renew(&name(), &held, lease))),
        ("open", opening.open().map(|opened| opened.map(drop)).boxed()),
        ("migrate", async move { migrating.migrate().await }.boxed()),
    ]
}

/// Fails in time, as something that can be tried again.
async fn assert_fails(name: &str, call: impl Future<Output = Result<(), StoreError>>) {
    let outcome = tokio::time::timeout(LIMIT, call).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{name} waits for ever"));
    let error = outcome.expect_err("a call without an answer");
    assert!(error.is_transient(), "{name}: {:?}: {error}", error.kind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_gives_up_on_a_server_that_stands_still() {
    let Some(server) = server(&[]) else { return };
    let store = open(&server.url()).await;
    let stream = fake::stream("thing-1");
    let batch = || Batch::to(stream.clone()).events(fake::events(1));
    let (known, late) =
        (batch().append_id(fake::append_id()), batch().append_id(fake::append_id()));
    store.append(known.clone()).await.expect("an append");
    store.change(BuildChange::begin(name(), 1)).await.expect("a build");
    // One whose transaction is open already, one that will open it then, and one that
    // needs none.
    let checkpoint = Checkpoint { epoch: 1, position: Position::START };
    let mut txs = Vec::new();
    for (is_open, has_steps) in [(true, false), (false, true), (false, false)] {
        let (mut tx, seen) = store.begin(&part()).await.expect("a transaction");
        if is_open {
            tx.connection().await.expect("a connection");
        }
        if has_steps {
            tx.run(sqlx::query("SELECT 1"));
        }
        txs.push((tx, seen));
    }
    // A connection for each that asks at once.
    let reads = (0..32).map(|_| store.events(Read::stream(&stream)));
    try_join_all(reads).await.expect("reads");

    server.pause().expect("a server that stands still");
    let appends = [&known, &late].map(async |batch| {
        let append = tokio::time::timeout(LIMIT, store.append(batch.clone()));
        let found = kind(append.await.expect("an append that gives up"));
        let kinds = [StoreErrorKind::Unknown, StoreErrorKind::Unavailable];
        assert!(kinds.contains(&found), "{found:?}");
    });
    let commits = txs.into_iter().map(async |(tx, seen)| {
        let part = part();
        let commit = store.commit(&part, tx, Changes::default(), seen, checkpoint);
        assert_fails("commit", commit).await;
    });
    let calls = calls(&store, &server.url()).into_iter();
    let calls = calls.map(|(name, call)| assert_fails(name, call));
    tokio::join!(join_all(appends), join_all(commits), join_all(calls));

    server.resume().expect("a server that goes on");
    assert!(store.append(known).await.expect("an append").repeated);
    store.append(late).await.expect("an append");
    assert_eq!(store.events(Read::stream(&stream)).await.expect("a read").len(), 2);
    store.close().await;
}

/// A store that gives up soon, which a busy machine may be too slow for.
async fn opened(url: &str) -> PostgresStore {
    let opened = async {
        loop {
            match PostgresOptions::new(url).patience(PATIENCE).open().await {
                Ok(store) => return store,
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    };
    tokio::time::timeout(SOON, opened).await.expect("a store")
}

/// Appends what has an append id until it is there.
async fn appended(store: &PostgresStore, batch: Batch) -> Appended {
    let appended = async {
        loop {
            match store.append(batch.clone()).await {
                Ok(appended) => return appended,
                Err(AppendError::Store(error)) => assert!(error.is_transient(), "{error}"),
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(SOON, appended).await.expect("an append")
}

/// The server is well, but an old connection is dumb for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_and_appends_get_over_connections_that_went_dumb() {
    let Some(server) = server(&[]) else { return };
    let proxy = Proxy::postgres(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let store = opened(&format!("postgres://postgres@{}/postgres", proxy.address())).await;
    let stream = fake::stream("thing-1");
    let batch = Batch::to(stream.clone()).events(fake::events(1)).append_id(fake::append_id());
    let first = appended(&store, batch).await.position;
    let mut pages = store.follow(Read::all().after(first));
    let mut follower = pin!(async {
        loop {
            match pages.try_next().await {
                Ok(page) => {
                    if let Some(event) = page.expect("a further page").events.last() {
                        return event.position;
                    }
                }
                // It wanted to read over one that is dumb too.
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    pages = store.follow(Read::all().after(first));
                }
            }
        }
    });
    // It waits.
    assert!(poll!(&mut follower).is_pending());

    proxy.swallow();
    kind(store.append(Batch::to(stream.clone()).events(fake::events(1))).await);
    proxy.pass();
    let batch = Batch::to(stream).events(fake::events(1)).append_id(fake::append_id());
    // Each of the old connections has to be found out.
    let last = appended(&store, batch).await;
    let seen = tokio::time::timeout(SOON, follower).await.expect("a follower that is woken");
    assert_eq!(seen, last.position);
}
