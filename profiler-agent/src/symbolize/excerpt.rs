//! An ELF file in sealed memory that holds debug sections and nothing else.
//!
//! blazesym maps the files that it reads and follows what they link to. It gets this excerpt instead of
//! the file: nobody can truncate it while it is mapped; links to further files, which would be opened
//! from a path that another process chose, are not in it, nor are packed sections, which would be
//! unpacked without a bound.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use object::elf;
use object::endian::{U16, U32, U64};
use object::{LittleEndian, pod};

use super::debug_sections::DebugSections;
use super::memory_file;

type FileHeader = elf::FileHeader64<LittleEndian>;
type SectionHeader = elf::SectionHeader64<LittleEndian>;

const FILE_HEADER: u64 = size_of::<FileHeader>() as u64;

/// Writes the sections. Each is freed when it is written, so that there are never two copies of all.
pub(super) fn write(sections: DebugSections) -> io::Result<File> {
    let mut file = memory_file::create(c"debug-information")?;
    let mut names = vec![0];
    let mut headers = vec![section_header(0, elf::SHT_NULL, 0, 0)];
    // The file header follows when it is known where the section headers are.
    file.write_all(&[0; FILE_HEADER as usize])?;
    let mut end = FILE_HEADER;
    for (name, contents) in sections.into_iter() {
        file.write_all(&contents)?;
        let size = contents.len() as u64;
        headers.push(section_header(push(&mut names, name), elf::SHT_PROGBITS, end, size));
        end += size;
    }
    let name = push(&mut names, ".shstrtab");
    headers.push(section_header(name, elf::SHT_STRTAB, end, names.len() as u64));
    file.write_all(&names)?;
    end += names.len() as u64;
    // blazesym reads the headers in place: they need their alignment.
    let table = end.next_multiple_of(8);
    file.write_all_at(pod::bytes_of_slice(&headers), table)?;
    file.write_all_at(pod::bytes_of(&file_header(table, headers.len())), 0)?;
    memory_file::seal(&file)?;
    Ok(file)
}

/// Appends a section name; returns its offset.
fn push(names: &mut Vec<u8>, name: &str) -> u32 {
    let offset = names.len() as u32;
    names.extend(name.bytes());
    names.push(0);
    offset
}

fn section_header(name: u32, kind: elf::SectionType, offset: u64, size: u64) -> SectionHeader {
    let (e, zero) = (LittleEndian, U64::new(LittleEndian, 0));
    SectionHeader {
        sh_name: U32::new(e, name),
        sh_type: U32::new(e, kind),
        sh_flags: U64::new(e, elf::SectionFlags(0)),
        sh_addr: zero,
        sh_offset: U64::new(e, offset),
        sh_size: U64::new(e, size),
        sh_link: U32::new(e, 0),
        sh_info: U32::new(e, 0),
        sh_addralign: U64::new(e, 1),
        sh_entsize: zero,
    }
}

/// The header of an executable, without segments. Debug sections read alike on every machine.
fn file_header(section_headers: u64, count: usize) -> FileHeader {
    let (e, zero, none) = (LittleEndian, U64::new(LittleEndian, 0), U16::new(LittleEndian, 0));
    let count = count as u16;
    FileHeader {
        e_ident: elf::Ident {
            magic: elf::ELFMAG,
            class: elf::ELFCLASS64,
            data: elf::ELFDATA2LSB,
            version: elf::EV_CURRENT,
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            padding: [0; 7],
        },
        e_type: U16::new(e, elf::ET_EXEC),
        e_machine: U16::new(e, elf::EM_NONE),
        e_version: U32::new(e, u32::from(elf::EV_CURRENT.0)),
        e_entry: zero,
        e_phoff: zero,
        e_shoff: U64::new(e, section_headers),
        e_flags: U32::new(e, elf::FileFlags(0)),
        e_ehsize: U16::new(e, FILE_HEADER as u16),
        e_phentsize: none,
        e_phnum: none,
        e_shentsize: U16::new(e, size_of::<SectionHeader>() as u16),
        e_shnum: U16::new(e, count),
        e_shstrndx: U16::new(e, elf::SymbolSection(count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::symbolize::elf::Elf;

    #[test]
    fn an_excerpt_holds_the_sections_of_its_file() {
        let own = Elf::open(Arc::new(File::open("/proc/self/exe").unwrap())).unwrap();
        let sections = DebugSections::read(&own, u64::MAX).unwrap();
        let line = sections.get(".debug_line").to_vec();
        let info = sections.get(".debug_info").len() as u64;
        let excerpt = Elf::open(Arc::new(write(sections).unwrap())).unwrap();
        let section = excerpt.section(".debug_line").unwrap();
        assert!(excerpt.contents(section, u64::MAX).unwrap() == line);
        assert_eq!(excerpt.section(".debug_info").unwrap().size, info);
        assert!(excerpt.section(".symtab").is_none());
    }
}
