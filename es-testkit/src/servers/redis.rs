use std::{
    ffi::OsString,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    ServerError,
    single::{Ours, Server, Single, free_port, words},
};

const ADVICE: &str = "no `redis-server` on the path: install the package `redis-server`";

/// A Redis server of a test's own, in a temporary folder and on a free port of
/// 127.0.0.1. It keeps nothing on disk: what it held is gone after a kill.
///
/// It is killed when it is dropped. Every method blocks.
///
/// ```no_run
/// use es_testkit::servers::PrivateRedis;
///
/// let mut redis = PrivateRedis::start()?;
/// println!("it answers at {}", redis.url());
/// redis.kill()?;
/// redis.restart()?; // the same port, and empty
/// # Ok::<(), es_testkit::servers::ServerError>(())
/// ```
#[derive(Debug)]
pub struct PrivateRedis(Single);

impl PrivateRedis {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if there is no `redis-server` on the path.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[])
    }

    /// Starts one with these words behind the command, as `["--maxmemory", "100mb"]`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Result<Self, ServerError> {
        Self::start_as(|| Ok(settings.iter().map(OsString::from).collect()))
    }

    fn start_as(settings: impl Fn() -> io::Result<Vec<OsString>>) -> Result<Self, ServerError> {
        let program = "redis-server".into();
        let server = Server { program, advice: ADVICE, answers: is_ours };
        let single = Single::start(server, |port, folder| {
            let keeps = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let to = [&keeps[..], &["--port", port, "--dir"]].concat();
            Ok(words(&to, folder).into_iter().chain(settings()?).collect())
        });
        single.map(Self)
    }

    /// Starts a node of a cluster, which knows of no other node and has no slots.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_node() -> Result<Self, ServerError> {
        Self::start_as(|| {
            let bus = free_port()?.to_string();
            Ok(words(&["--cluster-enabled", "yes", "--cluster-port"], bus))
        })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("redis://{}", self.0.address())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Kills it, as by `kill -9`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] if the machine does not let it.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.0.kill()
    }

    /// Starts it again if it does not run, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not come up.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.0.restart()
    }
}

fn is_ours(address: SocketAddr, ours: Ours<'_>) -> bool {
    let process = || {
        let mut stream = connected(address)?;
        stream.write_all(b"INFO server\r\nQUIT\r\n")?;
        let is_process = |line: &io::Result<String>| {
            line.as_ref().is_ok_and(|line| line.starts_with("process_id:"))
        };
        BufReader::new(stream).lines().take_while(Result::is_ok).find(is_process).transpose()
    };
    let due = format!("process_id:{}", ours.process);
    redis_answers(address) && process().is_ok_and(|process| process == Some(due))
}

fn connected(address: SocketAddr) -> io::Result<TcpStream> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Whether a Redis answers there that lets us in without a password.
///
/// ```
/// assert!(!es_testkit::servers::redis_answers(([127, 0, 0, 1], 1).into()));
/// ```
pub fn redis_answers(address: SocketAddr) -> bool {
    let asked = || {
        let mut stream = connected(address)?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        io::Result::Ok(&answer == b"+PONG")
    };
    asked().unwrap_or(false)
}
