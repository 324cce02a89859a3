//! Debug files that distributions ship beside stripped binaries: found by build ID or by debug link
//! under the debug directories, and taken only when they prove to belong to the binary.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use flate2::Crc;
use nix::fcntl::OFlag;

use super::elf::Elf;
use super::text::until_nul;
use crate::model::frame::Binary;

/// Bytes of a debug file whose checksum is computed at most: 1 GiB takes half a second.
const MAX_CHECKED: u64 = 1 << 30;
/// Longest debug link, bytes: a file name, padding and a checksum.
const MAX_LINK: u64 = 512;

/// A debug file.
#[derive(Clone, Debug)]
pub struct DebugFile {
    /// The file.
    pub file: Arc<File>,
    /// Where it was found.
    pub path: PathBuf,
}

/// The debug file of a binary, if its container or one of the directories has it: what describes its code,
/// for others than this stage.
pub fn of_binary(binary: &Binary, directories: &[PathBuf]) -> Option<DebugFile> {
    let own = binary.debug.as_ref().and_then(|own| {
        let path = path_by_build_id(Path::new("/usr/lib/debug"), &binary.build_id)?;
        Some(DebugFile { file: own_file(own, &binary.build_id)?.into_file(), path })
    });
    own.or_else(|| of_file(binary.file.as_ref()?, &binary.path, &binary.build_id, directories))
}

/// The debug file of a file. `path` is its, as its processes see it; `build_id` is in hex, and read from
/// the file where it is empty.
pub fn of_file(
    file: &Arc<File>,
    path: &str,
    build_id: &str,
    directories: &[PathBuf],
) -> Option<DebugFile> {
    if directories.is_empty() {
        return None;
    }
    let elf = Elf::open(Arc::clone(file)).ok()?;
    let read = if build_id.is_empty() { elf.build_id() } else { String::new() };
    let build_id = if build_id.is_empty() { &read } else { build_id };
    let (path, debug) = find_at(&elf, path, build_id, directories)?;
    Some(DebugFile { file: debug.into_file(), path })
}

/// The debug file of a binary, if its container or one of the directories has it.
pub(super) fn find(elf: &Elf, binary: &Binary, directories: &[PathBuf]) -> Option<Elf> {
    let own = binary.debug.as_ref().and_then(|own| own_file(own, &binary.build_id));
    own.or_else(|| {
        find_at(elf, &binary.path, &binary.build_id, directories).map(|(_, debug)| debug)
    })
}

/// What a container has as the debug file of a binary, if it has its build ID.
fn own_file(file: &Arc<File>, build_id: &str) -> Option<Elf> {
    let debug = Elf::open(Arc::clone(file)).ok()?;
    (!build_id.is_empty() && debug.build_id() == build_id).then_some(debug)
}

fn find_at(elf: &Elf, path: &str, id: &str, directories: &[PathBuf]) -> Option<(PathBuf, Elf)> {
    by_build_id(id, directories).or_else(|| by_link(elf, path, id, directories))
}

fn by_build_id(build_id: &str, directories: &[PathBuf]) -> Option<(PathBuf, Elf)> {
    directories.iter().find_map(|directory| {
        let path = path_by_build_id(directory, build_id)?;
        let debug = open(&path).filter(|debug| debug.build_id() == build_id)?;
        Some((path, debug))
    })
}

fn path_by_build_id(directory: &Path, build_id: &str) -> Option<PathBuf> {
    if !build_id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let (first, rest) = build_id.split_at_checked(2)?;
    Some(directory.join(format!(".build-id/{first}/{rest}.debug")))
}

/// As debuggers do: `<directory>/<path of the binary>/<link>`. Not beside the binary, where whoever
/// owns it could place what is read here as root.
fn by_link(
    elf: &Elf,
    path: &str,
    build_id: &str,
    directories: &[PathBuf],
) -> Option<(PathBuf, Elf)> {
    let (name, checksum) = debug_link(elf)?;
    let parent = inside_root(Path::new(path).parent()?);
    directories.iter().find_map(|directory| {
        let candidate = directory.join(&parent).join(&name);
        let debug = open(&candidate)?;
        let theirs = debug.build_id();
        let belongs = if build_id.is_empty() || theirs.is_empty() {
            checksum_of(&candidate) == Some(checksum)
        } else {
            theirs == build_id
        };
        belongs.then_some((candidate, debug))
    })
}

/// File name and CRC-32 of a `.gnu_debuglink`.
fn debug_link(elf: &Elf) -> Option<(String, u32)> {
    let contents = elf.contents(elf.section(".gnu_debuglink")?, MAX_LINK).ok()?;
    let name = until_nul(&contents);
    // The checksum follows the name's NUL at a multiple of four.
    let at = (name.len() + 1).next_multiple_of(4);
    let checksum = contents.get(at..at + 4)?.try_into().ok()?;
    let name = str::from_utf8(name).ok()?;
    let is_plain = !name.is_empty() && name != "." && name != ".." && !name.contains('/');
    is_plain.then(|| (name.to_owned(), u32::from_le_bytes(checksum)))
}

/// The normal components of a path: relative, and without a way up.
fn inside_root(path: &Path) -> PathBuf {
    path.components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn open(path: &Path) -> Option<Elf> {
    Elf::open(Arc::new(open_regular(path)?)).ok()
}

/// Opens a regular file, and nothing else: opening a FIFO waits, opening a device may do anything. So
/// it is looked at before it is really opened.
fn open_regular(path: &Path) -> Option<File> {
    let look = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path).ok()?;
    if !look.metadata().ok()?.is_file() {
        return None;
    }
    File::open(format!("/proc/self/fd/{}", look.as_raw_fd())).ok()
}

fn checksum_of(path: &Path) -> Option<u32> {
    let mut file = open_regular(path)?.take(MAX_CHECKED);
    let mut crc = Crc::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => break,
            n => crc.update(buffer.get(..n)?),
        }
    }
    (file.limit() > 0).then(|| crc.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_debug_directory() {
        for (path, inside) in [
            ("/usr/bin", "usr/bin"),
            ("/", ""),
            ("relative/../../up", "relative/up"),
            ("/../../etc", "etc"),
        ] {
            assert_eq!(inside_root(Path::new(path)), Path::new(inside));
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_regular(&fifo).is_none());
        assert!(open_regular(Path::new("/dev/zero")).is_none());
        assert!(open_regular(Path::new("/proc/self/exe")).is_some());
    }
}
