//! The store's directory: that it is fit to hold what a host does, and that one process writes to it.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::files;

/// A directory that this process has to itself, until it is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

/// Why a directory cannot be had: for good, or for now.
pub(super) enum Refusal {
    /// Told to the user; nothing that time mends.
    Unfit(StoreError),
    /// It may work later.
    Now(io::Error),
}

impl Directory {
    /// Makes the directory if it is not there, and takes the lock.
    pub(super) fn take(path: &Path) -> Result<Self, Refusal> {
        make(path).map_err(Refusal::Now)?;
        check(path)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what was created, renamed or removed in it last.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn make(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            DirBuilder::new().mode(0o700).create(path)
        }
        Err(error) => Err(error),
    }
}

/// Whoever can read the store knows what every process of the host does; whoever can write to it can
/// put databases before us that were made to harm.
fn check(path: &Path) -> Result<(), Refusal> {
    let unfit = |reason: &str| {
        let (path, reason) = (path.to_path_buf(), reason.to_owned());
        Refusal::Unfit(StoreError::Unfit { path, reason })
    };
    let meta = fs::symlink_metadata(path).map_err(Refusal::Now)?;
    if meta.file_type().is_symlink() {
        return Err(unfit("it is a symbolic link; name the directory itself"));
    }
    if !meta.is_dir() {
        return Err(unfit("it is not a directory"));
    }
    let uid = nix::unistd::geteuid().as_raw();
    if meta.uid() != uid && meta.uid() != 0 {
        return Err(unfit(
            "another user owns it; give it to the user of the agent, or name another",
        ));
    }
    for entry in fs::read_dir(path).map_err(Refusal::Now)? {
        let name = entry.map_err(Refusal::Now)?.file_name();
        if !files::is_ours(&name) {
            let reason = format!(
                "it holds {}, which is none of the store's; name a directory of its own",
                Path::new(&name).display()
            );
            return Err(unfit(&reason));
        }
    }
    if meta.mode() & 0o077 != 0 && meta.uid() == uid {
        // On a read-only disk it stays as it is.
        match fs::set_permissions(path, Permissions::from_mode(0o700)) {
            Err(error) if error.kind() != io::ErrorKind::ReadOnlyFilesystem => {
                return Err(Refusal::Now(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The lock goes with the process, however it ends. The file says whose it is.
fn lock(directory: &Path) -> Result<File, Refusal> {
    let mut file =
        files::open_writable(&directory.join(files::LOCK), true).map_err(Refusal::Now)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // A hint for people; without it they know at least that there is someone.
            let _ = file.take(64).read_to_string(&mut text);
            return Err(Refusal::Unfit(StoreError::InUse {
                path: directory.to_path_buf(),
                holder: holder(&text),
            }));
        }
        Err(TryLockError::Error(error)) => return Err(Refusal::Now(error)),
    }
    let note = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    // The lock counts, not the note: a full disk is no reason to do without.
    let _ = note(&mut file);
    Ok(file)
}

fn holder(text: &str) -> String {
    let Ok(pid) = text.trim().parse::<u32>() else { return "another process".to_owned() };
    match fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("process {pid} ({})", name.trim().escape_debug()),
        Err(_) => format!("process {pid}"),
    }
}
