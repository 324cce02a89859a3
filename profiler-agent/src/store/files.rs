//! Names and opening of the store's files: nothing outside of the directory is reached through a link,
//! and nobody else may read them.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// Ending of what could not be read or repaired.
pub(super) const BROKEN: &str = "broken";
/// Ending of what another version wrote.
pub(super) const OLD_VERSION: &str = "old-version";
/// What the sinks have settled.
pub(super) const CURSORS: &str = "cursors.redb";
/// Held by the writer.
pub(super) const LOCK: &str = "lock";
/// Ending of a segment.
const SEGMENT: &str = ".redb";
/// Ending of a file that is being made.
pub(super) const NEW: &str = ".new";

/// The name of the segment whose first window has this number.
pub(super) fn segment_name(first: u64) -> String {
    format!("{first:020}{SEGMENT}")
}

/// The number of a segment's first window, by its name.
pub(super) fn segment_number(name: &OsStr) -> Option<u64> {
    let digits = name.to_str()?.strip_suffix(SEGMENT)?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    is_ours.then(|| digits.parse().ok()).flatten()
}

/// Whether a file was set aside, and is thus no part of the store any more.
pub(super) fn is_set_aside(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    [BROKEN, OLD_VERSION].iter().any(|ending| name.contains(&format!("{SEGMENT}.{ending}")))
}

/// Whether a name is one that the store gives.
pub(super) fn is_ours(name: &OsStr) -> bool {
    name == LOCK
        || name == CURSORS
        || segment_number(name).is_some()
        || is_set_aside(name)
        || name.to_string_lossy().ends_with(&format!("{SEGMENT}{NEW}"))
}

/// Opens a file for reading and writing that exists, or makes it.
pub(super) fn open_writable(path: &Path, make: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(make).mode(0o600);
    regular(options.custom_flags(no_link()).open(path)?)
}

/// Opens a file for reading.
pub(super) fn open_readable(path: &Path) -> io::Result<File> {
    regular(OpenOptions::new().read(true).custom_flags(no_link()).open(path)?)
}

/// A link is an error, and a FIFO does not hang.
fn no_link() -> i32 {
    (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits()
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a regular file"))
    }
}

/// Bytes that a file takes on the disk. Databases have holes, so their length says more than they take.
pub(super) fn bytes_on_disk(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |meta| meta.blocks().saturating_mul(512))
}

/// Gives a file an ending under which nobody looks for it, without hiding an earlier one.
pub(super) fn set_aside(path: &Path, ending: &str) -> io::Result<PathBuf> {
    let with = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if n == 0 { format!(".{ending}") } else { format!(".{ending}-{n}") });
        PathBuf::from(name)
    };
    let free = (0..10_000).map(with).find(|to| fs::symlink_metadata(to).is_err());
    let to = free.ok_or_else(|| io::Error::other("too many files were set aside before"))?;
    fs::rename(path, &to)?;
    Ok(to)
}

/// Removes the broken files beyond the newest few. Says how many.
pub(super) fn keep_broken(directory: &Path, kept: usize) -> io::Result<u64> {
    let mut broken = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(&format!("{SEGMENT}.{BROKEN}")) {
            let meta = fs::symlink_metadata(&path)?;
            // A rename changes the inode, so this is when it was set aside.
            broken.push(((meta.ctime(), meta.ctime_nsec()), path));
        }
    }
    broken.sort();
    let excess = broken.len().saturating_sub(kept);
    for (_, path) in broken.into_iter().take(excess) {
        fs::remove_file(path)?;
    }
    Ok(excess as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised() {
        let name = segment_name(7);
        assert_eq!(segment_number(OsStr::new(&name)), Some(7));
        for foreign in ["7.redb", "notes.txt", "cursors.redb", "0000000000000000000x.redb"] {
            assert_eq!(segment_number(OsStr::new(foreign)), None, "{foreign}");
        }
        for ending in ["broken", "old-version-3"] {
            let aside = format!("{name}.{ending}");
            assert!(is_set_aside(OsStr::new(&aside)) && is_ours(OsStr::new(&aside)));
            assert_eq!(segment_number(OsStr::new(&aside)), None);
        }
        assert!(is_ours(OsStr::new(&name)) && !is_set_aside(OsStr::new(&name)));
        assert!(!is_ours(OsStr::new("notes.txt")));
    }
}
