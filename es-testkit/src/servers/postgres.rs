use std::{
    fs,
    fs::File,
    io,
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{
    ServerError,
    disk::SmallDisk,
    programs::{Programs, output},
    running::Running,
    single::free_port,
};

/// Another program may take a port that was free a moment ago.
const PORTS: usize = 3;

/// A Postgres server of a test's own, in a temporary folder and on a free port
/// of 127.0.0.1, for the user `postgres` without a password.
///
/// It does what production does: `fsync` is on. It is stopped and removed when
/// it is dropped, also by a panic. Every method blocks; those that start the
/// server return when it accepts connections.
///
/// ```no_run
/// use es_testkit::servers::PrivatePostgres;
///
/// let mut postgres = PrivatePostgres::start_with(&[("max_connections", "300")])?;
/// println!("it answers at {}", postgres.url());
/// postgres.kill()?;    // as by kill -9, with all its processes
/// postgres.restart()?; // the same port, the same data
/// # Ok::<(), es_testkit::servers::ServerError>(())
/// ```
#[derive(Debug)]
pub struct PrivatePostgres {
    programs: Programs,
    settings: Vec<String>,
    port: u16,
    running: Option<Running>,
    data: PathBuf,
    // Dropped after the server is gone, and in this order.
    disk: Option<SmallDisk>,
    folder: TempDir,
}

impl PrivatePostgres {
    /// Starts one with the settings that Postgres comes with.
    ///
    /// # Errors
    ///
    /// [`ServerError::Missing`] if no server is installed.
    pub fn start() -> Result<Self, ServerError> {
        Self::start_with(&[])
    }

    /// What it has written to its log.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.path().join("log"))
    }

    /// Starts one with these settings of `postgresql.conf`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Missing`] if no server is installed.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        Self::prepare(settings)?.create()
    }

    /// Starts one on a disk of 200 MB, which [`fill`](Self::fill) fills.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if it may not be mounted: only root may.
    pub fn start_on_small_disk(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let mut server = Self::prepare(settings)?;
        let path = server.folder.path().join("disk");
        server.data = path.join("data");
        server.disk = Some(SmallDisk::mount(&path, server.programs.account())?);
        server.create()
    }

    /// The user `postgres` and the database of that name.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The port, for as long as this server lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all processes at once by SIGKILL, and returns when they are gone.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.running.take().map_or(Ok(()), Running::kill)
    }

    /// Starts again on the same port and data; kills first what still runs.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] with the end of the log, if it does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.kill()?;
        self.launch()
    }

    /// Lets all processes stand still: connections stay, and nobody answers.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed.
    pub fn pause(&self) -> Result<(), ServerError> {
        Ok(self.running.as_ref().map_or(Ok(()), Running::pause)?)
    }

    /// Lets all processes go on.
    ///
    /// # Errors
    ///
    /// If the processes cannot be listed.
    pub fn resume(&self) -> Result<(), ServerError> {
        Ok(self.running.as_ref().map_or(Ok(()), Running::resume)?)
    }

    /// Fills the disk of a server that was started on a small one. Postgres may
    /// go down by it, and needs [`restart`](Self::restart) once there is room.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if it was started on another disk.
    pub fn fill(&self) -> Result<(), ServerError> {
        Ok(self.disk()?.fill()?)
    }

    /// Takes away what [`fill`](Self::fill) has put there.
    ///
    /// # Errors
    ///
    /// [`ServerError::Unsupported`] if it was started on another disk.
    pub fn make_room(&self) -> Result<(), ServerError> {
        Ok(self.disk()?.make_room()?)
    }

    /// What is in its database, as SQL, by `pg_dump`.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] with what `pg_dump` said.
    pub fn dump(&self) -> Result<String, ServerError> {
        output(self.command("pg_dump").args(["--dbname", &self.url()]))
    }

    /// Runs SQL such as [`dump`](Self::dump) hands over, all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] with what `psql` said.
    pub fn restore_from(&self, sql: &str) -> Result<(), ServerError> {
        self.psql(sql).map(drop)
    }

    /// Runs SQL in one transaction by `psql`, and hands over the rows: a line
    /// each, with `|` between the values.
    ///
    /// # Errors
    ///
    /// [`ServerError::Failed`] with what `psql` said.
    pub fn psql(&self, sql: &str) -> Result<String, ServerError> {
        // A file, because a pipe would have to be written and read at once.
        let mut script = tempfile::tempfile()?;
        script.write_all(sql.as_bytes())?;
        script.rewind()?;
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        psql.args(["--single-transaction", "--set", "ON_ERROR_STOP=1", "--file=-"]);
        output(psql.args(["--dbname", &self.url()]).stdin(script))
    }

    fn prepare(settings: &[(&str, &str)]) -> Result<Self, ServerError> {
        let mut programs = Programs::find()?;
        let folder = tempfile::Builder::new().prefix("gesta-postgres-").tempdir()?;
        programs.give(folder.path())?;
        let settings = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let data = folder.path().join("data");
        Ok(Self { programs, settings, port: 0, running: None, data, disk: None, folder })
    }

    fn create(mut self) -> Result<Self, ServerError> {
        let mut initdb = self.command("initdb");
        initdb.args(["--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8"]);
        // Not synced: what initdb writes need not survive a loss of power.
        initdb.args(["--no-sync", "--pgdata"]).arg(&self.data);
        output(&mut initdb)?;
        let mut ports = 0..PORTS;
        loop {
            self.port = free_port()?;
            ports.next();
            match self.launch() {
                Err(_) if !ports.is_empty() => {}
                launched => return launched.map(|()| self),
            }
        }
    }

    /// A signal of the terminal reaches the server too, because it is in the
    /// same group of processes: it ends with a test that is broken off.
    fn launch(&mut self) -> Result<(), ServerError> {
        let (open, held) = io::pipe()?;
        let log = self.folder.path().join("log");
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        postgres.arg("-k").arg(self.folder.path()).args(["-h", "127.0.0.1"]);
        postgres.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        postgres.stdout(held).stderr(File::options().append(true).create(true).open(&log)?);
        let running = Running { postmaster: postgres.spawn()?, open };
        // It holds the pipe open too.
        drop(postgres);
        match self.running.insert(running).ready(&self.data) {
            Ok(()) => Ok(()),
            Err(why) => {
                self.stop();
                let said = format!("{why}\n{}", tail(&log));
                Err(ServerError::Failed { program: "postgres".to_owned(), said })
            }
        }
    }

    fn stop(&mut self) {
        // Nobody is there to be told; what is left is a folder at worst.
        let _ = self.running.take().map(Running::stop);
    }

    fn command(&self, program: &str) -> Command {
        self.programs.command(program, self.folder.path())
    }

    fn disk(&self) -> Result<&SmallDisk, ServerError> {
        let why = "only a server on a small disk can be filled up";
        self.disk.as_ref().ok_or_else(|| ServerError::Unsupported(why.to_owned()))
    }
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = said.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
