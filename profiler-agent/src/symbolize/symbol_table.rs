//! The symbol tables of an ELF file: `.symtab` (or the one packed in `.gnu_debugdata`), then `.dynsym`.
//!
//! A table is streamed once through a small buffer for all addresses that are wanted of its file, and
//! of its names only those that were chosen are read. So a table of any size costs no memory, and
//! nothing needs to be kept for the next time. (blazesym sorts the whole table of a file that it maps:
//! memory that a budget must reckon with, and SIGBUS when the file's owner truncates it.)

use std::cmp::Reverse;
use std::io::{self, Read};
use std::ops::ControlFlow::{Break, Continue};
use std::sync::Arc;

use object::read::elf::Sym;
use object::{LittleEndian, elf};
use xz2::read::XzDecoder;
use xz2::stream::Stream;

use super::elf::{Elf, ElfError, Section};
use super::memory_file;
use super::wanted::Wanted;

/// Bytes of one table that are read at most: 11 million symbols.
const MAX_TABLE: u64 = 256 << 20;
/// Longest mangled name that is read, bytes.
pub(super) const MAX_SYMBOL: usize = 16 << 10;
/// Bytes of `.gnu_debugdata` that are read at most, packed and unpacked, and its decoder's memory.
const MAX_MINI_DEBUG_INFO: u64 = 32 << 20;
/// Aliases of wanted addresses whose names are compared at most, in one table.
const MAX_TIES: u32 = 10_000;

/// What the tables of a file say.
#[derive(Default)]
pub(super) struct Found {
    /// Symbol at each wanted address, in the order of [`Wanted::addresses`].
    pub symbols: Vec<Option<Vec<u8>>>,
    /// A table was longer, or matched more, than is read.
    pub cut: bool,
}

/// Looks the wanted addresses (ELF virtual addresses) up.
pub(super) fn read(elf: &Elf, wanted: &mut Wanted) -> Result<Found, ElfError> {
    let mut found = Found { symbols: vec![None; wanted.addresses().len()], cut: false };
    let packed = match elf.section(".symtab") {
        Some(_) => None,
        None => mini_debug_info(elf)?,
    };
    let whole = packed.as_ref().unwrap_or(elf);
    if let Some(table) = whole.section(".symtab") {
        fill(whole, table, Sizeless::ReachOn, wanted, &mut found)?;
    }
    let is_complete = found.symbols.iter().all(Option::is_some);
    if let Some(table) = elf.section(".dynsym").filter(|_| !is_complete) {
        fill(elf, table, Sizeless::Exact, wanted, &mut found)?;
    }
    Ok(found)
}

/// Whether a file has a table of more than its dynamic symbols.
pub(super) fn is_stripped(elf: &Elf) -> bool {
    elf.section(".symtab").is_none() && elf.section(".gnu_debugdata").is_none()
}

/// What a symbol without a size covers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sizeless {
    /// Everything up to the next symbol: assembly code is often written so.
    ReachOn,
    /// Its own address: the dynamic table is too sparse for more.
    Exact,
}

fn fill(
    elf: &Elf,
    table: &Section,
    sizeless: Sizeless,
    wanted: &mut Wanted,
    found: &mut Found,
) -> Result<(), ElfError> {
    let Some(strings) = elf.section_at(table.link as usize) else {
        return Err(ElfError::Malformed("symbol tables"));
    };
    let mut search = Search::new(elf, strings, sizeless, wanted);
    found.cut |= search.run(table)?;
    for (slot, best) in found.symbols.iter_mut().zip(search.finish()) {
        if slot.is_none() {
            *slot = best.and_then(|symbol| elf.string(strings, symbol.name.into(), MAX_SYMBOL));
        }
    }
    Ok(())
}

/// A symbol that may name a wanted address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    start: u64,
    /// Offset in the string table.
    name: u32,
    /// Lower is better: by type, then by binding.
    rank: (u8, u8),
    section: u16,
}

/// What is known so far of one wanted address.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The innermost symbol whose size covers it.
    covering: Option<Candidate>,
    /// The nearest one below without a size…
    sizeless: Option<Candidate>,
    /// …which this start of another, nearer one ends.
    nearest: u64,
}

/// One pass over one table.
struct Search<'a> {
    elf: &'a Elf,
    strings: &'a Section,
    sizeless: Sizeless,
    wanted: &'a mut Wanted,
    slots: Vec<Slot>,
    ties: u32,
}

impl<'a> Search<'a> {
    fn new(elf: &'a Elf, strings: &'a Section, sizeless: Sizeless, wanted: &'a mut Wanted) -> Self {
        let slots = vec![Slot::default(); wanted.addresses().len()];
        Self { elf, strings, sizeless, wanted, slots, ties: 0 }
    }

    /// Streams the table; returns whether it was cut.
    fn run(&mut self, table: &Section) -> Result<bool, ElfError> {
        if self.elf.is_64 {
            self.run_class::<elf::Sym64<LittleEndian>>(table)
        } else {
            self.run_class::<elf::Sym32<LittleEndian>>(table)
        }
    }

    fn run_class<S: Sym<Endian = LittleEndian>>(
        &mut self,
        table: &Section,
    ) -> Result<bool, ElfError> {
        let elf = self.elf;
        let is_cut = elf.entries::<S>(table, MAX_TABLE, |symbol| {
            self.offer(&Symbol::of(symbol));
            if self.wanted.is_exhausted() { Break(()) } else { Continue(()) }
        })?;
        Ok(is_cut || self.wanted.is_exhausted())
    }

    /// Most symbols lie between the wanted addresses, or are no code: that is found out first.
    fn offer(&mut self, symbol: &Symbol) {
        let Some(kind) = kind_rank(symbol.kind) else { return };
        let start = symbol.value;
        let size = match (symbol.size, self.sizeless) {
            (0, Sizeless::ReachOn) => 0,
            (size, _) => size.max(1),
        };
        // The first wanted address above it stands for those that follow: see `finish`.
        let covered = self.wanted.within(start, start.saturating_add(size));
        let Some(slot) = self.slots.get(covered.start) else { return };
        if covered.is_empty() && start < slot.nearest {
            return;
        }
        let Some(candidate) = self.candidate(symbol, kind) else { return };
        if let Some(slot) = self.slots.get_mut(covered.start) {
            slot.nearest = slot.nearest.max(start);
            let key = |c: &Candidate| (c.start, Reverse(c.rank));
            if size == 0 && slot.sizeless.is_none_or(|old| key(&candidate) > key(&old)) {
                slot.sizeless = Some(candidate);
            }
        }
        for index in covered {
            self.cover(index, candidate);
        }
    }

    /// Only what stands for code: functions, and untyped symbols (assembly) in executable sections.
    fn candidate(&self, symbol: &Symbol, kind: u8) -> Option<Candidate> {
        // `$x` and `$d` mark code and data in between.
        let is_mark = kind == 1 && symbol.size == 0 && symbol.bind == elf::STB_LOCAL;
        if is_mark && matches!(self.elf.machine, elf::EM_AARCH64 | elf::EM_ARM) {
            return None;
        }
        if symbol.section == elf::SHN_UNDEF || symbol.section == elf::SHN_ABS {
            return None;
        }
        if symbol.section.0 < elf::SHN_LORESERVE {
            let section = self.elf.section_at(symbol.section.0.into())?;
            if !section.flags.contains(elf::SHF_EXECINSTR) {
                return None;
            }
        }
        let bind = match symbol.bind {
            elf::STB_GLOBAL | elf::STB_GNU_UNIQUE => 0,
            elf::STB_WEAK => 1,
            _ => 2,
        };
        Some(Candidate {
            start: symbol.value,
            name: symbol.name,
            rank: (kind, bind),
            section: symbol.section.0,
        })
    }

    fn cover(&mut self, index: usize, new: Candidate) {
        let Some(old) = self.slots.get(index).and_then(|slot| slot.covering) else {
            return self.set(index, new);
        };
        let better = if old.start != new.start {
            new.start > old.start
        } else if self.ties < MAX_TIES {
            self.ties += 1;
            self.preference(&new) < self.preference(&old)
        } else {
            false
        };
        if better {
            self.set(index, new);
        }
    }

    fn set(&mut self, index: usize, candidate: Candidate) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.covering = Some(candidate);
        }
    }

    /// Of aliases the one for users: a function, with fewer leading underscores (`poll`, not `__poll`),
    /// visible from outside.
    fn preference(&self, candidate: &Candidate) -> (u8, usize, u8) {
        let name = self.elf.string(self.strings, candidate.name.into(), 8).unwrap_or_default();
        let underscores = name.iter().take_while(|b| **b == b'_').count();
        (candidate.rank.0, underscores, candidate.rank.1)
    }

    /// The chosen symbol of each wanted address.
    fn finish(self) -> Vec<Option<Candidate>> {
        let mut nearest = 0;
        let mut sizeless: Option<Candidate> = None;
        let mut chosen = Vec::with_capacity(self.slots.len());
        for (slot, address) in self.slots.iter().zip(self.wanted.addresses()) {
            nearest = slot.nearest.max(nearest);
            if slot.sizeless.is_some_and(|new| sizeless.is_none_or(|old| new.start >= old.start)) {
                sizeless = slot.sizeless;
            }
            let reaching = sizeless.filter(|symbol| {
                let section = self.elf.section_at(symbol.section.into());
                symbol.start == nearest && section.is_some_and(|s| s.contains(*address))
            });
            chosen.push(slot.covering.or(reaching));
        }
        chosen
    }
}

/// How well a symbol of this type stands for code, lower is better; `None` where it does not.
fn kind_rank(kind: elf::SymbolType) -> Option<u8> {
    match kind {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => Some(0),
        elf::STT_NOTYPE => Some(1),
        _ => None,
    }
}

/// A symbol of either class.
struct Symbol {
    name: u32,
    kind: elf::SymbolType,
    bind: elf::SymbolBind,
    section: elf::SymbolSection,
    value: u64,
    size: u64,
}

impl Symbol {
    fn of<S: Sym<Endian = LittleEndian>>(symbol: &S) -> Self {
        Self {
            name: symbol.st_name(LittleEndian),
            kind: symbol.st_type(),
            bind: symbol.st_bind(),
            section: symbol.st_shndx(LittleEndian),
            value: symbol.st_value(LittleEndian).into(),
            size: symbol.st_size(LittleEndian).into(),
        }
    }
}

/// The small ELF file with local symbols that some distributions pack into stripped binaries.
fn mini_debug_info(elf: &Elf) -> Result<Option<Elf>, ElfError> {
    let Some(section) = elf.section(".gnu_debugdata") else { return Ok(None) };
    let packed = elf.contents(section, MAX_MINI_DEBUG_INFO)?;
    let decoder = Stream::new_stream_decoder(MAX_MINI_DEBUG_INFO, 0).map_err(io::Error::other)?;
    let mut file = memory_file::create(c"mini-debug-info")?;
    let unpacked = XzDecoder::new_stream(packed.as_slice(), decoder);
    let len = io::copy(&mut unpacked.take(MAX_MINI_DEBUG_INFO), &mut file)?;
    if len == MAX_MINI_DEBUG_INFO {
        return Err(ElfError::Malformed("MiniDebugInfo"));
    }
    memory_file::seal(&file)?;
    Elf::open(Arc::new(file)).map(Some)
}
