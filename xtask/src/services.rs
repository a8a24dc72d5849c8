//! The servers that tests need: found, started, or named as not run.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    report::Report,
    workspace::{Workspace, answers, build_debug},
};

/// Names the folder of the programs of Postgres, to our own that starts one and to tests.
pub(crate) const POSTGRES_PROGRAMS: &str = "GESTA_POSTGRES_BIN";

const ALL: [Service; 4] = [POSTGRES, REDIS, NATS, RABBITMQ];

const POSTGRES: Service = Service {
    name: "Postgres",
    variable: "GESTA_POSTGRES_URL",
    usual: usual_postgres,
    answers: postgres_answers,
    private: &["private-postgres", "max_connections=300"],
    install: &[
        "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes postgresql",
        "dnf install --assumeyes postgresql-server",
        "apk add postgresql",
        "brew install postgresql@17",
    ],
    container: ["postgres", "5432"],
    url: postgres_url,
};

const REDIS: Service = Service {
    name: "Redis",
    variable: "GESTA_REDIS_URL",
    usual: usual_redis,
    answers: redis_answers,
    private: &["private-redis"],
    install: &[
        "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes redis-server",
        "dnf install --assumeyes redis",
        "apk add redis",
        "brew install redis",
    ],
    container: ["redis", "6379"],
    url: redis_url,
};

const NATS: Service = Service {
    name: "NATS",
    variable: "GESTA_NATS_URL",
    usual: usual_nats,
    answers: nats_answers,
    private: &["private-nats"],
    install: &[
        "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes nats-server",
        "apk add nats-server",
        "brew install nats-server",
    ],
    container: ["nats", "4222"],
    url: nats_url,
};

const RABBITMQ: Service = Service {
    name: "RabbitMQ",
    variable: "GESTA_RABBITMQ_URL",
    usual: usual_rabbitmq,
    answers: rabbitmq_answers,
    private: &["private-rabbitmq"],
    install: &[
        "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install --yes rabbitmq-server",
        "dnf install --assumeyes rabbitmq-server",
        "apk add rabbitmq-server",
        "brew install rabbitmq",
    ],
    container: ["rabbitmq", "5672"],
    url: rabbitmq_url,
};

/// A server, and where it may come from.
struct Service {
    name: &'static str,
    /// Names its URL, to the tests and from whoever has one already.
    variable: &'static str,
    /// Where it is on a machine that has it.
    usual: fn() -> Vec<String>,
    answers: fn(&str) -> bool,
    /// Our own program that starts one, with its arguments: it says the URL, and
    /// stops at the end of its input.
    private: &'static [&'static str],
    /// How it is installed, by the package manager that is there.
    install: &'static [&'static str],
    /// Its name in `compose.yaml`, and its port there.
    container: [&'static str; 2],
    url: fn(&str) -> String,
}

/// The servers of a run. What was started for it ends with it.
pub(crate) struct Services {
    running: Vec<Running>,
    missing: String,
}

impl Services {
    pub(crate) fn start(report: &mut Report) -> Result<Self> {
        let mut services = Self { running: Vec::new(), missing: String::new() };
        for service in ALL {
            match service.find(report)? {
                Some(running) => {
                    // Not its URL, which may hold a password.
                    report.say(format!("{}: {}", service.name, running.owner.how()));
                    services.running.push(running);
                }
                None => services.missing.push_str(&format!("{}\n", service.name)),
            }
        }
        Ok(services)
    }

    /// A Postgres of the programs in this folder, and nothing else.
    pub(crate) fn postgres_in(folder: &str) -> Result<Self> {
        let started = POSTGRES.private(&[(POSTGRES_PROGRAMS, folder)])?;
        let started = started.with_context(|| format!("no server starts in {folder}"))?;
        Ok(Self { running: vec![started], missing: String::new() })
    }

    /// The names of those that cannot be had here, a line each.
    pub(crate) fn missing(&self) -> &str {
        &self.missing
    }

    /// Tells a command where the servers are.
    pub(crate) fn known_to(&self, mut command: Command) -> Command {
        command.envs(self.running.iter().map(|running| (running.variable, &running.url)));
        command
    }
}

/// A server that can be reached, and what ends it.
struct Running {
    variable: &'static str,
    url: String,
    owner: Owner,
}

enum Owner {
    Somebody,
    Program(Child),
    Compose(String),
}

impl Owner {
    fn how(&self) -> &'static str {
        match self {
            Self::Somebody => "there already",
            Self::Program(_) => "started for this run",
            Self::Compose(_) => "in a container for this run",
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        match &mut self.owner {
            Owner::Somebody => {}
            Owner::Program(program) => {
                let _ = program.wait(); // which closes its input first
            }
            Owner::Compose(project) => {
                answers(&mut compose(project, &["down", "--volumes"]));
            }
        }
    }
}

impl Service {
    fn find(&self, report: &mut Report) -> Result<Option<Running>> {
        if let Some(found) = self.given().or_else(|| self.usual()) {
            return Ok(Some(found));
        }
        report.run(&mut build_debug())?;
        if let Some(started) = self.private(&[])? {
            return Ok(Some(started));
        }
        if self.install(report)
            && let Some(started) = self.private(&[])?
        {
            return Ok(Some(started));
        }
        Ok(self.container())
    }

    fn given(&self) -> Option<Running> {
        Some(self.at(std::env::var(self.variable).ok()?, Owner::Somebody))
    }

    fn usual(&self) -> Option<Running> {
        let url = (self.usual)().into_iter().find(|url| (self.answers)(url))?;
        Some(self.at(url, Owner::Somebody))
    }

    fn private(&self, variables: &[(&str, &str)]) -> Result<Option<Running>> {
        let programs = Workspace::read()?.target()?.join("debug");
        let mut program = Command::new(programs.join(self.private[0]));
        program.args(&self.private[1..]).envs(variables.iter().copied());
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = program.spawn()?;
        let said = program.stdout.take().map(|said| BufReader::new(said).lines().next());
        let mut running = self.at(String::new(), Owner::Program(program));
        // One that says nothing has said on stderr why it ended.
        let Some(url) = said.flatten().transpose()? else { return Ok(None) };
        running.url = url;
        Ok(Some(running))
    }

    fn install(&self, report: &mut Report) -> bool {
        let is_here = |line: &&&str| answers(Command::new(first_word(line)).arg("--version"));
        let line = self.install.iter().find(is_here);
        line.is_some_and(|line| report.run(&mut installer(line)).is_ok())
    }

    fn container(&self) -> Option<Running> {
        let [name, port] = self.container;
        let project = format!("gesta-{}", std::process::id());
        if !answers(Command::new("docker").arg("info")) {
            return None;
        }
        let mut running = self.at(String::new(), Owner::Compose(project.clone()));
        let up = answers(&mut compose(&project, &["up", "--detach", "--wait", name]));
        let said = compose(&project, &["port", name, port]).output().ok()?;
        running.url = (self.url)(String::from_utf8_lossy(&said.stdout).trim());
        up.then_some(running)
    }

    fn at(&self, url: String, owner: Owner) -> Running {
        Running { variable: self.variable, url, owner }
    }
}

fn compose(project: &str, words: &[&str]) -> Command {
    let mut compose = Command::new("docker");
    compose.args(["compose", "--project-name", project]).args(words);
    compose
}

fn first_word(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

/// As root, if that needs no password. Homebrew wants to be itself.
fn installer(line: &str) -> Command {
    let as_root = r#"if [ "$(id -u)" = 0 ]; then sh -c "$0"; else sudo -n sh -c "$0"; fi"#;
    let mut installer = Command::new("sh");
    match first_word(line) {
        "brew" => installer.args(["-c", line]),
        _ => installer.args(["-c", as_root, line]),
    };
    installer
}

fn usual_postgres() -> Vec<String> {
    let users = [Ok("postgres".to_owned()), std::env::var("USER")];
    let users = users.into_iter().flatten();
    users.map(|user| format!("postgres://{user}@127.0.0.1:5432/postgres")).collect()
}

fn postgres_url(address: &str) -> String {
    format!("postgres://postgres@{address}/postgres")
}

/// Whether it lets us in without a password.
fn postgres_answers(url: &str) -> bool {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--no-password", "--command", "SELECT 1", "--dbname", url]);
    psql.env_remove("PGPASSWORD").env("PGPASSFILE", "/dev/null").env("PGCONNECT_TIMEOUT", "5");
    answers(&mut psql)
}

fn usual_redis() -> Vec<String> {
    vec![redis_url("127.0.0.1:6379")]
}

fn redis_url(address: &str) -> String {
    format!("redis://{address}")
}

/// Whether it lets us in without a password.
fn redis_answers(url: &str) -> bool {
    let asked = || -> io::Result<bool> {
        let address = url.trim_start_matches("redis://");
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(&answer == b"+PONG")
    };
    asked().unwrap_or(false)
}

fn usual_nats() -> Vec<String> {
    vec![nats_url("127.0.0.1:4222")]
}

fn nats_url(address: &str) -> String {
    format!("nats://{address}")
}

/// Whether it has JetStream and lets us in without a password.
fn nats_answers(url: &str) -> bool {
    let asked = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(url.trim_start_matches("nats://"))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut said = BufReader::new(stream.try_clone()?).lines();
        let has_streams = |line: &String| line.contains("\"jetstream\":true");
        let has_streams = said.next().transpose()?.as_ref().is_some_and(has_streams);
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
        let answer = said.next().transpose()?;
        Ok(has_streams && answer.is_some_and(|answer| answer.starts_with("PONG")))
    };
    asked().unwrap_or(false)
}

fn usual_rabbitmq() -> Vec<String> {
    vec![rabbitmq_url("127.0.0.1:5672")]
}

fn rabbitmq_url(address: &str) -> String {
    format!("amqp://guest:guest@{address}/%2f")
}

/// Whether it begins to speak as RabbitMQ does.
fn rabbitmq_answers(url: &str) -> bool {
    let address = url.trim_start_matches("amqp://guest:guest@").trim_end_matches("/%2f");
    let asked = || -> io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        // A frame with a method: the first one of a connection.
        let mut start = [0; 11];
        stream.read_exact(&mut start)?;
        Ok(start[0] == 1 && start[7..] == [0, 10, 0, 10])
    };
    asked().unwrap_or(false)
}
