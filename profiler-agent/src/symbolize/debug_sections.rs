//! The sections of debug information that naming needs, copied out of a file and unpacked, within
//! bounds that the caller sets: a header may claim any size, and a packed section may hold any amount.

use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use memmap2::MmapMut;
use object::read::elf::CompressionHeader;
use object::{LittleEndian, elf, pod};
use zstd::stream::read::Decoder as ZstdDecoder;

use super::elf::{Elf, ElfError, Section};

/// What blazesym reads to find functions, inlined functions and lines.
const NAMES: [&str; 10] = [
    ".debug_abbrev",
    ".debug_addr",
    ".debug_aranges",
    ".debug_info",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

/// Memory that a zstd frame may ask for, as a power of two: 8 MiB, which every decoder must support.
const ZSTD_WINDOW_LOG: u32 = 23;

const SIZES: ElfError = ElfError::Malformed("debug sections");

/// Whether a file has debug information of its own.
pub(super) fn exist(elf: &Elf) -> bool {
    elf.section(".debug_info").is_some()
}

/// Bytes that the sections take when they are unpacked, as the headers say.
pub(super) fn size(elf: &Elf) -> Result<u64, ElfError> {
    let mut total: u64 = 0;
    for section in NAMES.iter().filter_map(|name| elf.section(name)) {
        total = total.saturating_add(Packing::of(elf, section)?.size);
    }
    Ok(total)
}

/// Debug information in memory of its own, which goes back to the system with it: the heap would keep
/// pieces of this size for the next time.
pub(super) struct DebugSections(Vec<(&'static str, MmapMut)>);

impl DebugSections {
    /// Copies the sections; they may take `limit` bytes.
    pub fn read(elf: &Elf, limit: u64) -> Result<Self, ElfError> {
        let mut left = limit;
        let mut sections = Vec::new();
        for name in NAMES {
            let Some(section) = elf.section(name) else { continue };
            let contents = Packing::of(elf, section)?.unpack(elf, section, left)?;
            left = left.saturating_sub(contents.len() as u64);
            sections.push((name, contents));
        }
        Ok(Self(sections))
    }

    /// The contents of one, empty if it is missing.
    pub fn get(&self, name: &str) -> &[u8] {
        let section = self.0.iter().find(|(n, _)| *n == name);
        section.map_or(&[], |(_, contents)| &contents[..])
    }

    /// Names and contents.
    pub fn into_iter(self) -> impl Iterator<Item = (&'static str, MmapMut)> {
        self.0.into_iter()
    }
}

/// How a section is stored.
struct Packing {
    kind: Option<elf::CompressionType>,
    /// Offset of its data behind the compression header.
    start: u64,
    /// Size when unpacked, bytes.
    size: u64,
}

impl Packing {
    fn of(elf: &Elf, section: &Section) -> Result<Self, ElfError> {
        if !section.flags.contains(elf::SHF_COMPRESSED) {
            return Ok(Self { kind: None, start: 0, size: section.size });
        }
        if elf.is_64 {
            Self::packed::<elf::CompressionHeader64<LittleEndian>>(elf, section)
        } else {
            Self::packed::<elf::CompressionHeader32<LittleEndian>>(elf, section)
        }
    }

    fn packed<H: CompressionHeader<Endian = LittleEndian>>(
        elf: &Elf,
        section: &Section,
    ) -> Result<Self, ElfError> {
        let mut bytes = vec![0; size_of::<H>()];
        if !elf.read_at(section, 0, &mut bytes)? {
            return Err(SIZES);
        }
        let (header, _) = pod::from_bytes::<H>(&bytes).map_err(|()| SIZES)?;
        Ok(Self {
            kind: Some(header.ch_type(LittleEndian)),
            start: bytes.len() as u64,
            size: header.ch_size(LittleEndian).into(),
        })
    }

    fn unpack(&self, elf: &Elf, section: &Section, limit: u64) -> Result<MmapMut, ElfError> {
        if self.size > limit {
            return Err(SIZES);
        }
        let mut contents = MmapMut::map_anon(usize::try_from(self.size).map_err(|_| SIZES)?)?;
        let mut stored = SectionReader { elf, section, at: self.start };
        match self.kind {
            None => stored.read_exact(&mut contents)?,
            Some(elf::ELFCOMPRESS_ZLIB) => fill(ZlibDecoder::new(stored), &mut contents)?,
            Some(elf::ELFCOMPRESS_ZSTD) => {
                let mut decoder = ZstdDecoder::new(stored)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                fill(decoder, &mut contents)?;
            }
            Some(_) => return Err(SIZES),
        }
        Ok(contents)
    }
}

/// Reads as many bytes as the header promised; more or fewer is an error.
fn fill(mut reader: impl Read, contents: &mut [u8]) -> Result<(), ElfError> {
    reader.read_exact(contents)?;
    if reader.read(&mut [0])? == 0 { Ok(()) } else { Err(SIZES) }
}

/// Reads a section from an offset on.
struct SectionReader<'a> {
    elf: &'a Elf,
    section: &'a Section,
    at: u64,
}

impl Read for SectionReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.section.size.saturating_sub(self.at);
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Some(part) = buffer.get_mut(..len) else { return Ok(0) };
        self.elf.read_at(self.section, self.at, part).map_err(io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}
