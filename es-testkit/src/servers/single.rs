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
/// Twenty seconds.
const STEPS_UNTIL_READY: usize = 2_000;

/// A server that is one process, with a folder and a port of 127.0.0.1 of its own. It is
/// killed when it is dropped.
#[derive(Debug)]
pub(super) struct Single {
    server: Server,
    arguments: Vec<OsString>,
    port: u16,
    _folder: TempDir,
    running: Option<Child>,
}

/// What kind of server it is.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) program: OsString,
    /// What to do if there is no such program.
    pub(super) advice: &'static str,
    /// Whether one answers there.
    pub(super) answers: fn(SocketAddr) -> bool,
}

impl Single {
    /// Starts one, with the arguments that its port and its folder need.
    pub(super) fn start(
        server: Server,
        arguments: impl FnOnce(&str, &Path) -> Vec<OsString>,
    ) -> Result<Self, ServerError> {
        let (port, folder) = (free_port()?, tempfile::tempdir()?);
        let arguments = arguments(&port.to_string(), folder.path());
        let mut single = Self { server, arguments, port, _folder: folder, running: None };
        single.restart()?;
        Ok(single)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
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
        self.server.ready(self.running.insert(running), address)
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
    fn ready(&self, running: &mut Child, address: SocketAddr) -> Result<(), ServerError> {
        for _ in 0..STEPS_UNTIL_READY {
            if running.try_wait()?.is_some() {
                return Err(self.failed("it ended at once".into()));
            }
            if (self.answers)(address) {
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
        let server = Server { program: program.into(), advice, answers: |_| false };
        Single::start(server, |port, _| words(&[], port)).expect_err("no server")
    }

    #[test]
    fn a_server_that_ends_at_once_is_not_waited_for() {
        let error = started("false").to_string();
        assert!(error.contains("it ended at once"), "{error}");
    }

    #[test]
    fn a_server_that_is_not_there_comes_with_advice() {
        assert!(matches!(started("no-such-server"), ServerError::Unsupported(_)));
    }
}
