//! Finding the file behind a mapping, whatever became of its name and of its process.

use std::fs::File;
use std::io;

use super::backing::Backing;
use super::elf::{self, ElfError, Headers, hex};
use super::open::{Stamp, read_held};
use super::procfs::Procfs;
use crate::model::event::{Mmap, MmapId};

/// A file that was opened, and what its headers say.
#[derive(Debug)]
pub(super) struct Found {
    /// The file.
    pub(super) file: File,
    /// What lies where its debug file would be, in the root of its process.
    pub(super) debug: Option<File>,
    /// Which content.
    pub(super) stamp: Stamp,
    /// Its ELF headers.
    pub(super) headers: Result<Headers, ElfError>,
}

/// Why no file was opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFound {
    /// What is mapped must not be opened, or cannot be.
    #[error("it cannot be opened: {0}")]
    Refused(io::Error),
    /// Nothing at the path is proven to be what was mapped.
    #[error(
        "the mapped file is out of reach (its process ended, or the agent lacks CAP_SYS_PTRACE, \
         CAP_DAC_READ_SEARCH or CAP_CHECKPOINT_RESTORE), and no file at its path has its build ID or inode"
    )]
    Unproven,
    /// The file system does not answer.
    #[error("its file system does not answer (a network that is gone, or a daemon that hangs)")]
    NoAnswer,
}

/// Where files are looked for.
pub(super) trait Files {
    /// Opens the file behind a mapping. `parent` is the parent of its process.
    fn find(&self, wanted: &Mmap, parent: Option<u32>) -> Result<Found, NotFound>;

    /// Tells which content is behind a mapping now, without opening it.
    fn stamp(&self, wanted: &Mmap) -> Option<Stamp>;
}

impl Files for Procfs {
    fn find(&self, wanted: &Mmap, parent: Option<u32>) -> Result<Found, NotFound> {
        if let Some(held) = hold_mapped(self, wanted) {
            let found = open(&held).map_err(NotFound::Refused)?;
            if found.is_proven(&wanted.id) || has_path(self, wanted) {
                return Ok(found.with_debug(self, wanted.pid));
            }
        }
        let Backing::File(path) = Backing::of(&wanted.path) else { return Err(NotFound::Unproven) };
        // The first process has the host's root also when the agent itself runs in a container.
        let roots = [Some(wanted.pid), parent, Some(1), Some(std::process::id())];
        roots
            .into_iter()
            .flatten()
            .filter_map(|pid| self.process(pid).and_then(|dir| dir.hold_in_root(path)).ok())
            .filter_map(|held| open(&held).ok())
            .find(|found| found.is_proven(&wanted.id))
            .map(|found| found.with_debug(self, wanted.pid))
            .ok_or(NotFound::Unproven)
    }

    fn stamp(&self, wanted: &Mmap) -> Option<Stamp> {
        Stamp::of(&hold_mapped(self, wanted)?).ok()
    }
}

impl Found {
    /// With the debug file that a container has of it. Those of the host are found without its process.
    fn with_debug(mut self, procfs: &Procfs, pid: u32) -> Self {
        let build_id = self.headers.as_ref().map_or("", |headers| &headers.build_id);
        if let Some(path) = path_by_build_id(build_id)
            && let Ok(dir) = procfs.process(pid)
            && dir.has_own_root()
        {
            let held = dir.hold_in_root(path.as_bytes());
            self.debug = held.and_then(|held| read_held(&held)).ok();
        }
        self
    }

    /// Whether it is the file that the kernel told of. Its path proves nothing.
    fn is_proven(&self, id: &MmapId) -> bool {
        match id {
            MmapId::BuildId(id) => self.headers.as_ref().is_ok_and(|h| h.build_id == hex(id)),
            MmapId::Inode { inode: 0, .. } => false,
            MmapId::Inode { major, minor, inode, .. } => {
                self.stamp.is_inode(*major, *minor, *inode)
            }
        }
    }
}

fn open(held: &File) -> io::Result<Found> {
    let file = read_held(held)?;
    Ok(Found { stamp: Stamp::of(&file)?, headers: elf::read(&file), debug: None, file })
}

/// Where distributions put the debug file of a binary with this build ID, in hex.
fn path_by_build_id(build_id: &str) -> Option<String> {
    let (first, rest) = build_id.split_at_checked(2)?;
    (!rest.is_empty()).then(|| format!("/usr/lib/debug/.build-id/{first}/{rest}.debug"))
}

fn hold_mapped(procfs: &Procfs, wanted: &Mmap) -> Option<File> {
    let end = wanted.start.checked_add(wanted.len)?;
    procfs.process(wanted.pid).ok()?.hold_mapped(wanted.start, end).ok()
}

/// Whether what is mapped at these addresses now has the path that the kernel told. It proves that no
/// other file took its place meanwhile, where inode numbers cannot: Btrfs and overlayfs show others
/// to `stat` than in mappings. Seen from our root, the path in a container or chroot is longer.
fn has_path(procfs: &Procfs, wanted: &Mmap) -> bool {
    let now = procfs
        .process(wanted.pid)
        .and_then(|dir| dir.mapped_path(wanted.start, wanted.start.saturating_add(wanted.len)));
    let is_inode = matches!(wanted.id, MmapId::Inode { .. });
    is_inode && now.is_ok_and(|path| path.ends_with(&wanted.path))
}
