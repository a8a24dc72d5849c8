use std::{
    ffi::{OsStr, OsString},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::ServerError;

/// How often a server is asked whether it is ready.
const STEP: Duration = Duration::from_millis(10);
/// A minute; a RabbitMQ takes half of it where there is much to do.
const STEPS_UNTIL_READY: usize = 6_000;
/// How many ports are tried: somebody else may take one before the server does.
const TRIES: usize = 3;

/// A server that is one process, with a folder and a port of 127.0.0.1 of its own. It is
/// killed when it is dropped.
#[derive(Debug)]
pub(super) struct Single {
    server: Server,
    arguments: Vec<OsString>,
    port: Port,
    folder: TempDir,
    running: Option<Child>,
}

/// What kind of server it is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) program: OsString,
    /// What to do if there is no such program.
    pub(super) advice: &'static str,
    /// Whether this one answers there, and not another.
    pub(super) answers: fn(SocketAddr, Ours<'_>) -> bool,
}

/// What tells a server from another one that answers at its port.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) process: u32,
    pub(super) folder: &'a Path,
}

impl Single {
    /// Starts one, with the arguments that its port and its folder need.
    pub(super) fn start(
        server: Server,
        arguments: impl Fn(&str, &Path) -> io::Result<Vec<OsString>>,
    ) -> Result<Self, ServerError> {
        let mut tries = 1;
        loop {
            match Self::try_start(server.clone(), &arguments) {
                Err(ServerError::Failed { .. }) if tries < TRIES => tries += 1,
                started => return started,
            }
        }
    }

    fn try_start(
        server: Server,
        arguments: impl Fn(&str, &Path) -> io::Result<Vec<OsString>>,
    ) -> Result<Self, ServerError> {
        let (port, folder) = (Port::reserve()?, tempfile::tempdir()?);
        let arguments = arguments(&port.number.to_string(), folder.path())?;
        let mut single = Self { server, arguments, port, folder, running: None };
        single.restart()?;
        Ok(single)
    }

    pub(super) fn port(&self) -> u16 {
        self.port.number
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    pub(super) fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(mut running) = self.running.take() {
            running.kill()?;
            running.wait()?;
        }
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<(), ServerError> {
        let address = self.address();
        let running = match self.running.take().map(if_alive).transpose()?.flatten() {
            Some(running) => running,
            None => self.server.spawn(&self.arguments)?,
        };
        self.server.ready(self.running.insert(running), address, self.folder.path())
    }
}

impl Server {
    fn spawn(&self, arguments: &[OsString]) -> Result<Child, ServerError> {
        let mut server = Command::new(&self.program);
        server.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        server.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ServerError::Unsupported(self.advice.into()),
            _ => error.into(),
        })
    }

    /// Waits until it answers.
    fn ready(
        &self,
        running: &mut Child,
        address: SocketAddr,
        folder: &Path,
    ) -> Result<(), ServerError> {
        let ours = Ours { process: running.id(), folder };
        for _ in 0..STEPS_UNTIL_READY {
            if running.try_wait()?.is_some() {
                return Err(self.failed("it ended at once".into()));
            }
            if (self.answers)(address, ours) {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        Err(self.failed("it was not ready in time".into()))
    }

    fn failed(&self, said: String) -> ServerError {
        ServerError::Failed { program: self.program.to_string_lossy().into_owned(), said }
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        // Nothing can be done about it here.
        let _ = self.kill();
    }
}

fn if_alive(mut running: Child) -> io::Result<Option<Child>> {
    Ok(running.try_wait()?.is_none().then_some(running))
}

/// A port of 127.0.0.1 for a server that goes and comes.
#[derive(Debug)]
struct Port {
    number: u16,
    /// Bound to it, so that nobody is given it who asks for any port; a server that asks for
    /// this one may have it, as nobody listens here. Elsewhere it could not.
    #[cfg(target_os = "linux")]
    _held: tokio::net::TcpSocket,
}

impl Port {
    #[cfg(target_os = "linux")]
    fn reserve() -> io::Result<Self> {
        let held = tokio::net::TcpSocket::new_v4()?;
        held.set_reuseaddr(true)?;
        held.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        Ok(Self { number: held.local_addr()?.port(), _held: held })
    }

    #[cfg(not(target_os = "linux"))]
    fn reserve() -> io::Result<Self> {
        Ok(Self { number: free_port()? })
    }
}

/// A port that nobody has, for now.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Plain words, and one that is a path or the like.
pub(super) fn words(words: &[&str], last: impl AsRef<OsStr>) -> Vec<OsString> {
    let words = words.iter().map(OsString::from);
    words.chain([last.as_ref().to_owned()]).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn started(program: &str) -> ServerError {
        let advice = "install it";
        let server = Server { program: program.into(), advice, answers: |_, _| false };
        Single::start(server, |port, _| Ok(words(&[], port))).expect_err("no server")
    }

    #[test]
    fn a_server_that_ends_at_once_is_not_waited_for() {
        let error = started("false").to_string();
        assert!(error.contains("it ended at once"), "{error}");
    }

    /// While it does not run, many others ask for one.
    #[test]
    #[cfg(target_os = "linux")]
    fn a_port_is_given_to_who_asks_for_it_and_to_nobody_else() {
        let port = Port::reserve().expect("a port");
        for _ in 0..100 {
            assert_ne!(free_port().expect("another port"), port.number);
        }
        TcpListener::bind((Ipv4Addr::LOCALHOST, port.number)).expect("the port");
    }

    #[test]
    fn a_server_that_is_not_there_comes_with_advice() {
        assert!(matches!(started("no-such-server"), ServerError::Unsupported(_)));
    }
}
