use std::{
    env, fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use super::ServerError;

/// The environment variable that names the folder of the programs.
const NAMED: &str = "GESTA_POSTGRES_BIN";

/// Where packages put them: a folder, the beginning of the name that ends with
/// the version, and what follows it.
const PACKAGED: [(&str, &str, &str); 5] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/usr/libexec", "postgresql", ""),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// The programs of a Postgres server, and the account that runs them.
#[derive(Debug)]
pub(super) struct Programs {
    folder: PathBuf,
    account: Option<Account>,
}

impl Programs {
    /// Those that the environment names; else those on the path; else the newest
    /// that a package has installed.
    pub(super) fn find() -> Result<Self, ServerError> {
        let named = env::var_os(NAMED).map(|folder| complete(Path::new(&folder)));
        let folder = named.unwrap_or_else(|| on_path().or_else(packaged));
        Ok(Self { folder: folder.ok_or(ServerError::Missing)?, account: None })
    }

    /// Postgres refuses to run as root: for root, another account owns what is
    /// in this new folder, and runs the programs.
    pub(super) fn give(&mut self, folder: &Path) -> Result<(), ServerError> {
        if fs::metadata(folder)?.uid() == 0 {
            let account = Account::other_than_root()?;
            std::os::unix::fs::chown(folder, Some(account.user), Some(account.group))?;
            self.account = Some(account);
        }
        Ok(())
    }

    pub(super) fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// One of the programs, to be run in this folder.
    pub(super) fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = Command::new(self.folder.join(program));
        command.current_dir(folder).stdin(Stdio::null());
        if let Some(account) = &self.account {
            command.uid(account.user).gid(account.group);
        }
        command
    }
}

/// Runs a program to its success, and hands over what it said.
pub(super) fn output(command: &mut Command) -> Result<String, ServerError> {
    let Output { status, stdout, stderr } = command.output()?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let program = command.get_program().to_string_lossy().into_owned();
    Err(ServerError::Failed { program, said: String::from_utf8_lossy(&stderr).into_owned() })
}

/// A user and a group of this machine.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Account {
    fn other_than_root() -> Result<Self, ServerError> {
        let accounts = fs::read_to_string("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::named(name, &accounts));
        let why = "Postgres does not run as root, and there is no account `postgres` or `nobody`";
        found.ok_or_else(|| ServerError::Unsupported(why.to_owned()))
    }

    fn named(name: &str, accounts: &str) -> Option<Self> {
        let fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let account = fields.into_iter().find(|fields| fields[0] == name)?;
        Some(Self { user: account.get(2)?.parse().ok()?, group: account.get(3)?.parse().ok()? })
    }
}

/// The folder itself, wherever a link leads, if the server is in it.
fn complete(folder: &Path) -> Option<PathBuf> {
    let initdb = folder.join("initdb");
    let server = folder.join("postgres").canonicalize().ok()?;
    initdb.exists().then(|| server.parent().map(Path::to_owned)).flatten()
}

fn on_path() -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).find_map(|folder| complete(&folder))
}

fn packaged() -> Option<PathBuf> {
    let found = PACKAGED.iter().flat_map(|(folder, name, bin)| versions(folder, name, bin));
    found.max_by_key(|(version, _)| *version).map(|(_, folder)| folder)
}

fn versions(folder: &str, name: &str, bin: &str) -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(io::Result::ok);
    let versions = entries.filter_map(|entry| {
        let version = entry.file_name().to_str()?.strip_prefix(name)?.parse().ok()?;
        Some((version, complete(&entry.path().join(bin))?))
    });
    versions.collect()
}
