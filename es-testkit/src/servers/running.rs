use std::{
    fs,
    io::{self, PipeReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use super::ServerError;

/// How often a server is asked whether it is ready, or gone.
const STEP: Duration = Duration::from_millis(10);

/// A minute; a recovery may take a while on a busy machine.
const STEPS_UNTIL_READY: usize = 6_000;

/// Ten seconds; Postgres itself kills after five what does not end.
const STEPS_UNTIL_STOPPED: u32 = 1_000;

/// A server that runs: its first process, and a pipe that all of its processes
/// hold open.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) postmaster: Child,
    pub(super) open: PipeReader,
}

impl Running {
    /// Returns when connections are accepted, which the server itself writes
    /// into a file.
    pub(super) fn ready(&mut self, data: &Path) -> Result<(), String> {
        for _ in 0..STEPS_UNTIL_READY {
            if self.ended() {
                return Err("it ended at once".to_owned());
            }
            let said = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
            let mut lines = said.lines().map(str::trim);
            // The file of a server that was killed is still there.
            if lines.next() == Some(&self.id().to_string()) && lines.any(|line| line == "ready") {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        Err("it was not ready in time".to_owned())
    }

    pub(super) fn pause(&self) -> io::Result<()> {
        // A process that stands still begets no others while they are listed.
        signal("STOP", &[self.id()])?;
        signal("STOP", &self.family()?)
    }

    pub(super) fn resume(&self) -> io::Result<()> {
        signal("CONT", &self.family()?)
    }

    pub(super) fn kill(mut self) -> Result<(), ServerError> {
        if self.ended() {
            return self.gone();
        }
        signal("STOP", &[self.id()])?;
        let family = self.family();
        self.postmaster.kill()?;
        signal("KILL", &family?)?;
        self.gone()
    }

    /// Ends it without care for its clients, but so that it tidies up.
    pub(super) fn stop(mut self) -> Result<(), ServerError> {
        if self.ended() {
            return self.gone();
        }
        // Who stands still does not hear. Without `ps` nobody was paused.
        let _ = self.resume();
        signal("QUIT", &[self.id()])?;
        for _ in 0..STEPS_UNTIL_STOPPED {
            if self.ended() {
                return Ok(());
            }
            thread::sleep(STEP);
        }
        self.kill()
    }

    /// Returns when the pipe is closed, and so the last process is gone.
    fn gone(mut self) -> Result<(), ServerError> {
        self.postmaster.wait()?;
        let (tell, told) = sync_channel(1);
        thread::spawn(move || tell.send(self.open.read_to_end(&mut Vec::new())));
        let said = "its processes do not end".to_owned();
        let failed = ServerError::Failed { program: "postgres".to_owned(), said };
        told.recv_timeout(STEP * STEPS_UNTIL_STOPPED).map_err(|_| failed)??;
        Ok(())
    }

    /// Whether the number of the first process is free for another.
    fn ended(&mut self) -> bool {
        self.postmaster.try_wait().is_ok_and(|status| status.is_some())
    }

    fn id(&self) -> u32 {
        self.postmaster.id()
    }

    fn family(&self) -> io::Result<Vec<u32>> {
        family(self.id())
    }
}

/// A process and its children.
fn family(parent: u32) -> io::Result<Vec<u32>> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="]).output()?;
    if !listed.status.success() {
        return Err(io::Error::other("`ps` does not list the processes"));
    }
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let children = listed.lines().filter_map(|line| {
        let (process, of) = line.trim().split_once(char::is_whitespace)?;
        (of.trim().parse() == Ok(parent)).then(|| process.parse().ok()).flatten()
    });
    Ok(std::iter::once(parent).chain(children).collect())
}

/// Sends a signal. Who is gone already does not mind. The shell does it: it is
/// everywhere, which a program `kill` is not.
fn signal(name: &str, processes: &[u32]) -> io::Result<()> {
    let mut kill = Command::new("sh");
    kill.args(["-c", r#"kill -s "$@""#, "kill", name]);
    kill.args(processes.iter().map(u32::to_string)).stderr(Stdio::null()).status()?;
    Ok(())
}
