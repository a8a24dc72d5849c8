use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    ServerError,
    single::{Server, Single, free_port, words},
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
        let program = "redis-server".into();
        let server = Server { program, advice: ADVICE, answers: redis_answers };
        let single = Single::start(server, |port, folder| {
            let keeps = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            let to = [&keeps[..], &["--port", port, "--dir"]].concat();
            let settings = settings.iter().map(OsString::from);
            words(&to, folder).into_iter().chain(settings).collect()
        });
        single.map(Self)
    }

    /// Starts a node of a cluster, which knows of no other node and has no slots.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_node() -> Result<Self, ServerError> {
        let bus = free_port()?.to_string();
        Self::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus])
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

/// Whether a Redis answers there that lets us in without a password.
///
/// ```
/// assert!(!es_testkit::servers::redis_answers(([127, 0, 0, 1], 1).into()));
/// ```
pub fn redis_answers(address: SocketAddr) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let asked = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        io::Result::Ok(&answer == b"+PONG")
    };
    asked().unwrap_or(false)
}
