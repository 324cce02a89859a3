//! Opening files that other processes chose, without trusting the choice.
//!
//! A path may be a FIFO that blocks whoever opens it, a device that does something when opened, or a
//! link that climbs out of its container. So every file is first held by an `O_PATH` descriptor,
//! which opens nothing, found to be a regular file, and only then opened through that descriptor:
//! what was judged is what is read.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, makedev};

/// Holds whatever is at `path`, links followed, relative to `dir`. For paths that the kernel made.
pub(super) fn hold(dir: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    Ok(File::from(openat(dir, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?))
}

/// Holds the file at `path` as a process with the root directory `root` would find it: absolute links
/// and `..` end at that root.
pub(super) fn hold_in_root(root: BorrowedFd<'_>, path: &Path) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(File::from(openat2(root, path, how)?))
}

/// Opens for reading what is held, if it is a regular file.
pub(super) fn read_held(held: &File) -> io::Result<File> {
    let kind = held.metadata()?.file_type();
    if !kind.is_file() {
        let what = match () {
            () if kind.is_fifo() => "a FIFO",
            () if kind.is_socket() => "a socket",
            () if kind.is_dir() => "a directory",
            () if kind.is_block_device() || kind.is_char_device() => "a device",
            () => "something else",
        };
        return Err(io::Error::other(format!("{what}, not a regular file")));
    }
    // O_NONBLOCK: a lease that someone holds on the file must not make us wait.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let through = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(File::from(nix::fcntl::open(Path::new(&through), flags, Mode::empty())?))
}

/// What tells one content of a file from another, as far as the file system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stamp {
    /// Device number, as the kernel encodes it for user space.
    pub(super) device: u64,
    /// Inode number.
    pub(super) inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of a file, held or open.
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        Ok(Self {
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// Whether it is the inode that the kernel told of with this device number.
    pub(super) fn is_inode(&self, major: u32, minor: u32, inode: u64) -> bool {
        self.inode == inode && self.device == makedev(major.into(), minor.into())
    }
}

/// Holds a directory, to start from.
pub(super) fn hold_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(nix::fcntl::open(path, flags, Mode::empty())?)
}

/// Holds a directory below one that is held.
pub(super) fn hold_dir_at(dir: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(dir, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use nix::unistd::mkfifo;

    use super::*;

    fn root() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "inside").unwrap();
        dir
    }

    fn read(root: &Path, path: &str) -> io::Result<String> {
        let dir = hold_dir(root)?;
        let file = read_held(&hold_in_root(dir.as_fd(), Path::new(path))?)?;
        io::read_to_string(file)
    }

    #[test]
    fn no_link_leads_out_of_the_root() {
        let root = root();
        for (link, target) in [
            ("bin/climbs", "../../../../../../../../etc/passwd"),
            ("bin/absolute", "/etc/passwd"),
            ("bin/chained", "climbs"),
        ] {
            symlink(target, root.path().join(link)).unwrap();
            assert_eq!(read(root.path(), &format!("/{link}")).unwrap(), "inside", "{link}");
        }
        symlink("/proc/self/root/etc/passwd", root.path().join("bin/magic")).unwrap();
        assert!(read(root.path(), "/bin/magic").is_err());
        assert_eq!(read(root.path(), "/../../etc/passwd").unwrap(), "inside");
    }

    #[test]
    fn nothing_that_blocks_is_opened() {
        let root = root();
        mkfifo(&root.path().join("fifo"), Mode::S_IRWXU).unwrap();
        let error = read(root.path(), "/fifo").unwrap_err();
        assert_eq!(error.to_string(), "a FIFO, not a regular file");
        let error = read(root.path(), "/etc").unwrap_err();
        assert_eq!(error.to_string(), "a directory, not a regular file");
        let error = read(Path::new("/"), "/dev/null").unwrap_err();
        assert_eq!(error.to_string(), "a device, not a regular file");
    }

    #[test]
    fn a_stamp_changes_with_the_content() {
        let root = root();
        let path = root.path().join("etc/passwd");
        let before = Stamp::of(&File::open(&path).unwrap()).unwrap();
        assert_eq!(before, Stamp::of(&File::open(&path).unwrap()).unwrap());
        std::fs::write(root.path().join("new"), "other").unwrap();
        std::fs::rename(root.path().join("new"), &path).unwrap();
        assert_ne!(before, Stamp::of(&File::open(&path).unwrap()).unwrap());
    }
}
