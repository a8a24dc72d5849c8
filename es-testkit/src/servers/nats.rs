use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use super::{
    ServerError,
    single::{Ours, Server, Single, words},
};

/// The environment variable that names the program, if it is not on the path.
const NAMED: &str = "GESTA_NATS_SERVER";
const ADVICE: &str = "no `nats-server` on the path: install the package `nats-server`, or name \
                      the program in GESTA_NATS_SERVER";

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
pub struct PrivateNats(Single);

impl PrivateNats {
    /// Starts one: the program that `GESTA_NATS_SERVER` names, or else the `nats-server` on
    /// the path.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if there is none.
    pub fn start() -> Result<Self, ServerError> {
        let program = std::env::var_os(NAMED).unwrap_or_else(|| "nats-server".into());
        let server = Server { program, advice: ADVICE, answers: is_ours };
        let single = Single::start(server, |port, folder| {
            let to = ["--addr", "127.0.0.1", "--jetstream", "--port", port, "--name"];
            let named = words(&to, name(folder));
            Ok(named.into_iter().chain(words(&["--store_dir"], folder)).collect())
        });
        single.map(Self)
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        format!("nats://{}", self.0.address())
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

/// What nobody else has.
fn name(folder: &Path) -> String {
    folder.to_string_lossy().replace(|sign: char| !sign.is_alphanumeric(), "-")
}

fn is_ours(address: SocketAddr, ours: Ours<'_>) -> bool {
    greeting(address).is_ok_and(|said| said.contains(&name(ours.folder)))
}

/// Whether a NATS server with JetStream answers there that lets us in without a password.
///
/// ```
/// assert!(!es_testkit::servers::nats_answers(([127, 0, 0, 1], 1).into()));
/// ```
pub fn nats_answers(address: SocketAddr) -> bool {
    greeting(address).is_ok()
}

/// What it says of itself, if it is such a server.
fn greeting(address: SocketAddr) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut said = BufReader::new(stream.try_clone()?);
    let (mut greeting, mut answer) = (String::new(), String::new());
    said.read_line(&mut greeting)?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n")?;
    said.read_line(&mut answer)?;
    let is_such = greeting.contains("\"jetstream\":true") && answer.starts_with("PONG");
    is_such.then_some(greeting).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
