//! The headers of an ELF file that another process controls, read piece by piece within bounds. The
//! file is never mapped: whoever may truncate it could otherwise end the agent with SIGBUS.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use object::read::elf::{FileHeader, SectionHeader};
use object::{LittleEndian, Pod, elf, pod};
use thiserror::Error;

use super::text::until_nul;

/// Section headers that are read at most; linked files have some tens.
const MAX_SECTIONS: u64 = 4096;
/// Bytes of section names that are read at most.
const MAX_SECTION_NAMES: u64 = 256 << 10;
/// Bytes of notes that are read at most.
const MAX_NOTES: u64 = 4096;

type Header64 = elf::FileHeader64<LittleEndian>;
type Header32 = elf::FileHeader32<LittleEndian>;
type NoteHeader = elf::NoteHeader32<LittleEndian>;

/// Why a file gives no names.
#[derive(Debug, Error)]
pub(super) enum ElfError {
    /// Reading failed.
    #[error("reading it failed: {0}")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("it is not a little-endian ELF file")]
    NotElf,
    /// A header points outside the file, or wants more than an honest file does.
    #[error("its {0} are malformed")]
    Malformed(&'static str),
}

const HEADERS: ElfError = ElfError::Malformed("section headers");

/// An ELF file's section headers.
pub(super) struct Elf {
    file: Arc<File>,
    len: u64,
    /// Whether it is of the 64-bit class.
    pub is_64: bool,
    /// `EM_…`.
    pub machine: elf::Machine,
    sections: Vec<Section>,
}

/// One section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Name, such as `.symtab`.
    pub name: String,
    /// `SHT_…`.
    pub kind: elf::SectionType,
    /// `SHF_…`.
    pub flags: elf::SectionFlags,
    /// Virtual address, 0 if it is not loaded.
    pub address: u64,
    /// Offset in the file.
    pub offset: u64,
    /// Length, bytes.
    pub size: u64,
    /// Index of a section that belongs to it.
    pub link: u32,
}

impl Section {
    /// Whether an address lies in it.
    pub fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|at| at < self.size)
    }
}

impl Elf {
    /// Reads the headers.
    pub fn open(file: Arc<File>) -> Result<Self, ElfError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(ElfError::NotElf);
        }
        let len = metadata.len();
        let mut bytes = [0; size_of::<Header64>()];
        let size = bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX));
        file.read_exact_at(bytes.get_mut(..size).unwrap_or_default(), 0)?;

        let mut elf = Self {
            file,
            len,
            is_64: false,
            machine: elf::Machine::default(),
            sections: Vec::new(),
        };
        if let Some(header) = header::<Header64>(&bytes) {
            elf.is_64 = true;
            elf.machine = header.e_machine(LittleEndian);
            elf.sections = elf.read_sections(header)?;
        } else if let Some(header) = header::<Header32>(&bytes) {
            elf.machine = header.e_machine(LittleEndian);
            elf.sections = elf.read_sections(header)?;
        } else {
            return Err(ElfError::NotElf);
        }
        Ok(elf)
    }

    /// The file.
    pub fn into_file(self) -> Arc<File> {
        self.file
    }

    /// The first section of a name that has contents in this file.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name && s.kind != elf::SHT_NOBITS && s.size > 0)
    }

    /// A section by its index.
    pub fn section_at(&self, index: usize) -> Option<&Section> {
        self.sections.get(index)
    }

    /// A section of at most `limit` bytes, whole.
    pub fn contents(&self, section: &Section, limit: u64) -> Result<Vec<u8>, ElfError> {
        if section.size > limit {
            return Err(ElfError::Malformed("section sizes"));
        }
        self.bytes(section.offset, section.size)
    }

    /// Fills a buffer from an offset in a section; `false` if it would end outside the section.
    pub fn read_at(&self, section: &Section, at: u64, buffer: &mut [u8]) -> Result<bool, ElfError> {
        let inside = at.checked_add(buffer.len() as u64).is_some_and(|end| end <= section.size);
        let Some(offset) = section.offset.checked_add(at).filter(|_| inside) else {
            return Ok(false);
        };
        self.file.read_exact_at(buffer, offset)?;
        Ok(true)
    }

    /// Streams the entries of a table through a small buffer until `visit` breaks, and reads at most
    /// `limit` bytes of it. Returns whether that was less than it holds.
    pub fn entries<T: Pod>(
        &self,
        table: &Section,
        limit: u64,
        mut visit: impl FnMut(&T) -> ControlFlow<()>,
    ) -> Result<bool, ElfError> {
        let entry = size_of::<T>() as u64;
        let whole = table.size - table.size % entry;
        let end = whole.min(limit - limit % entry);
        let mut buffer = vec![0; size_of::<T>() * 2048];
        let mut at = 0;
        while at < end {
            let len = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            let Some(chunk) = buffer.get_mut(..len) else { break };
            if !self.read_at(table, at, chunk)? {
                return Err(ElfError::Malformed("section sizes"));
            }
            at += len as u64;
            for entry in chunk.chunks_exact(size_of::<T>()) {
                let Ok((entry, _)) = pod::from_bytes::<T>(entry) else { continue };
                if visit(entry).is_break() {
                    return Ok(false);
                }
            }
        }
        Ok(end < whole)
    }

    /// The string at an offset of a string table, at most `limit` bytes of it.
    pub fn string(&self, table: &Section, at: u64, limit: usize) -> Option<Vec<u8>> {
        /// Most names are shorter.
        const SHORT: usize = 128;
        let rest = usize::try_from(table.size.checked_sub(at)?).unwrap_or(usize::MAX);
        let mut buffer = vec![0; limit.min(rest).min(SHORT)];
        let mut text = self.until_nul(table, at, &mut buffer)?;
        if text.len() == SHORT {
            buffer.resize(limit.min(rest), 0);
            text = self.until_nul(table, at, &mut buffer)?;
        }
        Some(text.to_vec())
    }

    fn until_nul<'b>(&self, table: &Section, at: u64, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let inside = self.read_at(table, at, buffer).ok()?;
        inside.then(|| until_nul(buffer))
    }

    /// The build ID in lower-case hex, empty where there is none.
    pub fn build_id(&self) -> String {
        let note = self.section(".note.gnu.build-id");
        let notes = note.and_then(|section| self.contents(section, MAX_NOTES).ok());
        notes.as_deref().and_then(build_id_of_note).unwrap_or_default()
    }

    fn bytes(&self, offset: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        // Never allocate for what is not there.
        if offset.checked_add(size).is_none_or(|end| end > self.len) {
            return Err(HEADERS);
        }
        let size = usize::try_from(size).map_err(|_| HEADERS)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads the section headers of a file of class `H`.
    fn read_sections<H: FileHeader<Endian = LittleEndian>>(
        &self,
        header: &H,
    ) -> Result<Vec<Section>, ElfError> {
        let offset: u64 = header.e_shoff(LittleEndian).into();
        if offset == 0 {
            return Ok(Vec::new());
        }
        // What does not fit the file header stands in the first section header.
        let first = self.section_headers::<H>(offset, 1)?;
        let first = first.first().ok_or(HEADERS)?;
        let count = match header.e_shnum(LittleEndian) {
            0 => first.section.size,
            count => u64::from(count),
        };
        let names = match header.e_shstrndx(LittleEndian) {
            elf::SHN_XINDEX => first.section.link,
            index => u32::from(index.0),
        };
        if count > MAX_SECTIONS {
            return Err(HEADERS);
        }
        let raw = self.section_headers::<H>(offset, count)?;
        let names = raw.get(names as usize).ok_or(ElfError::Malformed("section names"))?;
        let names = self.contents(&names.section, MAX_SECTION_NAMES)?;
        Ok(raw.into_iter().map(|raw| raw.named(&names)).collect())
    }

    fn section_headers<H: FileHeader<Endian = LittleEndian>>(
        &self,
        offset: u64,
        count: u64,
    ) -> Result<Vec<RawSection>, ElfError> {
        let entry = size_of::<H::SectionHeader>();
        let bytes = self.bytes(offset, count * entry as u64)?;
        Ok(bytes.chunks_exact(entry).filter_map(RawSection::parse::<H::SectionHeader>).collect())
    }
}

/// The file header, if it is of class `H` and of our byte order.
fn header<H: FileHeader<Endian = LittleEndian>>(bytes: &[u8]) -> Option<&H> {
    let (header, _) = pod::from_bytes::<H>(bytes).ok()?;
    let is_ours = header.is_supported()
        && header.is_class_64() == header.is_type_64()
        && header.is_little_endian();
    is_ours.then_some(header)
}

/// A section whose name is still an offset.
struct RawSection {
    name: u32,
    section: Section,
}

impl RawSection {
    fn parse<S: SectionHeader<Endian = LittleEndian>>(bytes: &[u8]) -> Option<Self> {
        let (header, _) = pod::from_bytes::<S>(bytes).ok()?;
        let section = Section {
            name: String::new(),
            kind: header.sh_type(LittleEndian),
            flags: header.sh_flags(LittleEndian),
            address: header.sh_addr(LittleEndian).into(),
            offset: header.sh_offset(LittleEndian).into(),
            size: header.sh_size(LittleEndian).into(),
            link: header.sh_link(LittleEndian),
        };
        Some(Self { name: header.sh_name(LittleEndian), section })
    }

    fn named(self, names: &[u8]) -> Section {
        let name = until_nul(names.get(self.name as usize..).unwrap_or_default());
        Section { name: String::from_utf8_lossy(name).into_owned(), ..self.section }
    }
}

/// The description of a note of type `NT_GNU_BUILD_ID`, in hex.
fn build_id_of_note(note: &[u8]) -> Option<String> {
    let (header, rest) = pod::from_bytes::<NoteHeader>(note).ok()?;
    let name_size = header.n_namesz.get(LittleEndian);
    let id_size = header.n_descsz.get(LittleEndian);
    let kind = header.n_type.get(LittleEndian);
    if name_size != 4 || kind != elf::NT_GNU_BUILD_ID || id_size > 64 {
        return None;
    }
    let id = rest.strip_prefix(b"GNU\0")?.get(..id_size as usize)?;
    Some(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_headers_are_read() {
        let elf = Elf::open(Arc::new(File::open("/proc/self/exe").unwrap())).unwrap();
        let text = elf.section(".text").unwrap();
        assert!(elf.is_64 && text.flags.contains(elf::SHF_EXECINSTR));
        assert!(text.contains(text.address) && !text.contains(text.address + text.size));
        assert!(elf.section(".bss").is_none(), "it has no contents");
    }

    #[test]
    fn build_ids_are_read() {
        let note = b"\x04\0\0\0\x03\0\0\0\x03\0\0\0GNU\0\xab\xcd\x01\0";
        assert_eq!(build_id_of_note(note).as_deref(), Some("abcd01"));
        for broken in [&note[..4], &note[..17], b"\x04\0\0\0\xff\xff\xff\xff\x03\0\0\0GNU\0"] {
            assert_eq!(build_id_of_note(broken), None);
        }
    }
}
