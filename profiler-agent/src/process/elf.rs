//! The little that is needed of an ELF file: its build ID and where its text lies.
//!
//! Any process may map any file, so nothing in one is believed: every read is a bounded `pread` (a
//! file that is truncated under a memory map would kill the agent with SIGBUS), and the sum of all
//! reads is bounded too.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};
use object::{LittleEndian, elf};

use crate::model::frame::Segment;

/// Bytes that are read of one file, at most.
const MAX_READ: u64 = 1 << 20;

/// Executable segments that are kept, at most. Linkers make one.
const MAX_SEGMENTS: usize = 64;

/// Longest build ID that is believed, in bytes. SHA-1 has 20; the kernel tells at most as many.
const MAX_BUILD_ID: usize = 64;

/// Why a file could not be read as ELF.
#[derive(Debug, thiserror::Error)]
pub(super) enum ElfError {
    /// Something else: a script, an archive, data.
    #[error("not an ELF file")]
    NotElf,
    /// Of a machine that no process here runs.
    #[error("an ELF file for a big-endian machine")]
    BigEndian,
    /// Truncated, or its headers contradict each other.
    #[error("a damaged ELF file: {0}")]
    Damaged(#[from] object::Error),
}

/// What the headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Headers {
    /// Build ID in lower-case hex; empty where there is none.
    pub(super) build_id: String,
    /// Executable segments.
    pub(super) segments: Vec<Segment>,
}

/// Reads the headers of a file.
pub(super) fn read(file: &File) -> Result<Headers, ElfError> {
    let cache = ReadCache::new(At { file, position: 0 });
    let data = Bounded { inner: &cache, left: &Cell::new(MAX_READ) };
    let ident = data.read_bytes_at(0, 6).map_err(|()| ElfError::NotElf)?;
    let Some(([0x7f, b'E', b'L', b'F'], &[class, encoding])) = ident.split_first_chunk() else {
        return Err(ElfError::NotElf);
    };
    match (elf::FileClass(class), elf::DataEncoding(encoding)) {
        (_, elf::ELFDATA2MSB) => Err(ElfError::BigEndian),
        (elf::ELFCLASS64, elf::ELFDATA2LSB) => headers::<elf::FileHeader64<LittleEndian>>(data),
        (elf::ELFCLASS32, elf::ELFDATA2LSB) => headers::<elf::FileHeader32<LittleEndian>>(data),
        _ => Err(ElfError::NotElf),
    }
}

fn headers<'a, H>(data: Bounded<'a>) -> Result<Headers, ElfError>
where
    H: FileHeader<Endian = LittleEndian>,
{
    let header = H::parse(data)?;
    let mut found = Headers::default();
    for segment in header.program_headers(LittleEndian, data)? {
        let executable = segment.p_flags(LittleEndian).contains(elf::PF_X);
        match segment.p_type(LittleEndian) {
            elf::PT_LOAD if executable && found.segments.len() < MAX_SEGMENTS => {
                found.segments.push(Segment {
                    file_offset: segment.p_offset(LittleEndian).into(),
                    file_size: segment.p_filesz(LittleEndian).into(),
                    address: segment.p_vaddr(LittleEndian).into(),
                });
            }
            elf::PT_NOTE if found.build_id.is_empty() => {
                found.build_id = build_id::<H>(segment, data).unwrap_or_default();
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The build ID among the notes of one segment. Damaged notes are as good as none: the rest of the
/// file is still of use.
fn build_id<'a, H>(segment: &H::ProgramHeader, data: Bounded<'a>) -> Option<String>
where
    H: FileHeader<Endian = LittleEndian>,
{
    let mut notes = segment.notes(LittleEndian, data).ok()??;
    while let Some(note) = notes.next().ok()? {
        let id = note.desc();
        if note.name() == elf::ELF_NOTE_GNU
            && note.n_type(LittleEndian) == elf::NT_GNU_BUILD_ID
            && (1..=MAX_BUILD_ID).contains(&id.len())
        {
            return Some(hex(id));
        }
    }
    None
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A position in a file that is shared: `pread` moves nobody else's.
struct At<'a> {
    file: &'a File,
    position: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for At<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(delta) => self.file.metadata()?.len().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A view of a file that refuses to be read for ever.
#[derive(Clone, Copy)]
struct Bounded<'a> {
    inner: &'a ReadCache<At<'a>>,
    left: &'a Cell<u64>,
}

impl<'a> ReadRef<'a> for Bounded<'a> {
    fn len(self) -> Result<u64, ()> {
        self.inner.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.left.set(self.left.get().checked_sub(size).ok_or(())?);
        self.inner.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(
        self,
        range: std::ops::Range<u64>,
        delimiter: u8,
    ) -> Result<&'a [u8], ()> {
        let size = range.end.saturating_sub(range.start);
        self.left.set(self.left.get().checked_sub(size).ok_or(())?);
        self.inner.read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests;
