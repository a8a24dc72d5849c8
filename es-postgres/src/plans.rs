//! A read of a page neither walks a whole table nor sorts: with the plan that the
//! server makes once for all values, on a log of some size.

use crate::{
    PostgresOptions, PostgresStore,
    connections::{Purpose, connect},
    query::Query,
    schema::Schema,
};
use es_core::{
    AppendId, Batch, ContentType, Criteria, EventStore, EventStoreExt, Metadata, Name, NewEvent,
    Position, Read, StreamId, Tag, Tenant, World,
};
use es_testkit::servers::postgres_url;
use sqlx::{Connection, Executor, PgConnection, Row, postgres::PgRow};

const STREAMS: usize = 40;
const ROUNDS: usize = 50;

fn acme() -> Tenant {
    Tenant::new("acme").expect("a name")
}

fn stream(number: usize) -> StreamId {
    StreamId::new("bell", number).expect("a name")
}

fn tag(number: usize) -> Tag {
    Tag::new("tower", number).expect("a tag")
}

fn event(world: &World, number: usize) -> NewEvent {
    let rung = Name::from_static("bell.rung");
    let mut event = NewEvent::raw(world.event_id(), rung, ContentType::JSON, "{}");
    event.tags = vec![tag(number % 7)];
    event.metadata = Metadata::new().correlation_id(format!("c{}", number % 5));
    event
}

/// A log in a schema of its own, filled for one tenant.
struct Filled {
    quoted: String,
    store: PostgresStore,
    connection: PgConnection,
    last: AppendId,
}

impl Filled {
    async fn by(options: PostgresOptions, tenant: &Tenant) -> Self {
        let world = World::real();
        let quoted = format!("\"{}\"", options.schema);
        let store = options.open().await.expect("a server");
        let mut last = AppendId::derive("none");
        for _ in 0..ROUNDS {
            last = world.append_id();
            let writes = (0..STREAMS).map(|number| {
                let events = (0..10).map(|_| event(&world, number));
                es_core::Write::new(stream(number).of(tenant.clone())).events(events)
            });
            store.append(Batch::new(writes).append_id(last)).await.expect("an append");
        }
        let connection = PgConnection::connect(&postgres_url()).await.expect("a server");
        Self { quoted, store, connection, last }
    }

    fn reads(&self) -> Vec<(&'static str, Read)> {
        let matching = Criteria::tag(tag(1)).or(Criteria::tag(tag(2)));
        vec![
            ("a tenant's log", Read::all()),
            ("a stream", Read::stream(&stream(3)).after(Position::new(2))),
            ("a category", Read::category("bell").expect("a name")),
            ("a type", Read::all().types([Name::from_static("bell.rung")])),
            ("a tag", Read::all().tag(tag(3))),
            ("a correlation", Read::all().correlated("c3")),
            ("an append", Read::append(self.last)),
            ("a stream's tag", Read::stream(&stream(3)).tag(tag(3))),
            ("what matches a tag", Read::matching(Criteria::tag(tag(1)))),
            ("what matches", Read::matching(matching)),
        ]
    }

    async fn run(&mut self, sql: &str) {
        let sql = sql.replace("{schema}", &self.quoted);
        let done = self.connection.execute(sqlx::raw_sql(&sql)).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Every event of the log is read back by each of these, and the server says
    /// through which indexes it went.
    async fn assert_searches(&mut self, reads: Vec<(&str, Read)>, by: &PostgresOptions) {
        // A log that was just filled, and one whose statistics are up to date.
        for analyzed in [false, true] {
            if analyzed {
                for table in ["events", "event_tags", "event_correlations", "appends"] {
                    self.run(&format!("ANALYZE {{schema}}.{table}")).await;
                }
            }
            for (what, read) in reads.clone() {
                for read in [read.clone(), read.backwards()] {
                    let found = self.store.events(read.clone()).await.expect("a read");
                    assert!(what.contains("another") || !found.is_empty(), "{what} finds nothing");
                    let plan = plan(&self.store.shared().schema, &read, by).await;
                    assert!(!plan.contains("Seq Scan"), "{what} walks a table:\n{plan}");
                    let may_sort = what == "what matches";
                    assert!(may_sort || !plan.contains("Sort"), "{what} sorts:\n{plan}");
                }
            }
        }
    }

    async fn remove(mut self) {
        self.store.close().await;
        self.run("DROP SCHEMA {schema} CASCADE").await;
    }
}

fn options(name: &str) -> PostgresOptions {
    let schema = format!("gesta {name} {:x}", World::real().random_u64());
    PostgresOptions::new(postgres_url()).schema(schema)
}

#[tokio::test]
async fn every_read_is_a_search() {
    let mut log = Filled::by(options("plans"), &Tenant::default()).await;
    let mut reads = log.reads();
    reads.push(("the log", Read::all().every_tenant()));
    reads.push(("another tenant's log", Read::all().of(acme())));
    log.assert_searches(reads, &PostgresOptions::new(postgres_url())).await;
    log.remove().await;
}

/// The policy stands before every condition, and keeps none from its index; nor
/// does a tenant that is quiet look at what the others have written.
#[tokio::test]
async fn every_read_behind_a_wall_is_a_search() {
    let options = options("walled plans");
    options.separate_tenants([] as [&str; 0]).await.expect("a wall");
    let mut log = Filled::by(options, &acme()).await;
    let role = log.quoted.replace(' ', "_").replace('"', "");
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'wall'; GRANT USAGE ON SCHEMA {{schema}} TO {role}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {{schema}} TO {role}; \
         GRANT SELECT ON {{schema}}.positions TO {role}"
    );
    log.run(&create).await;
    let url = postgres_url();
    let place = url.rsplit('@').next().expect("a place");
    let by = PostgresOptions::new(format!("postgres://{role}:wall@{place}"));
    let reads = log.reads().into_iter().map(|(what, read)| (what, read.of(acme())));
    log.assert_searches(reads.collect(), &by.clone().only_tenant(acme())).await;
    for quiet in [Tenant::default(), acme(), Tenant::new("new").expect("a name")] {
        let quiet = by.clone().only_tenant(quiet);
        let pages = horizon_pages(&log.store.shared().schema, &quiet).await;
        assert!(pages < 100, "the horizon looks at {pages} pages");
    }
    log.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    log.remove().await;
}

/// How many pages the server has looked at to tell how far a follower may read.
async fn horizon_pages(schema: &Schema, by: &PostgresOptions) -> i64 {
    let mut connection = connect(by, Purpose::Reading).await.expect("a server");
    let sql = crate::horizon::sql(schema, by.tenant.as_ref());
    connection.fetch_all(&*sql).await.expect("a horizon");
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}");
    let row = connection.fetch_one(explain.as_str()).await.expect("a plan");
    let plan: String = row.try_get_unchecked(0).expect("a plan");
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let pages = |kind: &str| plan[0]["Plan"][kind].as_i64().expect("a number");
    pages("Shared Hit Blocks") + pages("Shared Read Blocks")
}

async fn plan(schema: &Schema, read: &Read, by: &PostgresOptions) -> String {
    let mut connection = connect(by, Purpose::Reading).await.expect("a server");
    plan_for_all(&mut connection, Query::new(schema, read).sql()).await
}

/// What the server makes once for all values.
pub(crate) async fn plan_for_all(connection: &mut PgConnection, sql: &str) -> String {
    let prepared = format!("PREPARE page AS {sql}");
    connection.execute(sqlx::raw_sql(&prepared)).await.expect("a statement");
    let count = "SELECT cardinality(parameter_types) FROM pg_prepared_statements \
         WHERE name = 'page'";
    let row = connection.fetch_one(sqlx::raw_sql(count)).await.expect("a count");
    let count: i32 = row.try_get(0).expect("a count");
    let values = vec!["NULL"; usize::try_from(count).expect("a count")].join(", ");
    let explain = format!("EXPLAIN (COSTS off) EXECUTE page({values})");
    let plan = connection.fetch_all(sqlx::raw_sql(&explain)).await.expect("a plan");
    connection.execute("DEALLOCATE page").await.expect("a statement that is there");
    lines(&plan)
}

pub(crate) fn lines(plan: &[PgRow]) -> String {
    let lines = plan.iter().map(|row| row.try_get::<String, _>(0).expect("a line"));
    lines.collect::<Vec<_>>().join("\n")
}
