//! The directory of the cache: who may write to it decides what the agent believes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::unistd::geteuid;
use thiserror::Error;

use super::key::Key;

/// How the name of a file begins that is still being written.
pub const UNFINISHED: &str = ".new-";

/// What was still being written so long ago, nobody writes any more.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Mode bits by which others than the owner may write.
const WRITABLE: u32 = 0o022;
/// The mode bit by which in a directory only owners of files may remove them.
const STICKY: u32 = 0o1000;

/// Why the directory is not used.
#[derive(Debug, Error)]
pub enum Refused {
    /// It cannot be made, or looked at.
    #[error("{path}: {source}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a file, or a symbolic link.
    #[error("{0} is no directory")]
    NotADirectory(PathBuf),
    /// Another user could put files there.
    #[error(
        "{0} belongs to another user, or others may write to it: `chown root` and `chmod go-w` it"
    )]
    Exposed(PathBuf),
}

/// A file of the cache.
pub struct Listed {
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// When it was last used.
    pub used: SystemTime,
}

/// Makes the directory where there is none; its path without links. No other user may be able to write
/// to it, or to put another one in its place.
pub fn prepare(path: &Path) -> Result<PathBuf, Refused> {
    let unusable = |source| Refused::Unusable { path: path.to_owned(), source };
    match DirBuilder::new().recursive(true).mode(0o700).create(path) {
        // It is a file, as is told below.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(unusable)?,
    }
    if !fs::symlink_metadata(path).map_err(unusable)?.is_dir() {
        return Err(Refused::NotADirectory(path.to_owned()));
    }
    let path = fs::canonicalize(path).map_err(unusable)?;
    for directory in path.ancestors() {
        let metadata = fs::symlink_metadata(directory).map_err(unusable)?;
        let is_ours = [0, geteuid().as_raw()].contains(&metadata.uid());
        let is_open = metadata.mode() & WRITABLE != 0;
        // In a sticky directory such as /tmp nobody else can rename or remove what is ours.
        let is_sticky = metadata.mode() & STICKY != 0 && directory != path;
        if !is_ours || is_open && !is_sticky {
            return Err(Refused::Exposed(directory.to_owned()));
        }
    }
    Ok(path)
}

/// Opens a file of it. `NotFound` where there is none.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file()
        || metadata.uid() != geteuid().as_raw()
        || metadata.mode() & WRITABLE != 0
    {
        return Err(io::Error::other("it is not the agent's own file"));
    }
    Ok(file)
}

/// Every table in it. What has other names is left alone, but for what an agent that was killed was
/// writing.
pub fn list(path: &Path) -> Vec<Listed> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let listed = entries.flatten().filter_map(|entry| {
        let (name, metadata) = (entry.file_name(), entry.metadata().ok()?);
        let (name, used) = (name.to_str()?, metadata.modified().ok()?);
        let is_old = || SystemTime::now().duration_since(used).is_ok_and(|age| age > ABANDONED);
        if name.starts_with(UNFINISHED) && metadata.is_file() && is_old() {
            // It counts again when it cannot be removed.
            let _ = fs::remove_file(entry.path());
        }
        let is_table = metadata.is_file() && Key::is_file_name(name);
        is_table.then(|| Listed { path: entry.path(), bytes: metadata.len(), used })
    });
    listed.collect()
}
