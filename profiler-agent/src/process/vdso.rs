//! The vDSO: an ELF file that exists only in memory, the same in every process of the machine. Ours is
//! copied once, so that it can be symbolized like any file.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::elf::{self, Headers};
use super::maps;

/// Longest image that is copied.
const MAX_SIZE: u64 = 1 << 20;

/// Its headers, and a copy of the image.
pub(super) fn read() -> io::Result<(Headers, File)> {
    let copy = image()?;
    Ok((elf::read(&copy).map_err(io::Error::other)?, copy))
}

fn image() -> io::Result<File> {
    let maps = maps::read(BufReader::new(File::open("/proc/self/maps")?), 0, 0, usize::MAX)?;
    let vdso = maps
        .mappings
        .iter()
        .find(|m| m.path == b"[vdso]")
        .ok_or_else(|| io::Error::other("this kernel gives processes no vDSO"))?;
    let size = usize::try_from(vdso.len.min(MAX_SIZE)).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    File::open("/proc/self/mem")?.read_exact_at(&mut bytes, vdso.start)?;
    let mut copy = File::from(memfd_create("vdso.so", MFdFlags::MFD_CLOEXEC)?);
    copy.write_all(&bytes)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_an_elf_file() {
        let (headers, _) = read().unwrap();
        assert_eq!(headers.segments.len(), 1);
        assert!(!headers.build_id.is_empty());
    }
}
