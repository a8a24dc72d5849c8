use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::ServerError;

/// How often a server is asked whether it is ready.
const STEP: Duration = Duration::from_millis(10);
/// Twenty seconds.
const STEPS_UNTIL_READY: usize = 2_000;

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
pub struct PrivateRedis {
    port: u16,
    folder: TempDir,
    settings: Vec<String>,
    running: Option<Child>,
}

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
        let settings = settings.iter().map(ToString::to_string).collect();
        let (port, folder) = (free_port()?, tempfile::tempdir()?);
        let mut redis = Self { port, folder, settings, running: None };
        redis.restart()?;
        Ok(redis)
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
        format!("redis://{}", self.address())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Kills it, as by `kill -9`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Io`] if the machine does not let it.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(mut running) = self.running.take() {
            running.kill()?;
            running.wait()?;
        }
        Ok(())
    }

    /// Starts it again if it does not run, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] if it does not come up.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        if self.running.is_none() {
            self.running = Some(self.spawn()?);
        }
        for _ in 0..STEPS_UNTIL_READY {
            if redis_answers(self.address()) {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        let said = "it was not ready in time".to_owned();
        Err(ServerError::Failed { program: "redis-server".into(), said })
    }

    fn spawn(&self) -> Result<Child, ServerError> {
        let mut server = Command::new("redis-server");
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        server.arg(self.port.to_string()).arg("--dir").arg(self.folder.path());
        server.args(&self.settings);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ServerError::Unsupported(
                "no `redis-server` on the path: install the package `redis-server`".into(),
            ),
            _ => error.into(),
        })
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        // Nothing can be done about it here.
        let _ = self.kill();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
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
