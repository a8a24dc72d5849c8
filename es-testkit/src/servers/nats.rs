use std::{
    io::{self, BufRead, BufReader, Write},
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
/// The environment variable that names the program, if it is not on the path.
const NAMED: &str = "GESTA_NATS_SERVER";

/// A NATS server of a test's own with JetStream, in a temporary folder and on a free port
/// of 127.0.0.1. What it was given is there again after a kill and a restart.
///
/// It is killed when it is dropped. Every method blocks.
///
/// ```no_run
/// use es_testkit::servers::PrivateNats;
///
/// let mut nats = PrivateNats::start()?;
/// println!("it answers at {}", nats.url());
/// nats.kill()?;
/// nats.restart()?; // the same port and the same streams
/// # Ok::<(), es_testkit::servers::ServerError>(())
/// ```
#[derive(Debug)]
pub struct PrivateNats {
    port: u16,
    folder: TempDir,
    running: Option<Child>,
}

impl PrivateNats {
    /// Starts one: the program that `GESTA_NATS_SERVER` names, or else the `nats-server` on
    /// the path.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if there is none.
    pub fn start() -> Result<Self, ServerError> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut nats = Self { port, folder: tempfile::tempdir()?, running: None };
        nats.restart()?;
        Ok(nats)
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
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
            if nats_answers(self.address()) {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        let said = "it was not ready in time".to_owned();
        Err(ServerError::Failed { program: "nats-server".into(), said })
    }

    fn spawn(&self) -> Result<Child, ServerError> {
        let program = std::env::var_os(NAMED).unwrap_or_else(|| "nats-server".into());
        let mut server = Command::new(program);
        server.args(["--addr", "127.0.0.1", "--jetstream", "--port"]).arg(self.port.to_string());
        server.arg("--store_dir").arg(self.folder.path());
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ServerError::Unsupported(format!(
                "no `nats-server` on the path: install the package `nats-server`, or name the \
                 program in {NAMED}"
            )),
            _ => error.into(),
        })
    }
}

impl Drop for PrivateNats {
    fn drop(&mut self) {
        // Nothing can be done about it here.
        let _ = self.kill();
    }
}

/// Whether a NATS server with JetStream answers there that lets us in without a password.
///
/// ```
/// assert!(!es_testkit::servers::nats_answers(([127, 0, 0, 1], 1).into()));
/// ```
pub fn nats_answers(address: SocketAddr) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let asked = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut said = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let has_streams = line.contains("\"jetstream\":true");
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
        line.clear();
        said.read_line(&mut line)?;
        io::Result::Ok(has_streams && line.starts_with("PONG"))
    };
    asked().unwrap_or(false)
}
