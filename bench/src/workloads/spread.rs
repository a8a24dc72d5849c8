//! Four processes of sixteen clients each on one database, beside one process of
//! sixty-four.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    contest::{Against, Role, Turn, Unit, Workload},
    domain::ACCOUNTS,
    measure::{Measured, drive, on_runtime},
    postgres::Schema,
    stores::Kind,
    workloads::commands::{Cache, Run, bus, check, depositors, deposits, open_accounts},
};

const PROCESSES: usize = 4;
const CLIENTS: usize = 16;

pub(crate) fn spread(name: &'static str, cache: Cache) -> Workload {
    Workload::new(name, Unit::PerSecond)
        .with(Role::Limit, "one process of 64", move |turn| deposits(run(turn, cache)))
        .with(Role::Gesta, "four of 16", move |turn| {
            let seconds = turn.seconds;
            on_runtime(async move { measure(cache, seconds).await })
        })
        .goal(Against::Limit, 0.9)
}

fn run(turn: &Turn<'_>, cache: Cache) -> Run {
    let (file, seconds, clients) = (turn.file.clone(), turn.seconds, PROCESSES * CLIENTS);
    Run { file, kind: Kind::Postgres, cache, accounts: ACCOUNTS, clients, seconds, inline: false }
}

async fn measure(cache: Cache, seconds: f64) -> Result<Measured> {
    let schema = Schema::new().await?;
    let store = schema.store().await?;
    open_accounts(&bus(Arc::new(store.clone()), Cache::Off)?, ACCOUNTS).await?;
    let mut processes = Vec::new();
    for number in 0..PROCESSES {
        processes.push(Process::start(schema.name(), number, cache, seconds)?);
    }
    // All at once, when all are ready.
    for process in &mut processes {
        process.line().context("a process that is ready")?;
    }
    for process in &mut processes {
        process.child.stdin.take().context("a pipe")?.write_all(b"\n")?;
    }
    let mut all = Measured::none();
    let mut sent = 0;
    for mut process in processes {
        let line = process.line()?;
        ensure!(process.child.wait()?.success(), "a process failed");
        let Figures { per_second, p50_us, p99_us, successes } = serde_json::from_str(&line)?;
        all.per_second += per_second;
        (all.p50_us, all.p99_us) = (all.p50_us.max(p50_us), all.p99_us.max(p99_us));
        sent += successes;
    }
    check(&store, ACCOUNTS, sent).await?;
    store.close().await;
    schema.leave().await;
    Ok(all)
}

/// What one process says at its end.
#[derive(Serialize, Deserialize)]
struct Figures {
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    successes: u64,
}

struct Process {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Process {
    fn start(schema: &str, number: usize, cache: Cache, seconds: f64) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--deposits", schema, "--seconds", &seconds.to_string()])
            .args(["--first-client", &(number * CLIENTS).to_string()])
            .args((cache == Cache::On).then_some("--cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("a pipe")?);
        Ok(Self { child, lines })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "a process has ended");
        Ok(line)
    }
}

/// What each of the four processes does: says that it is ready, waits for a line,
/// sends deposits, and says how many.
pub(crate) fn deposit(
    schema: String,
    first_client: usize,
    cache: Cache,
    seconds: f64,
) -> Result<()> {
    on_runtime(async move {
        let store = Schema::named(schema).await?.store().await?;
        let commands = bus(Arc::new(store.clone()), cache)?;
        open_accounts(&commands, ACCOUNTS).await?;
        let clients = depositors(&commands, ACCOUNTS, first_client..first_client + CLIENTS);
        println!("ready");
        std::io::stdin().lock().read_line(&mut String::new())?;
        let (measured, successes) = drive(clients, seconds).await?;
        let Measured { per_second, p50_us, p99_us, .. } = measured;
        println!("{}", json!(Figures { per_second, p50_us, p99_us, successes }));
        store.close().await;
        Ok(measured)
    })
    .map(drop)
}
