//! What `/proc` says of one process. The directory of the process is held while it is read, so that
//! all answers are of one process even when its number is given away meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};

use super::maps::{self, Maps};
use super::open::{Stamp, hold, hold_dir, hold_dir_at, hold_in_root};

/// Longest of the small files (`status`, `comm`, `cgroup`) that is read.
const MAX_SMALL: u64 = 64 * 1024;

/// Longest list of mounts that is read: hosts of containers have thousands.
const MAX_MOUNTS: u64 = 4 << 20;

/// A procfs.
#[derive(Clone, Debug)]
pub(super) struct Procfs {
    path: PathBuf,
}

impl Procfs {
    /// The one that is mounted there.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Every process that lives.
    pub(super) fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(pids)
    }

    /// Whether a process has a thread that lives, other than the first.
    pub(super) fn has_other_threads(&self, pid: u32) -> bool {
        let Ok(threads) = std::fs::read_dir(self.path.join(format!("{pid}/task"))) else {
            return false;
        };
        let first = pid.to_string();
        threads.flatten().any(|thread| thread.file_name() != first.as_str())
    }

    /// Holds the directory of a process, or of a thread.
    pub(super) fn process(&self, pid: u32) -> io::Result<ProcessDir> {
        Ok(ProcessDir { pid, fd: hold_dir(&self.path.join(pid.to_string()))? })
    }
}

/// The directory of one process.
#[derive(Debug)]
pub(super) struct ProcessDir {
    pid: u32,
    fd: OwnedFd,
}

impl ProcessDir {
    /// A small file of it, cut where it is longer than any of the kernel's.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.open(name)?.take(MAX_SMALL).read_to_end(&mut text)?;
        Ok(text)
    }

    /// The path of its executable, as the process sees it.
    ///
    /// # Errors
    /// Where it has none, as threads of the kernel.
    pub(super) fn executable(&self) -> io::Result<Vec<u8>> {
        let path = nix::fcntl::readlinkat(&self.fd, "exe")?;
        Ok(path.as_bytes().to_vec())
    }

    /// What is mounted where it lives.
    pub(super) fn mounts(&self) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        self.open("mountinfo")?.take(MAX_MOUNTS).read_to_end(&mut text)?;
        Ok(text)
    }

    /// Its executable mappings, at most `limit` of them.
    pub(super) fn maps(&self, time_ns: u64, limit: usize) -> io::Result<Maps> {
        maps::read(BufReader::new(self.open("maps")?), self.pid, time_ns, limit)
    }

    /// Holds the file behind a mapping: also one that was deleted, that is in another mount
    /// namespace, or that never had a name. Needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.
    pub(super) fn hold_mapped(&self, start: u64, end: u64) -> io::Result<File> {
        hold(self.fd.as_fd(), &map_file(start, end))
    }

    /// The path behind a mapping, seen from our root.
    pub(super) fn mapped_path(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        let path = nix::fcntl::readlinkat(&self.fd, &map_file(start, end))?;
        Ok(path.as_bytes().to_vec())
    }

    /// Whether it lives in another root directory than the agent.
    pub(super) fn has_own_root(&self) -> bool {
        let theirs =
            hold_dir_at(&self.fd, Path::new("root")).and_then(|root| Stamp::of(&root.into()));
        let ours = hold_dir(Path::new("/")).and_then(|root| Stamp::of(&root.into()));
        let directory = |stamp: Stamp| (stamp.device, stamp.inode);
        matches!((theirs, ours), (Ok(theirs), Ok(ours)) if directory(theirs) != directory(ours))
    }

    /// Holds the file at a path, in the root directory of the process.
    pub(super) fn hold_in_root(&self, path: &[u8]) -> io::Result<File> {
        let root = hold_dir_at(&self.fd, Path::new("root"))?;
        hold_in_root(root.as_fd(), Path::new(OsStr::from_bytes(path)))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }
}

fn map_file(start: u64, end: u64) -> PathBuf {
    PathBuf::from(format!("map_files/{start:x}-{end:x}"))
}

/// The moment, on the clock that events are stamped with (CLOCK_MONOTONIC, ns).
pub(super) fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| std::time::Duration::from(time).as_nanos())
        .ok()
        .and_then(|ns| u64::try_from(ns).ok())
        .unwrap_or_default()
}
