//! ELF files and unwind information, made by hand.

use std::fs::File;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use gimli::constants as dw;

/// Where the code of an [`Image`] lies.
pub const CODE: u64 = 0x1000;
/// Bytes of it.
pub const CODE_BYTES: u64 = 0x8000;
/// Where its sections lie.
const SECTIONS: u64 = 0x10_0000;

/// How the bytes of a section are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Plain,
    Zlib,
    Zstd,
}

/// An ELF file.
pub struct Image {
    pub machine: object::elf::Machine,
    pub sections: Vec<(&'static str, Vec<u8>, Packing)>,
    /// Leaves the section headers out: program headers tell where `.eh_frame` is.
    pub is_stripped: bool,
    /// Where the code lies, and how much the headers say it is.
    pub code: (u64, u64),
    /// Instructions, by their offsets from [`CODE`], behind all that the file needs.
    pub instructions: Vec<(u64, Vec<u8>)>,
}

impl Image {
    /// An x86-64 program with `.eh_frame`.
    pub fn new(eh_frame: Vec<u8>) -> Self {
        Self {
            machine: object::elf::EM_X86_64,
            sections: vec![(".eh_frame", eh_frame, Packing::Plain)],
            is_stripped: false,
            code: (CODE, CODE_BYTES),
            instructions: Vec::new(),
        }
    }

    /// The file.
    pub fn file(&self) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.bytes()).unwrap();
        file
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 3 * 56];
        let mut names = b"\0".to_vec();
        let mut headers = vec![0; 64];
        let mut eh_frame = (0, 0);
        let sections = self.sections.iter().cloned();
        let sections = sections.map(|(name, contents, packing)| (name, contents, packing, 1u32));
        let strings = (".shstrtab", Vec::new(), Packing::Plain, 3);
        for (name, contents, packing, kind) in sections.chain([strings]) {
            let name_at = names.len() as u32;
            names.extend(name.as_bytes());
            names.push(0);
            let contents = if kind == 3 { names.clone() } else { pack(&contents, packing) };
            let flags = u64::from(packing != Packing::Plain) << 11;
            let (offset, size) = (bytes.len() as u64, contents.len() as u64);
            bytes.extend(contents);
            if name == ".eh_frame" {
                eh_frame = (offset, size);
            }
            headers.extend(name_at.to_le_bytes());
            headers.extend(kind.to_le_bytes());
            for word in [flags, SECTIONS + offset, offset, size, 0, 8, 0] {
                headers.extend(word.to_le_bytes());
            }
        }
        let hdr = bytes.len() as u64;
        // Version, encodings: an absolute pointer, no table.
        bytes.extend([1, 0x04, 0xff, 0xff]);
        bytes.extend((SECTIONS + eh_frame.0).to_le_bytes());
        let headers_at = bytes.len() as u64;
        bytes.extend(headers);
        let file_size = bytes.len() as u64;

        let programs = [
            (1u32, 5u32, 0u64, self.code.0, self.code.1),
            (1, 4, 0, SECTIONS, file_size),
            (if eh_frame.1 > 0 { 0x6474_e550 } else { 0 }, 4, hdr, SECTIONS + hdr, 12),
        ];
        let mut start = elf_header(self.machine.0);
        let count = if self.is_stripped { 0 } else { self.sections.len() as u16 + 2 };
        start.extend(64u64.to_le_bytes());
        start.extend(if self.is_stripped { 0 } else { headers_at }.to_le_bytes());
        start.extend(0u32.to_le_bytes());
        for half in [64, 56, 3, 64, count, count.saturating_sub(1)] {
            start.extend(half.to_le_bytes());
        }
        for (kind, flags, offset, address, size) in programs {
            start.extend(kind.to_le_bytes());
            start.extend(flags.to_le_bytes());
            for word in [offset, address, address, size, size, 4096] {
                start.extend(word.to_le_bytes());
            }
        }
        bytes[..start.len()].copy_from_slice(&start);
        let used = bytes.len();
        bytes.resize(used.max(CODE_BYTES as usize), 0);
        for (offset, code) in &self.instructions {
            assert!(*offset as usize >= used, "{used} bytes are in use");
            bytes[*offset as usize..][..code.len()].copy_from_slice(code);
        }
        bytes
    }
}

/// Up to the entry point.
fn elf_header(machine: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(3u16.to_le_bytes());
    header.extend(machine.to_le_bytes());
    header.extend(1u32.to_le_bytes());
    header.extend(CODE.to_le_bytes());
    header
}

fn pack(contents: &[u8], packing: Packing) -> Vec<u8> {
    let packed = match packing {
        Packing::Plain => return contents.to_vec(),
        Packing::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(contents).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(contents, 1).unwrap(),
    };
    let kind = if packing == Packing::Zlib { 1u32 } else { 2 };
    let mut bytes = [kind, 0].map(u32::to_le_bytes).concat();
    bytes.extend([contents.len() as u64, 8].map(u64::to_le_bytes).concat());
    bytes.extend(packed);
    bytes
}

/// Unwind information.
#[derive(Clone)]
pub struct Frames {
    pub bytes: Vec<u8>,
    is_debug: bool,
    common: usize,
}

impl Frames {
    /// `.eh_frame` of x86-64 functions, of which each begins with its return address at the top of the
    /// stack.
    pub fn x86() -> Self {
        let mut frames = Self { bytes: Vec::new(), is_debug: false, common: 0 };
        frames.common("", 16, &[cfa(7, 8), saved(16, 1)].concat());
        frames
    }

    /// The same, of functions that return from signal handlers.
    pub fn x86_signal() -> Self {
        let mut frames = Self::x86();
        frames.common("zS", 16, &[cfa(7, 8), saved(16, 1)].concat());
        frames
    }

    /// `.debug_frame`.
    pub fn debug() -> Self {
        let mut frames = Self { bytes: Vec::new(), is_debug: true, common: 0 };
        frames.common("", 16, &[cfa(7, 8), saved(16, 1)].concat());
        frames
    }

    /// `.eh_frame` of arm64 functions.
    pub fn arm() -> Self {
        let mut frames = Self { bytes: Vec::new(), is_debug: false, common: 0 };
        frames.common("", 30, &cfa(31, 0));
        frames
    }

    /// Adds what the functions that follow have in common; the factor of their offsets is −8.
    pub fn common(&mut self, augmentation: &str, ra: u8, program: &[u8]) {
        self.common = self.bytes.len();
        let mut entry = if self.is_debug { u32::MAX } else { 0 }.to_le_bytes().to_vec();
        entry.push(1);
        entry.extend(augmentation.as_bytes());
        entry.extend([0, 1, 0x78, ra]);
        if augmentation.starts_with('z') {
            entry.push(0);
        }
        entry.extend(program);
        self.entry(&entry);
    }

    /// Adds a function.
    pub fn function(mut self, start: u64, len: u64, program: &[u8]) -> Self {
        let common = if self.is_debug { self.common } else { self.bytes.len() + 4 - self.common };
        let mut entry = (common as u32).to_le_bytes().to_vec();
        entry.extend(start.to_le_bytes());
        entry.extend(len.to_le_bytes());
        if self.bytes[self.common + 9..].starts_with(b"z") {
            entry.push(0);
        }
        entry.extend(program);
        self.entry(&entry);
        self
    }

    fn entry(&mut self, entry: &[u8]) {
        self.bytes.extend((entry.len() as u32).to_le_bytes());
        self.bytes.extend(entry);
    }
}

/// The CFA is a register, below 32, plus an offset.
pub fn cfa(register: u8, offset: u64) -> Vec<u8> {
    [vec![dw::DW_CFA_def_cfa.0, register], uleb(offset)].concat()
}

/// The CFA is the result of an expression.
pub fn cfa_expression(expression: &[u8]) -> Vec<u8> {
    [&[dw::DW_CFA_def_cfa_expression.0, expression.len() as u8], expression].concat()
}

/// A register is saved at this many words below the CFA.
pub fn saved(register: u8, words: u64) -> Vec<u8> {
    [vec![dw::DW_CFA_offset.0 | register], uleb(words)].concat()
}

/// A register is saved where an expression says.
pub fn saved_expression(register: u8, expression: &[u8]) -> Vec<u8> {
    [&[dw::DW_CFA_expression.0, register, expression.len() as u8], expression].concat()
}

/// A register plus an offset below 64, as an operation.
pub fn breg(register: u8, offset: i8) -> [u8; 2] {
    [dw::DW_OP_breg0.0 + register, (offset as u8) & 0x7f]
}

/// The next row begins this many bytes on.
pub fn advance(bytes: u8) -> Vec<u8> {
    vec![dw::DW_CFA_advance_loc1.0, bytes]
}

fn uleb(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 0x7f {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
