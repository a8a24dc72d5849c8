use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::{
    ServerError,
    single::{Server, Single, words},
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
        let server = Server { program, advice: ADVICE, answers: nats_answers };
        let single = Single::start(server, |port, folder| {
            let to = ["--addr", "127.0.0.1", "--jetstream", "--port", port, "--store_dir"];
            words(&to, folder)
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
