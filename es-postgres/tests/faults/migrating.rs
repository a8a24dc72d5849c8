use std::time::Duration;

use es_core::{
    Batch, BuildChange, Builds, CachePlace, Changes, Checkpoints, Claim, ContentType, EventStore,
    EventStoreExt, Group, Invalidation, Message, Name, Part, Position, Read, Row, RowId,
    SharedCache, Slices, Snapshot, Snapshots, StoreErrorKind, Taking, Tenant, Timer, TimerId,
    Timers, Version, Views, World,
};
use es_postgres::{PostgresOptions, PostgresStore};
use es_testkit::{TestClock, fake, servers::Proxy};
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use sqlx::{Connection, PgConnection};

use crate::private::{SOON, Watch, server};

async fn assert_serves(store: &PostgresStore) {
    let stream = fake::stream("thing-1");
    let event = fake::event("thing.seen").tag("colour", "red").correlated("a visit").build();
    let batch = Batch::to(stream.clone()).event(event).append_id(fake::append_id());
    let last = store.append(batch.clone()).await.expect("an append").position;
    assert!(store.append(batch).await.expect("the append again").repeated);
    let claim = Claim::take("seat", &last.to_string(), stream.clone()).expect("a claim");
    let several = Batch::to(stream.clone()).events(fake::events(3)).claim(claim);
    store.append(several).await.expect("an append");
    assert!(store.events(Read::stream(&stream)).await.expect("a read").len() >= 4);
    let mut pages = store.follow(Read::all());
    let page = tokio::time::timeout(SOON, pages.try_next()).await.expect("a follower that reads");
    assert!(!page.expect("a page").expect("a further page").events.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_that_open_a_new_schema_at_once_all_open_it() {
    let Some(server) = server(&[]) else { return };
    for schema in ["one", "two", "three"] {
        let open = || PostgresOptions::new(server.url()).schema(schema).open();
        for opened in join_all((0..16).map(|_| open())).await {
            let store = opened.expect("a store");
            store.close().await;
        }
        assert_serves(&open().await.expect("a store")).await;
    }
}

/// Makes tables of each version those of the one before, from this version on.
const OLDER: [&str; 3] = [
    "
    DROP TABLE gesta.inbox;
    DELETE FROM gesta.migrations WHERE version = 4;",
    "
    ALTER TABLE gesta.timers DROP CONSTRAINT timers_pkey, DROP COLUMN owner, DROP COLUMN wake,
        ADD PRIMARY KEY (tenant, name);
    CREATE INDEX timers_due ON gesta.timers (due, tenant, name);
    INSERT INTO gesta.timers (tenant, name, due, payload)
        VALUES ('default', 'egg', '2000-01-01', '') ON CONFLICT DO NOTHING;
    DELETE FROM gesta.migrations WHERE version = 3;",
    "
    DROP FUNCTION gesta.look_up, gesta.keep_answer, gesta.invalidate, gesta.stamp_of_tags,
        gesta.hashes_of_tags;
    DROP TABLE gesta.cache_tags, gesta.cached_answers, gesta.invalidations;
    DELETE FROM gesta.migrations WHERE version = 2;",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_versions_before_are_brought_up_by_sixteen_that_open_them_at_once() {
    let Some(server) = server(&[]) else { return };
    let options = || PostgresOptions::new(server.url());
    let store = options().open().await.expect("a store");
    assert_serves(&store).await;
    store.close().await;
    let mut watch = Watch::over(&server).await;
    for versions in 1..=OLDER.len() {
        for older in &OLDER[..versions] {
            watch.run(older).await;
        }
        let error = options().migrates(false).open().await.expect_err("tables that are too old");
        assert_eq!(error.kind(), StoreErrorKind::Schema);

        for opened in join_all((0..16).map(|_| options().open())).await {
            let store = opened.expect("a store");
            assert_cache_serves(&store).await;
            assert_inbox_serves(&store, &server.url()).await;
            store.close().await;
        }
        assert_serves(&options().migrates(false).open().await.expect("a store")).await;
        let migrations = watch.number("SELECT count(*) FROM gesta.migrations").await;
        assert_eq!(usize::try_from(migrations), Ok(OLDER.len() + 1));
    }
    let store = options().migrates(false).open().await.expect("a store");
    let now = TestClock::START;
    let kept = store.take_due(&Name::from_static("default"), now, now, 10).await.expect("timers");
    assert_eq!(kept[0].timer.id.name.as_str(), "egg");
}

/// The server ends the session of the migration after each of its statements.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_is_killed_half_way_can_be_run_again() {
    let Some(server) = server(&[("fsync", "off")]) else { return };
    let proxy = Proxy::postgres(([127, 0, 0, 1], server.port()).into()).expect("a port");
    let options = PostgresOptions::new(format!("postgres://postgres@{}/postgres", proxy.address()));
    let mut watch = Watch::over(&server).await;
    let mut killed = 0;
    while let Err(error) = {
        proxy.cut_after(killed + 1, |_| true);
        options.migrate().await
    } {
        assert!(error.is_transient(), "{:?}: {error}", error.kind());
        killed += 1;
        watch.settled(0).await;
    }
    assert!(killed > 20, "it was only killed {killed} times");
    proxy.cut_after(u64::MAX, |_| true);
    assert_serves(&options.migrates(false).open().await.expect("a store")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_may_bear_any_name_that_the_server_lets_it_bear() {
    let Some(server) = server(&[]) else { return };
    let long = "x".repeat(63);
    let names = [
        "it's",
        "a \"quoted\" one",
        "$$",
        "$gesta$",
        "{schema}",
        "{store}",
        "'{schema}.",
        "--",
        "; --",
        "größe 表 🦀",
        "a.b",
        "\\",
        "%s",
        "$1",
        " ",
        "new\nline",
        &long,
    ];
    for name in names {
        let options = || PostgresOptions::new(server.url()).schema(name);
        let store = options().open().await;
        let store = store.unwrap_or_else(|error| panic!("{name:?}: {error}"));
        assert_serves(&store).await;
        store.close().await;
        let store = options().migrates(false).open().await;
        store.unwrap_or_else(|error| panic!("{name:?} again: {error}")).close().await;
    }
    let names = server.psql("SELECT nspname FROM pg_namespace").expect("names");
    assert!(names.contains("größe 表 🦀"));

    for name in ["", "nul\0", &"x".repeat(64)] {
        let opened = PostgresOptions::new(server.url()).schema(name).open().await;
        let error = opened.expect_err("a name that is too long, or none");
        assert_eq!(error.kind(), StoreErrorKind::Invalid, "{name:?}: {error}");
    }
}

/// As [`PostgresOptions::migrates`] says.
pub(crate) const GRANTS: &str = "
    CREATE ROLE app LOGIN;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    REVOKE CREATE, TEMPORARY ON DATABASE postgres FROM PUBLIC;
    GRANT USAGE ON SCHEMA gesta TO app;
    GRANT SELECT ON gesta.migrations TO app;
    GRANT SELECT, USAGE ON SEQUENCE gesta.positions TO app;
    GRANT SELECT, INSERT ON gesta.events, gesta.event_tags,
        gesta.event_correlations, gesta.appends TO app;
    GRANT SELECT, INSERT, UPDATE ON gesta.streams, gesta.checkpoints,
        gesta.snapshots, gesta.epochs, gesta.inline_models TO app;
    GRANT SELECT, INSERT, DELETE ON gesta.claims, gesta.unfinished,
        gesta.invalidations TO app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON gesta.timers, gesta.view_rows,
        gesta.builds, gesta.parts, gesta.cache_tags, gesta.cached_answers,
        gesta.inbox TO app;";

#[tokio::test]
async fn a_role_that_may_create_nothing_opens_a_schema_that_is_there() {
    let Some(server) = server(&[]) else { return };
    let owner = PostgresOptions::new(server.url());
    owner.migrate().await.expect("tables");
    Watch::over(&server).await.run(GRANTS).await;
    let url = server.url().replace("postgres@", "app@");
    for migrates in [false, true] {
        let store = PostgresOptions::new(&url).migrates(migrates).open().await;
        let store = store.expect("a store");
        assert_serves(&store).await;
        assert_eq!(store.holder().await.expect("an answer"), None);
        assert_ports_serve(&store).await;
        assert_inbox_serves(&store, &url).await;
        store.close().await;
    }
    let elsewhere = PostgresOptions::new(&url).schema("elsewhere");
    let error = elsewhere.clone().open().await.expect_err("a schema that it may not make");
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    let error = elsewhere.migrates(false).open().await.expect_err("tables that are not there");
    assert_eq!(error.kind(), StoreErrorKind::Schema);
}

/// A right was missing; once it is there, nothing has to be opened anew.
#[tokio::test]
async fn followers_that_were_ended_can_begin_anew() {
    let Some(server) = server(&[]) else { return };
    PostgresOptions::new(server.url()).migrate().await.expect("tables");
    let mut watch = Watch::over(&server).await;
    watch.run(GRANTS).await;
    let url = server.url().replace("postgres@", "app@");
    let store = PostgresOptions::new(&url).migrates(false).open().await.expect("a store");
    watch.run("REVOKE EXECUTE ON FUNCTION gesta.horizon FROM PUBLIC").await;
    let mut pages = store.follow(Read::all());
    let error = pages.try_next().await.expect_err("a horizon that may not be asked for");
    assert_eq!(error.kind(), StoreErrorKind::Schema);
    drop(pages);

    watch.run("GRANT EXECUTE ON FUNCTION gesta.horizon TO app").await;
    assert_serves(&store).await;
    store.close().await;
}

async fn assert_ports_serve(store: &PostgresStore) {
    let name = Name::new("projection").expect("a name");
    let seen = Checkpoints::load(store, &name).await.expect("a checkpoint");
    Checkpoints::save(store, &name, seen, seen.taken_over()).await.expect("a save");
    assert_models_serve(store, &name).await;
    assert_cache_serves(store).await;
    let id = TimerId { tenant: Tenant::default(), owner: name.clone(), name: name.clone() };
    let (due, payload) = (TestClock::START, "1".into());
    store.set(Timer { id: id.clone(), due, payload }).await.expect("a timer");
    let taken = store.take_due(&name, due, due, 1).await.expect("timers");
    assert_eq!(store.next_due(&name).await.expect("a time"), Some(due));
    store.done(&taken[0]).await.expect("a timer");
    store.cancel(&id).await.expect("no timer");
    let stream = fake::stream("thing-1");
    for version in [1, 2] {
        let snapshot = Snapshot::new(Version::new(version), 7, ContentType::JSON, "1");
        Snapshots::save(store, &stream, snapshot).await.expect("a snapshot");
    }
    assert!(Snapshots::load(store, &stream).await.expect("an answer").is_some());
}

async fn assert_cache_serves(store: &PostgresStore) {
    let cache = store.cache().expect("a store of every tenant");
    let place = CachePlace::new("a", Duration::from_secs(300)).tag("t");
    let mut heard = cache.listen();
    for invalidation in [
        Invalidation::Everything,
        Invalidation::Tags { tags: place.tags.clone(), position: Position::new(2) },
    ] {
        // Of the first, each who begins to listen is told.
        cache.invalidate(&invalidation).await.expect("an invalidation");
        let stamp = cache.get(&place).await.expect("a look").stamp;
        cache.put(&place, &stamp, Position::new(1), "1".into()).await.expect("room");
        assert!(cache.get(&place).await.expect("a look").found.is_some());
        let told = tokio::time::timeout(SOON, heard.next()).await.expect("in time");
        assert_eq!(told, Some(invalidation));
    }
}

async fn assert_inbox_serves(store: &PostgresStore, url: &str) {
    let mut session = PgConnection::connect(url).await.expect("a server");
    let group = Group::new("mails").expect("a name");
    let kind = Name::from_static("mail.wanted");
    let id = World::real().event_id().to_string();
    let message = Message::new(id, kind, ContentType::JSON, "{}");
    for is_first in [true, false] {
        let mut tx = session.begin().await.expect("a transaction");
        let received = store.receive_in(&mut tx, &group, &message).await.expect("an answer");
        assert_eq!(received, is_first);
        tx.commit().await.expect("a commit");
    }
    store.forget_received(Duration::ZERO).await.expect("an answer");
}

/// Builds, divides, swaps and discards.
async fn assert_models_serve(store: &PostgresStore, owner: &Name) {
    // A build that answers stays, so that each time it is another model.
    let name = &Name::new(format!("model {}", World::real().random_u64())).expect("a name");
    let change = async |change| store.change(change).await.expect("a change");
    change(BuildChange::begin(name.clone(), 1)).await;
    let part = Part::new(name.clone(), 1, Slices::ALL);
    let lease = Duration::from_secs(60);
    let taken = store.take(&part, owner, lease, Taking::IfFree).await.expect("an answer");
    let held = [(part.clone(), taken.expect("a part").epoch)];
    assert_eq!(store.renew(owner, &held, lease).await.expect("a lease").len(), 1);
    let id = RowId::new(Tenant::default(), "one");
    for value in [Some("1".into()), None] {
        let (tx, seen) = store.begin(&part).await.expect("a transaction");
        let next = seen.at(Position::new(seen.position.get() + 1));
        let changes = Changes::rows([Row { id: id.clone(), value }]);
        store.commit(&part, tx, changes, seen, next).await.expect("a commit");
    }
    let (_, seen) = store.begin(&part).await.expect("a checkpoint");
    let from = vec![(Slices::ALL, seen)];
    change(BuildChange::divide(name.clone(), 1, from, Slices::split(2))).await;
    change(BuildChange::begin(name.clone(), 2).from(seen.position)).await;
    let (_, next) = store.begin(&Part { build: 2, ..part }).await.expect("a checkpoint");
    change(BuildChange::serve(name.clone(), 2, vec![(Slices::ALL, next)])).await;
    change(BuildChange::discard(name.clone(), 1)).await;
    let left = store.builds(std::slice::from_ref(name)).await.expect("builds");
    assert_eq!(left.iter().map(|build| build.number).collect::<Vec<_>>(), [2]);
}
