//! Row level security between tenants.

use std::time::Duration;

use es_core::{
    AppendError, AppendId, Batch, BuildChange, Builds, CachePlace, Changes, Checkpoints, Claim,
    ContentType, Criteria, EventStore, EventStoreExt, Expected, Group, Invalidation, Lag, Lookup,
    Message, Name, Part, Position, Read, Row, RowId, Rows, SharedCache, Slices, Snapshot,
    Snapshots, StoreError, StoreErrorKind, Taking, Timer, TimerId, Timers, Version, Views, Write,
};
use es_postgres::PostgresStore;
use es_testkit::{TestClock, fake};
use futures_util::{StreamExt, TryStreamExt, future::join_all};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    scene::in_time,
    walled::{GRANTS, behind_a_wall, stream, tenant},
};

const OWNER: Name = Name::from_static("alarm");

/// Of them a session of one tenant sees nothing.
const WITHOUT: [&str; 7] = [
    "checkpoints",
    "parts",
    "epochs",
    "unfinished",
    "cache_tags",
    "cached_answers",
    "invalidations",
];

const TABLES: [&str; 10] = [
    "streams",
    "events",
    "event_tags",
    "event_correlations",
    "appends",
    "claims",
    "snapshots",
    "timers",
    "view_rows",
    "inbox",
];

fn to(name: &str, of: &str) -> Batch {
    let event = fake::event("thing.happened").tag("colour", "red").correlated("order-7");
    Batch::to(stream(name, of)).event(event.build())
}

/// Something in each table.
async fn fill(store: &PostgresStore, of: &str) {
    let claim = Claim::take("name", "ada", stream("a-1", of)).expect("a claim");
    let batch = to("a-1", of).claim(claim).append_id(AppendId::derive("once"));
    store.append(batch).await.expect("an append");
    let snapshot = Snapshot::new(Version::new(1), 7, ContentType::JSON, "1");
    Snapshots::save(store, &stream("a-1", of), snapshot).await.expect("a snapshot");
    store.set(timer(of)).await.expect("a timer");
}

fn timer(of: &str) -> Timer {
    let id = TimerId { tenant: tenant(of), owner: OWNER, name: Name::from_static("wake") };
    Timer { id, due: TestClock::START, payload: "1".into() }
}

async fn due(store: &PostgresStore) -> Vec<Timer> {
    let now = TestClock::START;
    let taken = store.take_due(&OWNER, now, now, 10).await.expect("timers");
    taken.into_iter().map(|taken| taken.timer).collect()
}

fn model() -> Name {
    Name::from_static("model")
}

fn part() -> Part {
    Part::new(model(), 1, Slices::ALL)
}

async fn fill_view(store: &PostgresStore, tenants: &[&str]) {
    let rows = tenants
        .iter()
        .map(|of| Row { id: RowId::new(tenant(of), "one"), value: Some((*of).to_owned().into()) });
    store.change(BuildChange::begin(model(), 1)).await.expect("a build");
    let (tx, seen) = store.begin(&part()).await.expect("a transaction");
    let next = seen.at(Position::new(1));
    store.commit(&part(), tx, Changes::rows(rows), seen, next).await.expect("a commit");
}

/// Receives the one message of this tenant, in a transaction that says whose it is.
async fn receive(store: &PostgresStore, url: &str, of: &str) -> Result<bool, StoreError> {
    let mut session = PgConnection::connect(url).await.expect("a server");
    let mut tx = session.begin().await.expect("a transaction");
    let set = format!("SET LOCAL gesta.tenant = '{of}'");
    tx.execute(set.as_str()).await.expect("a setting");
    let received = store.receive_in(&mut tx, &group(), &message(of)).await;
    tx.commit().await.expect("a commit");
    received
}

fn group() -> Group {
    Group::new("mails").expect("a name")
}

fn message(of: &str) -> Message {
    let kind = Name::from_static("mail.wanted");
    Message::new("1", kind, ContentType::JSON, "{}").of(tenant(of))
}

async fn fill_cache(store: &PostgresStore) {
    let cache = store.cache().expect("a store of every tenant");
    let place = CachePlace::new("a", Duration::from_secs(300)).tag("t");
    cache.invalidate(&Invalidation::Everything).await.expect("an invalidation");
    let stamp = cache.get(&place).await.expect("a look").stamp;
    cache.put(&place, &stamp, Position::new(1), "1".into()).await.expect("room");
    assert!(cache.get(&place).await.expect("a look").found.is_some());
}

#[tokio::test]
async fn a_store_of_one_tenant_appends_in_every_way() {
    behind_a_wall("appends", async |walled| {
        let store = walled.of("acme").await;
        // One alone, and again; many at once; what asks for more.
        let once = || to("a-1", "acme").append_id(AppendId::derive("once"));
        let first = store.append(once()).await.expect("an append");
        assert!(!first.repeated && store.append(once()).await.expect("an append").repeated);
        let plain = || Batch::to(stream("a-1", "acme")).event(fake::event("thing.plain").build());
        store.append(plain()).await.expect("an append");
        let many = (0..40).map(|n| store.append(to(&format!("b-{n}"), "acme")));
        assert!(join_all(many).await.iter().all(Result::is_ok));
        let two =
            to("c-1", "acme").write(Write::new(stream("c-2", "acme")).events(fake::events(2)));
        store.append(two).await.expect("an append");
        let claim = |of: &str| Claim::take("name", "ada", stream(of, "acme")).expect("a claim");
        store.append(to("d-1", "acme").claim(claim("d-1"))).await.expect("an append");
        let taken = store.append(to("d-2", "acme").claim(claim("d-2"))).await;
        assert!(matches!(taken, Err(AppendError::Claimed { .. })), "{taken:?}");
        let late = store.append(to("a-1", "acme").expect(Expected::Exact(Version::new(1)))).await;
        assert!(matches!(&late, Err(AppendError::Conflict(one)) if one.unseen.len() == 1));
        let red = Criteria::tag(fake::tag("colour", "red"));
        let unless = store.append(to("e-1", "acme").unless(red.clone(), first.position)).await;
        assert!(matches!(unless, Err(AppendError::Overtaken { .. })), "{unless:?}");

        let head = store.events(Read::all().of(tenant("acme")).backwards().limit(1)).await;
        let head = head.expect("a read")[0].position;
        let free = store.append(to("e-1", "acme").unless(red, head)).await;
        free.expect("an append that nothing is against");
        store.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_store_of_one_tenant_reads_and_follows_what_is_its_own() {
    behind_a_wall("reads", async |walled| {
        let (acme, all) = (walled.of("acme").await, walled.of_all().await);
        let beta = walled.of("beta").await;
        for store in [&acme, &beta] {
            let of = if std::ptr::eq(store, &acme) { "acme" } else { "beta" };
            fill(store, of).await;
            store.append(to("a-2", of)).await.expect("an append");
        }
        fill_view(&all, &["acme", "beta"]).await;

        let id = AppendId::derive("once");
        let reads = [
            (Read::all(), 2),
            (Read::category("a").expect("a category"), 2),
            (Read::stream(&stream("a-1", "acme")), 1),
            (Read::all().types([Name::from_static("thing.happened")]), 2),
            (Read::all().tag(fake::tag("colour", "red")), 2),
            (Read::all().correlated("order-7"), 2),
            (Read::matching(Criteria::tag(fake::tag("colour", "red"))), 2),
            (Read::append(id), 1),
            (Read::all().backwards().limit(1), 1),
        ];
        for (read, count) in reads {
            let found = acme.events(read.clone().of(tenant("acme"))).await.expect("a read");
            assert_eq!(found.len(), count, "{read:?}");
            assert!(found.iter().all(|event| *event.stream.tenant() == tenant("acme")));
        }
        let followed = acme.tail(Read::all().of(tenant("acme"))).take(2).try_collect::<Vec<_>>();
        let followed = in_time("a follower", followed).await.expect("events");
        assert!(followed.iter().all(|event| *event.stream.tenant() == tenant("acme")));
        let read = Read::all().of(tenant("acme"));
        let lag = acme.lag(read.clone(), TestClock::START).await.expect("a lag");
        assert_eq!(lag.events, 2);
        let seen = acme.lag(read.after(followed[1].position), TestClock::START).await;
        assert_eq!(seen.expect("a lag"), Lag::default());

        assert!(Snapshots::load(&acme, &stream("a-1", "acme")).await.expect("an answer").is_some());
        assert_eq!(due(&acme).await, [timer("acme")]);
        let page = Rows::Of { tenant: tenant("acme"), after: None, limit: 10 };
        assert_eq!(acme.rows(Lookup::new(model(), page)).await.expect("rows").len(), 1);
        assert_eq!(due(&all).await.len(), 2);
        assert_eq!(all.events(Read::all().every_tenant()).await.expect("a read").len(), 4);
        for store in [acme, beta, all] {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_another_tenant_is_asked_for_is_refused_before_it_is_sent() {
    behind_a_wall("refused", async |walled| {
        let store = walled.of("acme").await;
        let invalid =
            |error: StoreError| assert_eq!(error.kind(), StoreErrorKind::Invalid, "{error}");
        match store.append(to("a-1", "beta")).await {
            Err(AppendError::Store(error)) => invalid(error),
            other => panic!("{other:?}"),
        }
        for read in [Read::all(), Read::all().every_tenant(), Read::stream(&stream("a-1", "beta"))]
        {
            invalid(store.events(read.clone()).await.expect_err("a refusal"));
            invalid(store.follow(read).try_next().await.expect_err("a refusal"));
        }
        invalid(store.head().await.expect_err("a refusal"));
        let theirs = stream("a-1", "beta");
        let snapshot = Snapshot::new(Version::new(1), 7, ContentType::JSON, "1");
        invalid(Snapshots::load(&store, &theirs).await.expect_err("a refusal"));
        invalid(Snapshots::save(&store, &theirs, snapshot).await.expect_err("a refusal"));
        invalid(store.set(timer("beta")).await.expect_err("a refusal"));
        invalid(store.cancel(&timer("beta").id).await.expect_err("a refusal"));
        invalid(Checkpoints::load(&store, &model()).await.expect_err("a refusal"));
        refuses_models(&store).await.into_iter().for_each(invalid);
        // Whose an answer is stands in no column.
        invalid(store.cache().expect_err("a refusal"));
        store.close().await;
    })
    .await;
}

/// What it says of read models: of those who keep them, and of others' rows.
async fn refuses_models(store: &PostgresStore) -> Vec<StoreError> {
    let (of, owner, lease) = ([model()], model(), Duration::from_secs(60));
    let both = ["acme", "beta"].map(|of| RowId::new(tenant(of), "1"));
    let rows = [
        Rows::These(both.to_vec()),
        Rows::Of { tenant: tenant("beta"), after: None, limit: 10 },
        Rows::Every { after: None, limit: 10 },
    ];
    let mut refused = vec![
        store.begin(&part()).await.expect_err("a refusal"),
        store.builds(&of).await.expect_err("a refusal"),
        store.change(BuildChange::begin(model(), 1)).await.expect_err("a refusal"),
        store.take(&part(), &owner, lease, Taking::Anyway).await.expect_err("a refusal"),
        store.renew(&owner, &[(part(), 0)], lease).await.expect_err("a refusal"),
    ];
    for rows in rows {
        refused.push(store.rows(Lookup::new(model(), rows)).await.expect_err("a refusal"));
    }
    refused
}

/// The second wall: a store that checks nothing, and bare SQL.
#[tokio::test]
async fn without_our_check_the_server_shows_nothing_and_refuses_the_write() {
    behind_a_wall("server", async |walled| {
        let all = walled.of_all().await;
        fill(&all, "acme").await;
        fill(&all, "beta").await;
        fill_view(&all, &["acme", "beta"]).await;
        for of in ["acme", "beta"] {
            assert!(receive(&all, &walled.url(&walled.worker), of).await.expect("an answer"));
        }
        for table in TABLES {
            assert!(walled.count(&walled.worker, "", table).await >= 2, "{table}");
            assert!(walled.count(&walled.app, "acme", table).await >= 1, "{table}");
            assert_eq!(walled.count(&walled.app, "", table).await, 0, "{table}");
            assert_eq!(walled.count(&walled.app, "gamma", table).await, 0, "{table}");
            let theirs = format!("SELECT 1 FROM {{schema}}.{table} WHERE tenant <> 'acme'");
            assert!(walled.ask(&walled.app, "acme", &theirs).await.expect("rows").is_empty());
        }
        fill_cache(&all).await;
        for table in WITHOUT {
            assert_eq!(walled.count(&walled.app, "acme", table).await, 0);
        }
        for table in &WITHOUT[4..] {
            assert!(walled.count(&walled.worker, "", table).await > 0, "{table}");
        }

        let unchecked = walled.unchecked("acme").await;
        let seen = unchecked.events(Read::all().every_tenant()).await.expect("a read");
        assert!(seen.len() == 1 && *seen[0].stream.tenant() == tenant("acme"), "{seen:?}");
        assert!(
            unchecked
                .events(Read::stream(&stream("a-1", "beta")))
                .await
                .expect("a read")
                .is_empty()
        );
        let claim = Claim::take("name", "bea", stream("z-1", "beta")).expect("a claim");
        let plain = Batch::to(stream("z-1", "beta")).event(fake::event("thing.plain").build());
        for batch in [plain.clone(), to("z-1", "beta"), plain.claim(claim)] {
            match unchecked.append(batch).await {
                Err(AppendError::Store(error)) => assert_eq!(error.kind(), StoreErrorKind::Schema),
                other => panic!("{other:?}"),
            }
        }
        unchecked.set(timer("beta")).await.expect_err("a timer of another tenant");
        unchecked.cancel(&timer("beta").id).await.expect("nothing to cancel");
        assert_eq!(due(&all).await.len(), 2);
        assert!(all.events(Read::stream(&stream("z-1", "beta"))).await.expect("a read").is_empty());
        for store in [unchecked, all] {
            store.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_tenant_of_any_name_has_its_wall() {
    behind_a_wall("names", async |walled| {
        for name in ["default", "a b", "back\\slash", "it's", "-c x=y", "größe 🦀", " ", "\"q\""]
        {
            let store = walled.of(name).await;
            fill(&store, name).await;
            let found = store.events(Read::all().of(tenant(name))).await.expect("a read");
            assert_eq!(found.len(), 1, "{name:?}");
            assert_eq!(
                store.tail(Read::all().of(tenant(name))).try_next().await.expect("one"),
                found.first().cloned()
            );
            store.close().await;
        }
    })
    .await;
}

/// In a transaction of the caller it is the caller's session that names a tenant.
#[tokio::test]
async fn a_transaction_of_the_callers_own_names_its_tenant_itself() {
    behind_a_wall("transaction", async |walled| {
        let store = walled.of("acme").await;
        let mut session = PgConnection::connect(&walled.url(&walled.app)).await.expect("a server");
        for (set, goes_through) in [("SELECT 1", false), ("SET LOCAL gesta.tenant = 'acme'", true)]
        {
            session.execute("BEGIN").await.expect("a transaction");
            session.execute(set).await.expect("a setting");
            let appended = store.append_in(&mut session, to("a-1", "acme")).await;
            assert_eq!(appended.is_ok(), goes_through, "{appended:?}");
            session.execute("ROLLBACK").await.expect("a rollback");
        }
        store.append_in(&mut session, to("a-1", "beta")).await.expect_err("another tenant");
        store.close().await;
    })
    .await;
}

/// Of two tenants whose messages have one id, each has an inbox of its own.
#[tokio::test]
async fn a_store_of_one_tenant_receives_and_forgets_what_is_its_own() {
    behind_a_wall("inbox", async |walled| {
        let (acme, beta) = (walled.of("acme").await, walled.of("beta").await);
        let url = walled.url(&walled.app);
        assert!(receive(&acme, &url, "acme").await.expect("an answer"));
        assert!(receive(&beta, &url, "beta").await.expect("an answer"));
        assert!(!receive(&acme, &url, "acme").await.expect("an answer"));
        let refused = receive(&acme, &url, "beta").await.expect_err("another tenant");
        assert_eq!(refused.kind(), StoreErrorKind::Invalid);
        assert_eq!(acme.forget_received(Duration::ZERO).await.expect("an answer"), 1);
        assert!(receive(&acme, &url, "acme").await.expect("an answer"));
        assert!(!receive(&beta, &url, "beta").await.expect("an answer"));
        acme.close().await;
        beta.close().await;
    })
    .await;
}

/// The wall with one gap after the other: a way to make it, what is said of it, and
/// a way to close it.
#[tokio::test]
async fn a_store_of_one_tenant_is_not_opened_where_the_wall_has_gaps() {
    behind_a_wall("gaps", async |walled| {
        let (app, worker) = (&walled.app, &walled.worker);
        let role = format!("{app}_other");
        let gaps = [
            (format!("ALTER ROLE {app} SUPERUSER"), "superuser", format!("ALTER ROLE {app} NOSUPERUSER")),
            (format!("ALTER ROLE {app} BYPASSRLS"), "exempt", format!("ALTER ROLE {app} NOBYPASSRLS")),
            (format!("ALTER ROLE {app} CREATEROLE"), "CREATEROLE", format!("ALTER ROLE {app} NOCREATEROLE")),
            (
                format!("CREATE ROLE {role} BYPASSRLS; ALTER ROLE {app} NOINHERIT; GRANT {role} TO {app}"),
                "a member of",
                format!("REVOKE {role} FROM {app}"),
            ),
            (format!("ALTER ROLE {role} NOBYPASSRLS; GRANT {role} TO {app}; ALTER TABLE {{schema}}.timers OWNER TO {role}"),
                "owner", format!("ALTER TABLE {{schema}}.timers OWNER TO CURRENT_USER; DROP ROLE {role}")),
            (format!("GRANT {worker} TO {app}"), "lets", format!("REVOKE {worker} FROM {app}")),
            (format!("GRANT pg_read_server_files TO {app}"), "files", format!("REVOKE pg_read_server_files FROM {app}")),
            ("ALTER TABLE {schema}.claims DISABLE ROW LEVEL SECURITY".into(), "claims",
                "ALTER TABLE {schema}.claims ENABLE ROW LEVEL SECURITY".into()),
            ("ALTER TABLE {schema}.view_rows NO FORCE ROW LEVEL SECURITY".into(), "view_rows",
                "ALTER TABLE {schema}.view_rows FORCE ROW LEVEL SECURITY".into()),
            ("DROP POLICY one_tenant ON {schema}.events".into(), "lacks its policy", String::new()),
            ("ALTER POLICY one_tenant ON {schema}.appends USING (true)".into(), "appends", String::new()),
            ("ALTER POLICY one_tenant ON {schema}.streams WITH CHECK (true)".into(), "streams", String::new()),
            ("CREATE POLICY more ON {schema}.events USING (true)".into(), "policy more",
                "DROP POLICY more ON {schema}.events".into()),
            (format!("CREATE POLICY more ON {{schema}}.checkpoints TO {app} USING (true)"), "policy more",
                "DROP POLICY more ON {schema}.checkpoints".into()),
            ("CREATE POLICY more ON {schema}.parts FOR SELECT USING (true)".into(), "policy more",
                "DROP POLICY more ON {schema}.parts".into()),
            ("CREATE POLICY more ON {schema}.builds FOR UPDATE USING (true)".into(), "policy more",
                "DROP POLICY more ON {schema}.builds".into()),
            ("DROP POLICY looked_at ON {schema}.builds; CREATE POLICY looked_at ON {schema}.builds USING (true)".into(),
                "looked_at", String::new()),
            ("ALTER TABLE {schema}.builds DISABLE ROW LEVEL SECURITY".into(), "builds", String::new()),
        ];
        for (gap, said, repair) in gaps {
            walled.run(&gap).await;
            let error = walled.open("acme").await.expect_err(&gap);
            assert_eq!(error.kind(), StoreErrorKind::Schema, "{gap}: {error}");
            assert!(error.to_string().contains(said), "{gap}: {error}");
            walled.run(&repair).await;
            // What it put up it puts up again.
            walled.owner().separate_tenants([worker]).await.expect("a wall");
            walled.open("acme").await.expect("a wall without gaps").close().await;
        }
        let owner = walled.owner().only_tenant(tenant("acme")).open().await;
        assert_eq!(owner.expect_err("a superuser").kind(), StoreErrorKind::Schema);
        let through = walled.by(worker).only_tenant(tenant("acme")).open().await;
        assert_eq!(through.expect_err("a role that is let through").kind(), StoreErrorKind::Schema);
        let pooled = walled.by(app).only_tenant(tenant("acme")).behind_pooler().open().await;
        assert_eq!(pooled.expect_err("a pooler").kind(), StoreErrorKind::Invalid);
    })
    .await;
}

/// An older log gets its wall, from two nodes at once, and again; whoever is not
/// named any more is not let through.
#[tokio::test]
async fn a_wall_may_be_raised_late_and_twice() {
    behind_a_wall("late", async |walled| {
        for table in TABLES.iter().chain(&WITHOUT).chain(&["builds", "inline_models"]) {
            walled.run(&format!("ALTER TABLE {{schema}}.{table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")).await;
            walled.run(&format!("DROP POLICY IF EXISTS one_tenant ON {{schema}}.{table}")).await;
            walled.run(&format!("DROP POLICY IF EXISTS looked_at ON {{schema}}.{table}")).await;
            walled.run(&format!("DROP POLICY every_tenant ON {{schema}}.{table}")).await;
        }
        walled.run("DROP FUNCTION {schema}.tenant_horizon; DROP INDEX {schema}.events_of_default").await;
        let all = walled.of_all().await;
        fill(&all, "acme").await;
        fill(&all, "beta").await;
        walled.open("acme").await.expect_err("no wall");

        let (one, other) = (walled.owner(), walled.owner());
        let raised = [&one, &other].map(|node| node.separate_tenants([&walled.worker]));
        join_all(raised).await.into_iter().for_each(|raised| raised.expect("a wall"));
        let acme = walled.of("acme").await;
        assert_eq!(acme.events(Read::all().of(tenant("acme"))).await.expect("a read").len(), 1);
        assert_eq!(all.events(Read::all().every_tenant()).await.expect("a read").len(), 2);

        one.separate_tenants([] as [&str; 0]).await.expect("a wall");
        assert!(all.events(Read::all().every_tenant()).await.expect("a read").is_empty());
        assert!(all.append(to("a-1", "acme")).await.is_err());
        acme.append(to("a-1", "acme")).await.expect("an append");
        let positions = walled.ask(&walled.app, "acme", "SELECT position FROM {schema}.events").await;
        let positions = positions.expect("rows").len();
        assert_eq!(positions, 2);
        for store in [acme, all] {
            store.close().await;
        }
    })
    .await;
}

/// Else no store of one tenant could be opened until somebody has raised it again.
#[tokio::test]
async fn a_wall_that_stands_goes_around_what_a_newer_version_brings() {
    const OLDER: &str = "
        DROP FUNCTION {schema}.look_up, {schema}.keep_answer, {schema}.invalidate,
            {schema}.stamp_of_tags, {schema}.hashes_of_tags;
        DROP TABLE {schema}.cache_tags, {schema}.cached_answers, {schema}.invalidations,
            {schema}.inbox;
        ALTER TABLE {schema}.timers DROP CONSTRAINT timers_pkey, DROP COLUMN owner,
            DROP COLUMN wake, ADD PRIMARY KEY (tenant, name);
        CREATE INDEX timers_due ON {schema}.timers (due, tenant, name);
        DELETE FROM {schema}.migrations WHERE version > 1;";
    behind_a_wall("newer", async |walled| {
        walled.run(OLDER).await;
        walled.owner().migrate().await.expect("tables");
        walled.open("acme").await.expect("a wall without gaps").close().await;
        for role in [&walled.app, &walled.worker] {
            walled.run(&GRANTS.replace("{role}", role)).await;
        }
        let all = walled.of_all().await;
        fill_cache(&all).await;
        for table in WITHOUT {
            assert_eq!(walled.count(&walled.app, "acme", table).await, 0);
        }
        walled.open("acme").await.expect("a wall without gaps").close().await;
        all.close().await;
    })
    .await;
}
