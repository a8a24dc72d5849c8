//! The year as the program tells it, against a plain fold over the file.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use es_testkit::servers::{PrivatePostgres, ServerError};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures_util::{Stream, StreamExt};
use gesta::{
    EventStoreExt, Read, RecordedEvent, StoreError, postgres::PostgresOptions, sqlite::SqliteStore,
};
use serde_json::{Value, json};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights.csv.gz");
const FLIGHT: &str = "UA-1545-2013-01-01-EWR";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn store(&self) -> String {
        format!("sqlite:{}", self.file("flights.db").display())
    }
}

fn flights(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flights"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line, without the times that differ from run to run.
fn summary(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let fields = summary.as_object_mut().unwrap();
    fields.retain(|key, _| !key.ends_with("_seconds"));
    summary
}

#[derive(Default)]
struct Tally {
    flights: u64,
    cancelled: u64,
    diverted: u64,
    landed: u64,
    arrival_delay: i64,
}

/// What the program must tell, from the columns and nothing else.
fn folded(limit: usize) -> Value {
    let file = std::fs::File::open(DATA).unwrap();
    let mut lines = csv::Reader::from_reader(GzDecoder::new(file));
    let headers = lines.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let [carrier, origin] = [column("carrier"), column("origin")];
    let [departure, arrival, air] = [column("dep_delay"), column("arr_delay"), column("air_time")];
    let (mut carriers, mut origins) = (BTreeMap::<_, Tally>::new(), BTreeMap::<_, u64>::new());
    let mut events = 0;
    for line in lines.records().take(limit) {
        let line = line.unwrap();
        *origins.entry(line[origin].to_owned()).or_default() += 1;
        let tally = carriers.entry(line[carrier].to_owned()).or_default();
        tally.flights += 1;
        events += 1;
        match (
            line[departure].parse::<i64>(),
            line[arrival].parse::<i64>(),
            line[air].parse::<u32>(),
        ) {
            (Err(_), ..) => (tally.cancelled, events) = (tally.cancelled + 1, events + 1),
            (Ok(_), Ok(late), Ok(_)) => {
                (tally.landed, events) = (tally.landed + 1, events + 2);
                tally.arrival_delay += late;
            }
            _ => (tally.diverted, events) = (tally.diverted + 1, events + 2),
        }
    }
    let sum = |of: fn(&Tally) -> u64| carriers.values().map(of).sum::<u64>();
    let by_carrier: BTreeMap<_, _> = carriers
        .iter()
        .map(|(name, tally)| {
            let mean = (tally.landed > 0).then(|| tally.arrival_delay as f64 / tally.landed as f64);
            let row = json!({
                "flights": tally.flights,
                "cancelled": tally.cancelled,
                "diverted": tally.diverted,
                "mean_arrival_delay_minutes": mean,
            });
            (name.clone(), row)
        })
        .collect();
    let told = json!({
        "flights": sum(|tally| tally.flights),
        "events": events,
        "by_status": {
            "landed": sum(|tally| tally.landed),
            "diverted": sum(|tally| tally.diverted),
            "cancelled": sum(|tally| tally.cancelled),
        },
        "by_origin": origins,
        "by_carrier": by_carrier,
    });
    // Both sides went through text, which costs a float its last digit.
    serde_json::from_str(&told.to_string()).unwrap()
}

#[test]
fn twenty_thousand_flights_add_up_as_in_the_file() {
    let folder = Folder::new();
    let arguments = ["--json", "--limit", "20000", "--store", &folder.store()];
    let first = summary(&flights(&arguments).output().unwrap());
    assert_eq!(first, folded(20_000));
    let again = summary(&flights(&arguments).output().unwrap());
    assert_eq!(again, first, "a second run changes nothing");
    let rebuilt = flights(&["rebuild", "--json", "--store", &folder.store()]).output().unwrap();
    assert_eq!(summary(&rebuilt), first);
    shows_a_flight(&folder);
}

fn shows_a_flight(folder: &Folder) {
    let shown = flights(&["flight", FLIGHT, "--store", &folder.store()]).output().unwrap();
    assert!(shown.status.success(), "{}", told(&shown));
    let text = String::from_utf8(shown.stdout).unwrap();
    for part in ["flight.scheduled", "flight.departed", "flight.landed", "N14228", "\"landed\""] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn more_flights_are_added_to_those_that_are_there() {
    let folder = Folder::new();
    for limit in ["500", "1500"] {
        let arguments = ["--json", "--limit", limit, "--store", &folder.store()];
        let told = summary(&flights(&arguments).output().unwrap());
        assert_eq!(told, folded(limit.parse().unwrap()));
    }
}

#[test]
fn a_store_in_memory_adds_up_too() {
    let arguments = ["--json", "--limit", "2000", "--store", "memory:"];
    assert_eq!(summary(&flights(&arguments).output().unwrap()), folded(2_000));
}

/// One process imports, two keep the models, one of them is killed, a third is asked.
fn shared_by_two(store: &str, limit: usize) {
    let text = limit.to_string();
    let start = |arguments: &[&str]| {
        let mut command = flights(arguments);
        command.args(["--store", store, "--limit", &text]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut doomed = start(&["project", "--worker", "1"]);
    let import = start(&["import"]);
    let worker = start(&["project", "--worker", "2", "--until-done"]);
    let imported = import.wait_with_output().unwrap();
    assert!(imported.status.success(), "{}", told(&imported));
    doomed.kill().unwrap();
    doomed.wait().unwrap();
    let worked = worker.wait_with_output().unwrap();
    assert!(worked.status.success(), "{}", told(&worked));
    let shown = flights(&["show", "--json", "--store", store]).output().unwrap();
    assert_eq!(summary(&shown), folded(limit));
}

#[test]
fn models_that_two_processes_keep_on_sqlite_add_up() {
    shared_by_two(&Folder::new().store(), 5_000);
}

#[test]
fn models_that_two_processes_keep_on_postgres_add_up() {
    let Some(server) = server() else { return };
    shared_by_two(&server.url(), 5_000);
}

async fn next(events: &mut (impl Stream<Item = Result<RecordedEvent, StoreError>> + Unpin)) {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await;
    next.expect("the import was done before it was killed").unwrap().unwrap();
}

/// Each time when so many more events are in the log.
#[tokio::test]
async fn an_import_that_is_killed_three_times_tells_the_same_in_the_end() {
    let folder = Folder::new();
    let arguments = ["--json", "--limit", "20000", "--store", &folder.store()];
    let store = SqliteStore::open(folder.file("flights.db")).await.unwrap();
    for _ in 0..3 {
        let head = store.head().await.unwrap();
        let mut import =
            flights(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut new = store.tail(Read::all().after(head)).skip(7_000);
        next(&mut new).await;
        import.kill().unwrap();
        assert!(!import.wait().unwrap().success(), "it was done before it was killed");
    }
    store.close().await;
    assert_eq!(summary(&flights(&arguments).output().unwrap()), folded(20_000));
}

/// How many kills; 20 of the program and 5 of the server in the long form.
fn kills(name: &str, short: u64) -> u64 {
    std::env::var(name).ok().and_then(|kills| kills.parse().ok()).unwrap_or(short)
}

/// A server of the test's own; where there can be none, that is said.
fn server() -> Option<PrivatePostgres> {
    match PrivatePostgres::start() {
        Err(missing @ ServerError::Missing) => {
            es_testkit::not_run(&format!("flights on Postgres: {missing}"));
            None
        }
        started => Some(started.unwrap()),
    }
}

/// Each time when so many more events are in the log. The last ones are the
/// server's, which takes the program along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_into_postgres_survives_kills_of_the_program_and_of_the_server() {
    let Some(mut server) = server() else { return };
    let (programs, servers) = (kills("GESTA_KILLS", 4), kills("GESTA_SERVER_KILLS", 2));
    let limit = 900 * (programs + servers + 1);
    let (url, limit_text) = (server.url(), limit.to_string());
    let arguments = ["--json", "--limit", &limit_text, "--store", &url];
    let open = || PostgresOptions::new(&url).schema("flights").open();
    for kill in 0..programs + servers {
        let store = open().await.unwrap();
        let head = store.head().await.unwrap();
        let mut import =
            flights(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut new = store.tail(Read::all().after(head)).skip(1_000);
        next(&mut new).await;
        assert!(import.try_wait().unwrap().is_none(), "it was done before it was killed");
        if kill >= programs {
            server.restart().unwrap();
        }
        import.kill().unwrap();
        import.wait().unwrap();
    }
    let output = flights(&arguments).output().unwrap();
    assert_eq!(summary(&output), folded(usize::try_from(limit).unwrap()));
    let count = |sql: &str| server.psql(sql).unwrap().trim().parse::<u64>().unwrap();
    let events = count("SELECT count(*) FROM flights.events");
    let distinct = count("SELECT count(DISTINCT (stream, type)) FROM flights.events");
    assert_eq!(events, distinct, "no flight does the same twice");
}

/// Fails, and tells each of these on standard error, without a panic.
fn refuses(arguments: &[&str], parts: &[&str]) {
    let output = flights(arguments).output().unwrap();
    let text = told(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{:?} {text}", output.status);
    assert!(!text.contains("panicked"), "{text}");
    for part in parts {
        assert!(text.to_lowercase().contains(part), "{part:?} is not in {text}");
    }
}

#[test]
fn a_store_that_cannot_be_is_told() {
    let folder = Folder::new();
    let file = |name: &str| format!("sqlite:{}", folder.file(name).display());
    refuses(&["--store", "oracle:somewhere"], &["--store takes", "oracle:somewhere"]);
    refuses(&["--store", "flights.db"], &["--store takes"]);
    refuses(&["--store", &file("no/such/folder.db")], &["cannot be opened"]);
    std::fs::write(folder.file("text"), "hello, world\n".repeat(1_000)).unwrap();
    refuses(&["--store", &file("text")], &["no sqlite database"]);
    refuses(&["--store"], &["a value is required"]);
    refuses(&["--limit", "-1"], &["unexpected argument", "usage"]);
}

fn packed(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = GzEncoder::new(std::fs::File::create(path).unwrap(), Compression::fast());
    file.write_all(text.as_bytes()).unwrap();
    file.finish().unwrap();
}

#[test]
fn data_that_cannot_be_read_is_told() {
    let folder = Folder::new();
    let refuses_data = |name: &str, parts: &[&str]| {
        let path = folder.file(name).display().to_string();
        refuses(&["--store", "memory:", "--data", &path], parts);
    };
    refuses_data("missing.csv.gz", &["cannot open", "missing.csv.gz"]);
    std::fs::write(folder.file("plain.csv"), "year,month\n2013,1\n").unwrap();
    refuses_data("plain.csv", &["gzip"]);
    packed(&folder.file("other.csv.gz"), "a,b\n1,2\n");
    refuses_data("other.csv.gz", &["bad line"]);
    let whole = std::fs::read(DATA).unwrap();
    std::fs::write(folder.file("half.csv.gz"), &whole[..whole.len() / 400]).unwrap();
    refuses_data("half.csv.gz", &["bad line"]);
    let header = "year,month,day,sched_dep_time,dep_delay,arr_delay,carrier,flight,tailnum,origin,dest,air_time\n";
    for (line, part) in [
        ("2013,2,30,517,2,11,UA,1545,N14228,EWR,IAH,227", "no such day"),
        ("2013,1,1,99999999,2,11,UA,1545,N14228,EWR,IAH,227", "no such hour"),
        ("2013,1,1,517,2,11,UA,-7,N14228,EWR,IAH,227", "bad line"),
        ("2013,1,1,517,2,11,U\u{7}A,1545,N14228,EWR,IAH,227", "control character"),
    ] {
        packed(&folder.file("bad.csv.gz"), &format!("{header}{line}\n"));
        refuses_data("bad.csv.gz", &[part]);
    }
}

#[test]
fn a_flight_that_is_not_there_is_told() {
    let folder = Folder::new();
    refuses(
        &["flight", "XX-1-2013-01-01-EWR", "--store", &folder.store()],
        &["xx-1-2013-01-01-ewr"],
    );
    refuses(&["flight", "bell\u{7}", "--store", &folder.store()], &["control character"]);
}
