//! Each row of a read model is found by its key, and so are the parts: with the plan that
//! the server makes for these values, and with the one for all, on rows of some number.

use es_core::{
    BuildChange, Builds, Changes, Checkpoint, Lookup, Name, Part, Position, Row, RowId, Rows,
    Slices, Tenant, World,
};
use es_testkit::servers::postgres_url;
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    PostgresOptions, PostgresStore,
    call::Call,
    connections::{Purpose, connect},
    plans::{lines, plan_for_all},
    views,
};

/// In three builds of each of four models, for ten tenants. The server keeps no statistics
/// of its own accord.
const FILL: &str = "
    ALTER TABLE {schema}.view_rows SET (autovacuum_enabled = off);
    ALTER TABLE {schema}.parts SET (autovacuum_enabled = off);
    UPDATE {schema}.builds SET serves = number = 2;
    INSERT INTO {schema}.view_rows (model, build, kind, tenant, key, value)
    SELECT 'model-' || n % 4, 1 + n / 4 % 3, (n % 50 = 0)::integer, 'tenant-' || n / 12 % 10,
        convert_to('key ' || n, 'UTF8'), convert_to(repeat('x', 100), 'UTF8')
    FROM generate_series(1, 100000) AS n";

/// As many rows as a commit may well have.
const MANY: usize = 5_000;

const OF_ROW: [&str; 5] = ["model =", "build =", "kind =", "tenant =", "key ="];
const OF_PART: [&str; 4] = ["model =", "build =", "first_slice =", "last_slice ="];

fn model() -> Name {
    Name::from_static("model-1")
}

fn tenant() -> Tenant {
    Tenant::new("tenant-1").expect("a name")
}

struct Filled {
    quoted: String,
    store: PostgresStore,
    owner: PgConnection,
}

/// What is asked, and what the server has to search for at once.
struct Search {
    what: &'static str,
    call: Box<dyn Fn() -> Call>,
    keys: Vec<&'static str>,
}

impl Filled {
    async fn by(options: PostgresOptions) -> Self {
        let quoted = format!("\"{}\"", options.schema);
        let store = options.open().await.expect("a server");
        for (model, build) in (0..4).flat_map(|model| (1..4).map(move |build| (model, build))) {
            let model = Name::new(format!("model-{model}")).expect("a name");
            let change = BuildChange::begin(model, build).parts(Slices::split(64));
            store.change(change).await.expect("a build");
        }
        let owner = PgConnection::connect(&postgres_url()).await.expect("a server");
        let mut filled = Self { quoted, store, owner };
        filled.run(FILL).await;
        filled
    }

    async fn run(&mut self, sql: &str) {
        let sql = sql.replace("{schema}", &self.quoted);
        let done = self.owner.execute(sqlx::raw_sql(&sql)).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    async fn assert_searches(&mut self, searches: Vec<Search>, by: &PostgresOptions, to: Purpose) {
        let mut connection = connect(by, to).await.expect("a server");
        connection.execute("SET plan_cache_mode = force_generic_plan").await.expect("a setting");
        for statistics in ["SELECT", "ANALYZE {schema}.view_rows, {schema}.parts, {schema}.builds"]
        {
            self.run(statistics).await;
            for Search { what, call, keys } in &searches {
                let for_all = plan_for_all(&mut connection, call().sql()).await;
                let these = call().explained().fetch_all(&mut connection).await.expect("a plan");
                for plan in [for_all, lines(&these)] {
                    assert_searches(what, &plan, keys);
                }
            }
        }
    }

    fn lookups(&self) -> Vec<Search> {
        let first = RowId::new(tenant(), "key 17");
        let ids: Vec<_> = (0..MANY).map(|n| RowId::new(tenant(), format!("key {n}"))).collect();
        let page = |after| Rows::Of { tenant: tenant(), after, limit: 100 };
        vec![
            self.lookup("rows by their ids", Rows::These(ids), &OF_ROW),
            self.lookup("a row by its id", Rows::These(vec![first.clone()]), &OF_ROW),
            self.lookup("a first page", page(None), &OF_ROW[..4]),
            self.lookup("a page", page(Some(first.key)), &["tenant =", "key >"]),
        ]
    }

    fn lookups_of_all(&self) -> Vec<Search> {
        let after = [None, Some(RowId::new(tenant(), "key 17"))];
        let all = after.map(|after| Rows::Every { after, limit: 100 });
        let keys = ["model =", "build =", "kind =", "ROW(tenant, key) >"];
        let mut all: Vec<_> =
            all.into_iter().map(|rows| self.lookup("a page of all", rows, &keys)).collect();
        let (schema, part) = (self.store.shared().schema.clone(), part());
        let call = Box::new(move || views::find(&schema, &part));
        all.push(Search { what: "a checkpoint", call, keys: OF_PART.to_vec() });
        all
    }

    fn lookup(&self, what: &'static str, rows: Rows, keys: &[&'static str]) -> Search {
        let schema = self.store.shared().schema.clone();
        let lookup = Lookup::new(model(), rows);
        let call = move || match &lookup.rows {
            Rows::These(ids) => views::these(&schema, &lookup, ids),
            Rows::Of { tenant, after, limit } => {
                views::of(&schema, &lookup, tenant, after.as_deref(), *limit)
            }
            Rows::Every { after, limit } => views::every(&schema, &lookup, after.as_ref(), *limit),
        };
        Search { what, call: Box::new(call), keys: keys.to_vec() }
    }

    fn commits(&self) -> Vec<Search> {
        let commit = |what, count: usize, keys: &[&'static str]| {
            let schema = self.store.shared().schema.clone();
            let call = move || {
                let (seen, next) = (Checkpoint::default(), Position::new(9));
                let changes = Changes::rows((0..count).map(row));
                views::moving(&schema, &part(), changes, seen, seen.at(next)).expect("a commit")
            };
            Search { what, call: Box::new(call), keys: keys.to_vec() }
        };
        vec![
            commit("a commit", 0, &OF_PART),
            commit("the part of a commit with rows", 10, &OF_PART),
            commit("the rows of a commit", 10, &OF_ROW),
            commit("the part of a large commit", MANY, &OF_PART),
            commit("the rows of a large commit", MANY, &OF_ROW),
        ]
    }

    async fn remove(mut self) {
        self.store.close().await;
        self.run("DROP SCHEMA {schema} CASCADE").await;
    }
}

fn part() -> Part {
    Part::new(model(), 2, Slices::split(64)[7])
}

/// Every other one is deleted.
fn row(number: usize) -> Row {
    let value = number.is_multiple_of(2).then(|| "x".into());
    Row { id: RowId::new(tenant(), format!("key {number}")), value }
}

/// Nothing is walked from end to end, nothing is compared one by one, and only what was
/// asked for by its ids may be sorted: there are as many rows as ids.
fn assert_searches(what: &str, plan: &str, keys: &[&str]) {
    for bad in ["Seq Scan", "Bitmap", "Hash", "Merge", "Join Filter", "Materialize"] {
        assert!(!plan.contains(bad), "{what}: {bad}:\n{plan}");
    }
    assert!(what.contains("id") || !plan.contains("Sort"), "{what} sorts:\n{plan}");
    let mut searched = plan.lines().filter(|line| line.contains("Index Cond"));
    let found = searched.any(|line| keys.iter().all(|key| line.contains(key)));
    assert!(found, "{what} searches for less than {keys:?}:\n{plan}");
}

fn options(name: &str) -> PostgresOptions {
    let schema = format!("gesta {name} {:x}", World::real().random_u64());
    PostgresOptions::new(postgres_url()).schema(schema)
}

#[tokio::test]
async fn every_lookup_of_rows_is_a_search() {
    let mut rows = Filled::by(options("row plans")).await;
    let searches = rows.lookups().into_iter().chain(rows.lookups_of_all()).collect();
    let by = PostgresOptions::new(postgres_url());
    rows.assert_searches(searches, &by, Purpose::Reading).await;
    rows.remove().await;
}

#[tokio::test]
async fn a_commit_searches_for_its_part_and_for_each_of_its_rows() {
    let mut rows = Filled::by(options("commit plans")).await;
    let searches = rows.commits();
    let by = PostgresOptions::new(postgres_url());
    rows.assert_searches(searches, &by, Purpose::Projecting).await;
    rows.remove().await;
}

#[tokio::test]
async fn every_lookup_of_rows_behind_a_wall_is_a_search() {
    let mut rows = Filled::by(options("walled row plans")).await;
    let role = rows.quoted.replace(' ', "_").replace('"', "");
    let create = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'wall'; GRANT USAGE ON SCHEMA {{schema}} TO {role}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA {{schema}} TO {role}"
    );
    rows.run(&create).await;
    let schema = rows.quoted.replace('"', "");
    let wall = PostgresOptions::new(postgres_url()).schema(schema);
    wall.separate_tenants([] as [&str; 0]).await.expect("a wall");
    let url = postgres_url();
    let place = url.rsplit('@').next().expect("a place");
    let by = PostgresOptions::new(format!("postgres://{role}:wall@{place}"));
    let searches = rows.lookups();
    rows.assert_searches(searches, &by.only_tenant(tenant()), Purpose::Reading).await;
    rows.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    rows.remove().await;
}
