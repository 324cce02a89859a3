//! The headers of an ELF file: which machine it is for, where its code lies, where its sections are.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use object::read::elf::FileHeader as _;
use object::{LittleEndian as LE, elf, pod};

use super::machine::Machine;
use super::table::NoTable;

/// Program and section headers that are read at most; linked files have some tens.
const MAX_HEADERS: u64 = 4096;
/// Bytes of section names that are read at most.
const MAX_SECTION_NAMES: u64 = 256 << 10;

const PROGRAM_HEADERS: NoTable = NoTable::Malformed("program headers");
const SECTION_HEADERS: NoTable = NoTable::Malformed("section headers");

type FileHeader = elf::FileHeader64<LE>;
type ProgramHeader = elf::ProgramHeader64<LE>;
type SectionHeader = elf::SectionHeader64<LE>;

/// An ELF file of the 64-bit class.
pub(super) struct Elf<'a> {
    file: &'a File,
    len: u64,
    pub machine: Machine,
    /// Where the program, or the dynamic linker, begins.
    pub entry: u64,
    programs: Vec<ProgramHeader>,
    sections: Vec<(Vec<u8>, SectionHeader)>,
}

/// Bytes of a file, and the address at which they are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub address: u64,
    pub offset: u64,
    pub size: u64,
    /// Whether a compression header comes first.
    pub is_packed: bool,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub fn open(file: &'a File) -> Result<Self, NoTable> {
        let metadata = file.metadata()?;
        let mut bytes = [0; size_of::<FileHeader>()];
        if !metadata.is_file() || metadata.len() < bytes.len() as u64 {
            return Err(NoTable::NotElf);
        }
        file.read_exact_at(&mut bytes, 0)?;
        let (header, _) = pod::from_bytes::<FileHeader>(&bytes).map_err(|()| NoTable::NotElf)?;
        if !header.is_supported() || !header.is_class_64() || !header.is_little_endian() {
            return Err(NoTable::NotElf);
        }
        if header.e_type.get(LE) == elf::ET_REL {
            return Err(NoTable::NotLinked);
        }
        let machine = Machine::of(header.e_machine(LE)).ok_or(NoTable::Machine)?;
        let len = metadata.len();
        let entry = header.e_entry.get(LE);
        let mut elf =
            Self { file, len, machine, entry, programs: Vec::new(), sections: Vec::new() };
        elf.programs = elf.headers(header.e_phoff.get(LE), header.e_phnum.get(LE).into())?;
        // The loader needs no sections: damaged ones are as good as none.
        elf.sections = elf.read_sections(header).unwrap_or_default();
        Ok(elf)
    }

    /// The addresses of its code, ascending.
    pub fn code(&self) -> Vec<Range<u64>> {
        let loads = self.programs.iter().filter(|p| p.p_type.get(LE) == elf::PT_LOAD);
        let code = loads.filter(|p| p.p_flags.get(LE).contains(elf::PF_X));
        let range = |p: &ProgramHeader| {
            let start = p.p_vaddr.get(LE);
            start..start.saturating_add(p.p_filesz.get(LE).min(self.len))
        };
        let mut ranges: Vec<_> = code.map(range).collect();
        ranges.sort_unstable_by_key(|range| (range.start, range.end));
        ranges
    }

    /// The first section of a name that has contents in this file.
    pub fn section(&self, name: &str) -> Option<Extent> {
        let mut named = self.sections.iter().filter(|(n, _)| n == name.as_bytes());
        let is_here = |s: &SectionHeader| s.sh_type.get(LE) != elf::SHT_NOBITS;
        let (_, section) = named.find(|(_, s)| is_here(s) && s.sh_size.get(LE) > 0)?;
        Some(Extent {
            address: section.sh_addr.get(LE),
            offset: section.sh_offset.get(LE),
            size: section.sh_size.get(LE),
            is_packed: section.sh_flags.get(LE).contains(elf::SHF_COMPRESSED),
        })
    }

    /// What the program header of `.eh_frame_hdr` points to.
    pub fn eh_frame_header(&self) -> Option<Extent> {
        let header = self.programs.iter().find(|p| p.p_type.get(LE) == elf::PT_GNU_EH_FRAME)?;
        let (address, size) = (header.p_vaddr.get(LE), header.p_filesz.get(LE));
        Some(Extent { address, offset: header.p_offset.get(LE), size, is_packed: false })
    }

    /// From an address to the end of the segment that holds it.
    pub fn rest_of_segment(&self, address: u64) -> Option<Extent> {
        let loads = self.programs.iter().filter(|p| p.p_type.get(LE) == elf::PT_LOAD);
        loads.into_iter().find_map(|p| {
            let at = address.checked_sub(p.p_vaddr.get(LE))?;
            let size = p.p_filesz.get(LE).checked_sub(at).filter(|size| *size > 0)?;
            let offset = p.p_offset.get(LE).checked_add(at)?;
            // What a header says of the file's length is not believed.
            let size = size.min(self.len.checked_sub(offset)?);
            Some(Extent { address, offset, size, is_packed: false })
        })
    }

    /// The bytes at a range of addresses in one segment, as far as the file has them.
    pub fn code_at(&self, range: Range<u64>) -> Vec<u8> {
        let size = range.end.saturating_sub(range.start);
        let extent =
            self.rest_of_segment(range.start).map(|e| Extent { size: e.size.min(size), ..e });
        extent.and_then(|extent| self.bytes(extent).ok().flatten()).unwrap_or_default()
    }

    /// The bytes of an extent; `None` if it does not lie within the file.
    pub fn bytes(&self, extent: Extent) -> Result<Option<Vec<u8>>, NoTable> {
        let end = extent.offset.checked_add(extent.size);
        if end.is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        let Ok(size) = usize::try_from(extent.size) else { return Ok(None) };
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, extent.offset)?;
        Ok(Some(bytes))
    }

    fn headers<T: pod::Pod + Clone>(&self, offset: u64, count: u64) -> Result<Vec<T>, NoTable> {
        if count > MAX_HEADERS {
            return Err(PROGRAM_HEADERS);
        }
        let size = count * size_of::<T>() as u64;
        let extent = Extent { address: 0, offset, size, is_packed: false };
        let bytes = self.bytes(extent)?.ok_or(PROGRAM_HEADERS)?;
        let headers = pod::slice_from_all_bytes::<T>(&bytes).map_err(|()| PROGRAM_HEADERS)?;
        Ok(headers.to_vec())
    }

    fn read_sections(&self, header: &FileHeader) -> Result<Vec<(Vec<u8>, SectionHeader)>, NoTable> {
        let offset = header.e_shoff.get(LE);
        if offset == 0 {
            return Ok(Vec::new());
        }
        // What does not fit the file header stands in the first section header.
        let first: Vec<SectionHeader> = self.headers(offset, 1)?;
        let first = first.first().ok_or(SECTION_HEADERS)?;
        let count = match header.e_shnum.get(LE) {
            0 => first.sh_size.get(LE),
            count => count.into(),
        };
        let names = match header.e_shstrndx.get(LE) {
            elf::SHN_XINDEX => first.sh_link.get(LE),
            index => index.0.into(),
        };
        let headers: Vec<SectionHeader> = self.headers(offset, count)?;
        let names = headers.get(names as usize).ok_or(SECTION_HEADERS)?;
        let (offset, size) = (names.sh_offset.get(LE), names.sh_size.get(LE));
        if size > MAX_SECTION_NAMES {
            return Err(SECTION_HEADERS);
        }
        let extent = Extent { address: 0, offset, size, is_packed: false };
        let names = self.bytes(extent)?.ok_or(SECTION_HEADERS)?;
        let named = |header: SectionHeader| {
            let name = names.get(header.sh_name.get(LE) as usize..).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            // Names of sections that matter here are short; a table of one long name is no reason to
            // copy it once per section.
            (name.get(..name.len().min(32)).unwrap_or_default().to_vec(), header)
        };
        Ok(headers.into_iter().map(named).collect())
    }
}
