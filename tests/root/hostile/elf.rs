//! ELF files that lie: a good one with one field changed, or cut off.

/// Offsets in the header of a 64-bit ELF file (elf(5)).
const E_PHOFF: usize = 0x20;
const E_SHOFF: usize = 0x28;
const E_PHENTSIZE: usize = 0x36;
const E_PHNUM: usize = 0x38;
const E_SHENTSIZE: usize = 0x3a;
const E_SHNUM: usize = 0x3c;
const E_SHSTRNDX: usize = 0x3e;

/// Offsets in a section header, and kinds of sections.
const SH_TYPE: usize = 0x04;
const SH_FLAGS: usize = 0x08;
const SH_OFFSET: usize = 0x18;
const SH_SIZE: usize = 0x20;
const SH_LINK: usize = 0x28;
const SH_ENTSIZE: usize = 0x38;
const SH_LENGTH: usize = 0x40;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const NOTE: u32 = 7;
const DYNSYM: u32 = 11;

/// A section whose contents are said to be compressed.
const SHF_COMPRESSED: u64 = 0x800;

/// Offsets in a program header.
const P_OFFSET: usize = 0x08;
const P_VADDR: usize = 0x10;
const P_FILESZ: usize = 0x20;
const PH_LENGTH: usize = 0x38;

/// Files by what is wrong with them.
pub fn lies(good: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut lies = vec![
        ("empty", Vec::new()),
        ("magic only", good[..4].to_vec()),
        ("half a header", good[..40].to_vec()),
        ("cut in the middle", good[..good.len() / 2].to_vec()),
        ("no ELF", b"#!/bin/sh\nexit 0\n".to_vec()),
    ];
    let mut lie = |what, change: &dyn Fn(&mut Elf)| {
        let mut elf = Elf(good.to_vec());
        change(&mut elf);
        lies.push((what, elf.0));
    };
    lie("section table beyond the end", &|elf| elf.put(E_SHOFF, &u64::MAX.to_le_bytes()));
    lie("section table on itself", &|elf| elf.put(E_SHOFF, &1_u64.to_le_bytes()));
    lie("65535 sections", &|elf| elf.put(E_SHNUM, &u16::MAX.to_le_bytes()));
    lie("sections counted in section 0", &|elf| {
        // With e_shnum 0 the count is the size of section 0.
        elf.put(E_SHNUM, &0_u16.to_le_bytes());
        let first = elf.u64(E_SHOFF) as usize;
        elf.put(first + SH_SIZE, &(1_u64 << 40).to_le_bytes());
    });
    lie("section headers of no size", &|elf| elf.put(E_SHENTSIZE, &0_u16.to_le_bytes()));
    lie("no such name table", &|elf| elf.put(E_SHSTRNDX, &0xff00_u16.to_le_bytes()));
    lie("program headers beyond the end", &|elf| elf.put(E_PHOFF, &(u64::MAX - 7).to_le_bytes()));
    lie("65535 program headers", &|elf| elf.put(E_PHNUM, &u16::MAX.to_le_bytes()));
    lie("program headers of one byte", &|elf| elf.put(E_PHENTSIZE, &1_u16.to_le_bytes()));
    lie("segments that overlap and overflow", &|elf| {
        elf.each_segment(|elf, at| {
            elf.put(at + P_OFFSET, &u64::MAX.to_le_bytes());
            elf.put(at + P_VADDR, &(u64::MAX - 0xfff).to_le_bytes());
            elf.put(at + P_FILESZ, &u64::MAX.to_le_bytes());
        })
    });
    for (what, kind) in [("symbols", SYMTAB), ("dynamic symbols", DYNSYM), ("strings", STRTAB)] {
        let huge: &'static str = match what {
            "symbols" => "symbols of 2^60 bytes",
            "dynamic symbols" => "dynamic symbols of 2^60 bytes",
            _ => "strings of 2^60 bytes",
        };
        lie(huge, &|elf| {
            elf.each_section(kind, |elf, at| elf.put(at + SH_SIZE, &(1_u64 << 60).to_le_bytes()))
        });
    }
    lie("symbols of no size each", &|elf| {
        elf.each_section(SYMTAB, |elf, at| elf.put(at + SH_ENTSIZE, &0_u64.to_le_bytes()));
    });
    lie("symbols without strings", &|elf| {
        elf.each_section(SYMTAB, |elf, at| elf.put(at + SH_LINK, &u32::MAX.to_le_bytes()));
    });
    lie("symbols whose names are far away", &|elf| {
        elf.each_section(SYMTAB, |elf, at| {
            let (start, size) = (elf.u64(at + SH_OFFSET) as usize, elf.u64(at + SH_SIZE) as usize);
            for symbol in (start..start + size).step_by(24) {
                elf.put(symbol, &u32::MAX.to_le_bytes());
                elf.put(symbol + 16, &u64::MAX.to_le_bytes());
            }
        })
    });
    lie("strings that never end", &|elf| {
        elf.each_section(STRTAB, |elf, at| {
            let (start, size) = (elf.u64(at + SH_OFFSET) as usize, elf.u64(at + SH_SIZE) as usize);
            elf.put(start, &vec![b'A'; size]);
        })
    });
    lie("notes that overflow", &|elf| {
        elf.each_section(NOTE, |elf, at| {
            let start = elf.u64(at + SH_OFFSET) as usize;
            elf.put(start, &[0xff; 12]);
        })
    });
    lie("everything is compressed", &|elf| {
        for kind in [1, SYMTAB, STRTAB] {
            elf.each_section(kind, |elf, at| {
                let flags = elf.u64(at + SH_FLAGS) | SHF_COMPRESSED;
                elf.put(at + SH_FLAGS, &flags.to_le_bytes());
            });
        }
    });
    lies
}

/// A file in which a section is so long, and begins at the end: what it holds is for the caller to add.
pub fn with_section_at_end(good: &[u8], name: &str, size: u64) -> Vec<u8> {
    let mut elf = Elf(good.to_vec());
    let at = elf.section(name);
    elf.put(at + SH_OFFSET, &(good.len() as u64).to_le_bytes());
    elf.put(at + SH_SIZE, &size.to_le_bytes());
    elf.0
}

struct Elf(Vec<u8>);

impl Elf {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }

    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap()))
    }

    fn each_section(&mut self, kind: u32, mut change: impl FnMut(&mut Self, usize)) {
        let start = self.u64(E_SHOFF) as usize;
        for at in (0..self.u16(E_SHNUM)).map(|index| start + index * SH_LENGTH) {
            if self.u32(at + SH_TYPE) == kind {
                change(self, at);
            }
        }
    }

    /// Offset of the header of the section of a name.
    fn section(&self, name: &str) -> usize {
        let header = |index| self.u64(E_SHOFF) as usize + index * SH_LENGTH;
        let names = self.u64(header(self.u16(E_SHSTRNDX)) + SH_OFFSET) as usize;
        let wanted = format!("{name}\0");
        let is_it =
            |at: &usize| self.0[names + self.u32(*at) as usize..].starts_with(wanted.as_bytes());
        (0..self.u16(E_SHNUM)).map(header).find(is_it).unwrap()
    }

    fn each_segment(&mut self, mut change: impl FnMut(&mut Self, usize)) {
        let start = self.u64(E_PHOFF) as usize;
        for at in (0..self.u16(E_PHNUM)).map(|index| start + index * PH_LENGTH) {
            change(self, at);
        }
    }
}
