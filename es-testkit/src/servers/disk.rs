use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    ServerError,
    programs::{Account, output},
};

/// Room for an empty server, the logs it keeps, and some 100 MB.
const SIZE: &str = "200m";

/// A small file system in memory, which only root may mount.
#[derive(Debug)]
pub(super) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts it for the account, which root has for its servers.
    pub(super) fn mount(path: &Path, account: Option<&Account>) -> Result<Self, ServerError> {
        let Some(Account { user, group }) = account else {
            return Err(ServerError::Unsupported("only root may mount a small disk".to_owned()));
        };
        fs::create_dir(path)?;
        let options = format!("size={SIZE},mode=0700,uid={user},gid={group}");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "gesta-test"]).arg(path);
        output(&mut mount).map_err(|error| ServerError::Unsupported(error.to_string()))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Leaves not a byte.
    pub(super) fn fill(&self) -> io::Result<()> {
        let mut ballast = fs::File::options().append(true).create(true).open(self.ballast())?;
        match io::copy(&mut io::repeat(0), &mut ballast) {
            Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn make_room(&self) -> io::Result<()> {
        fs::remove_file(self.ballast())
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that would not end may still sit on it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}
