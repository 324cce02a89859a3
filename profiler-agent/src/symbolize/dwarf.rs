//! The debug information of one file, read by blazesym: lines and inlined functions.
//!
//! What may go wrong with a file that someone made up: blazesym maps it (so it gets an [`excerpt`]),
//! allocates as the file says and recurses as deep as it is nested (so [`dwarf_scan`] walks through it
//! before), and panics on some contradictions, such as a line that names a file outside the table
//! (`Lines::row_location`). Panics are caught; the file is given up then, so that nothing looks at what
//! they left behind.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;

use blazesym::symbolize::source::{Elf as ElfSource, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};
use thiserror::Error;

use super::debug_sections::DebugSections;
use super::dwarf_cost::{Cost, Refusal};
use super::elf::{Elf, ElfError};
use super::native::RawLine;
use super::text::printable;
use super::{debug_sections, dwarf_scan, excerpt, fence};

/// Functions at one address, at most: the inlined ones, and the one that they are inlined into.
const MAX_LINES: usize = 128;

/// Why a file's debug information is not used.
#[derive(Debug, Error)]
pub(super) enum DwarfError {
    /// It would cost too much, or is not what a compiler writes.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Elf(#[from] ElfError),
    /// Reading it panicked, here or in a library.
    #[error("is malformed (reading it panicked)")]
    Panicked,
}

/// Debug information that is open.
pub(super) struct Dwarf {
    symbolizer: Symbolizer,
    source: Source<'static>,
    /// Sealed; `source` is its path under `/proc/self/fd`, so it must stay open as long.
    _excerpt: File,
    /// Bytes of the excerpt.
    size: u64,
    cost: Cost,
    /// Units that were read, and the bytes of their tables.
    read: HashSet<u32>,
    tables: u64,
}

impl Dwarf {
    /// Opens a file's debug information, if it can be used within `budget` bytes.
    pub fn open(elf: &Elf, budget: u64) -> Result<Self, DwarfError> {
        let size = debug_sections::size(elf)?;
        if size > budget {
            return Err(Refusal::Memory.into());
        }
        // The walk uses the same libraries as blazesym, on the same untrusted bytes.
        let read = fence::guard(|| {
            let sections = DebugSections::read(elf, size)?;
            let cost = dwarf_scan::cost(&sections, budget - size)?;
            Ok::<_, DwarfError>((excerpt::write(sections).map_err(ElfError::from)?, cost))
        });
        let (excerpt, cost) = read.unwrap_or(Err(DwarfError::Panicked))?;
        let path = format!("/proc/self/fd/{}", excerpt.as_raw_fd());
        let source = Source::Elf(ElfSource::new(path));
        let symbolizer = symbolizer();
        let read = HashSet::new();
        Ok(Self { symbolizer, source, _excerpt: excerpt, size, cost, read, tables: 0 })
    }

    /// Bytes that it takes now.
    pub fn bytes(&self) -> u64 {
        self.size.saturating_add(self.cost.fixed).saturating_add(self.tables)
    }

    /// Bytes that it will take more when an address is looked up.
    pub fn needs(&self, address: u64) -> u64 {
        let units: BTreeMap<u32, u64> = self.cost.units_at(address).collect();
        let unread = units.iter().filter(|(unit, _)| !self.read.contains(unit));
        unread.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Forgets everything that was read.
    pub fn renew(&mut self) {
        self.symbolizer = symbolizer();
        self.read.clear();
        self.tables = 0;
    }

    /// The functions at an ELF virtual address, innermost first; empty where none is known.
    pub fn lines(&mut self, address: u64) -> Result<Vec<RawLine>, DwarfError> {
        self.tables = self.tables.saturating_add(self.needs(address));
        self.read.extend(self.cost.units_at(address).map(|(unit, _)| unit));
        let address = Input::VirtOffset(address);
        let look_up = || match self.symbolizer.symbolize_single(&self.source, address) {
            Ok(Symbolized::Sym(symbol)) => lines_of(&symbol),
            Ok(Symbolized::Unknown(_)) | Err(_) => Vec::new(),
        };
        fence::guard(look_up).ok_or(DwarfError::Panicked)
    }
}

/// Each file has one of its own: blazesym caches by path, and the paths here are used again.
fn symbolizer() -> Symbolizer {
    Symbolizer::builder()
        .enable_auto_reload(false)
        .enable_code_info(true)
        .enable_inlined_fns(true)
        .enable_demangling(false)
        .set_debug_dirs(Some::<[&str; 0]>([]))
        .build()
}

fn lines_of(symbol: &Sym<'_>) -> Vec<RawLine> {
    if symbol.name.is_empty() {
        return Vec::new();
    }
    let inlined = symbol.inlined.iter().rev().map(|f| line(&f.name, f.code_info.as_ref()));
    let function = line(&symbol.name, symbol.code_info.as_deref());
    inlined.take(MAX_LINES - 1).chain([function]).collect()
}

fn line(name: &str, code: Option<&CodeInfo<'_>>) -> RawLine {
    let name = if name.is_empty() { "[inlined]" } else { name };
    RawLine {
        symbol: printable(name.as_bytes()),
        file: code.map(source_file).unwrap_or_default(),
        line: code.and_then(|code| code.line).unwrap_or_default(),
    }
}

fn source_file(code: &CodeInfo<'_>) -> String {
    let path = code.to_path();
    printable(OsStr::new(path.as_ref()).as_bytes())
}
