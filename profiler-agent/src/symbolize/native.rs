//! Names for places in binaries: from debug information where it is there and fits the budget, from
//! symbol tables otherwise.

use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Instant;

use quick_cache::unsync::Cache;

use super::budget::Budget;
use super::dwarf::DwarfError;
use super::elf::{Elf, ElfError};
use super::notes::Notes;
use super::text::printable;
use super::wanted::Wanted;
use super::{debug_file, debug_sections, plt, symbol_table};
use crate::model::frame::{Binary, BinaryKind};

/// A function at an address: its symbol, not yet demangled, and where its source stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawLine {
    /// Name in the symbol table or in the debug information.
    pub symbol: String,
    /// Source file, empty where unknown.
    pub file: String,
    /// Line in it, 0 where unknown.
    pub line: u32,
}

/// Binaries whose debug file is remembered.
const MAX_DEBUG_FILES: usize = 512;

/// The separate debug file of a binary.
struct Found {
    /// The binary's own file: gone with the last process that runs it.
    of: Weak<File>,
    debug: Option<Arc<Elf>>,
}

/// Names places in binaries.
pub(super) struct Native {
    debug_dirs: Vec<PathBuf>,
    budget: Budget,
    /// The separate debug file of each binary that has none of its own inside.
    debug_files: Cache<u32, Found>,
}

impl Native {
    /// Looks for separate debug files in `debug_dirs`, and lets debug information take `budget` bytes.
    pub fn new(debug_dirs: Vec<PathBuf>, budget: u64) -> Self {
        Self { debug_dirs, budget: Budget::new(budget), debug_files: Cache::new(MAX_DEBUG_FILES) }
    }

    /// Whether the agent's memory is tight: debug information then has less.
    pub fn tighten(&mut self, tight: bool) {
        self.budget.tighten(tight);
    }

    /// It is so late: closes what nobody asked for in a while.
    pub fn tick(&mut self, now: Instant) {
        self.budget.tick(now);
        self.debug_files.retain(|_, found| found.of.strong_count() > 0);
    }

    /// The functions at each wanted address (ELF virtual addresses, in the order of
    /// [`Wanted::addresses`]), innermost first.
    pub fn names(
        &mut self,
        binary: &Binary,
        wanted: &Wanted,
        notes: &mut Notes,
    ) -> Vec<Vec<RawLine>> {
        let none = vec![Vec::new(); wanted.addresses().len()];
        let Some(file) = binary.file.as_ref().filter(|_| binary.kind != BinaryKind::Opaque) else {
            if let Some(problem) = &binary.problem {
                notes.problems.add(format!("{}: no names: {problem}", binary.path));
            }
            return none;
        };
        self.try_names(binary, file, wanted, notes).unwrap_or_else(|error| {
            notes.losses.add("binaries_unreadable", 1);
            notes.problems.add(format!("{}: no names: {error}", binary.path));
            none
        })
    }

    fn try_names(
        &mut self,
        binary: &Binary,
        file: &Arc<File>,
        wanted: &Wanted,
        notes: &mut Notes,
    ) -> Result<Vec<Vec<RawLine>>, ElfError> {
        let elf = Elf::open(Arc::clone(file))?;
        let debug = self.debug_file(&elf, binary, file);
        let mut lines = self.lines((&elf, debug.as_deref()), (binary, file), wanted, notes);
        let symbols = match symbols(&elf, debug.as_deref(), &mut wanted.clone(), notes) {
            Err(error) if lines.iter().all(Vec::is_empty) => return Err(error),
            symbols => symbols.unwrap_or_default(),
        };
        for (slot, symbol) in lines.iter_mut().zip(symbols) {
            let Some(symbol) = symbol.map(|symbol| printable(&symbol)) else { continue };
            // The symbol is the name by which a function is known, whatever its debug information
            // calls it: `read`, not `__GI___libc_read`.
            match slot.last_mut() {
                Some(function) => function.symbol = symbol,
                None => slot.push(RawLine { symbol, ..RawLine::default() }),
            }
        }
        Ok(lines)
    }

    /// Lines from debug information, in the file or in its debug file. Empty where there is none.
    fn lines(
        &mut self,
        (elf, debug): (&Elf, Option<&Elf>),
        (binary, file): (&Binary, &Arc<File>),
        wanted: &Wanted,
        notes: &mut Notes,
    ) -> Vec<Vec<RawLine>> {
        let addresses = wanted.addresses();
        let source =
            [Some(elf), debug].into_iter().flatten().find(|elf| debug_sections::exist(elf));
        let lines = source
            .filter(|_| !self.budget.is_refused(binary.id))
            .map(|source| self.budget.lines((binary.id, file), source, addresses));
        match lines {
            Some(Ok(lines)) => lines,
            Some(Err(error)) => {
                let panicked = matches!(error, DwarfError::Panicked);
                notes.losses.add("debug_information_panics", panicked.into());
                notes.losses.add("binaries_without_lines", 1);
                let size = source.and_then(|elf| debug_sections::size(elf).ok()).unwrap_or(0);
                notes.problems.add(format!(
                    "{}: function names only, without lines and inlined functions: its debug \
                     information ({} MiB) {error} (memory budget: {} MiB)",
                    binary.path,
                    size >> 20,
                    self.budget.limit() >> 20,
                ));
                vec![Vec::new(); addresses.len()]
            }
            None => vec![Vec::new(); addresses.len()],
        }
    }

    /// The separate debug file of a binary without debug information of its own.
    fn debug_file(&mut self, elf: &Elf, binary: &Binary, file: &Arc<File>) -> Option<Arc<Elf>> {
        if debug_sections::exist(elf) {
            return None;
        }
        if let Some(known) = self.debug_files.get(&binary.id) {
            return known.debug.clone();
        }
        let debug = debug_file::find(elf, binary, &self.debug_dirs).map(Arc::new);
        let found = Found { of: Arc::downgrade(file), debug: debug.clone() };
        self.debug_files.insert(binary.id, found);
        debug
    }
}

/// Symbols from the file's tables, and where those are stripped from its debug file's. What they leave
/// out may be a stub.
fn symbols(
    elf: &Elf,
    debug: Option<&Elf>,
    wanted: &mut Wanted,
    notes: &mut Notes,
) -> Result<Vec<Option<Vec<u8>>>, ElfError> {
    let mut found = symbol_table::read(elf, wanted)?;
    if let Some(debug) = debug.filter(|_| symbol_table::is_stripped(elf)) {
        let whole = symbol_table::read(debug, wanted)?;
        found.cut |= whole.cut;
        for (slot, symbol) in found.symbols.iter_mut().zip(whole.symbols) {
            *slot = symbol.or(slot.take());
        }
    }
    if found.cut {
        notes.losses.add("symbol_tables_cut", 1);
    }
    // Stubs that have no names are no reason to give up those of the functions.
    if plt::fill(elf, wanted.addresses(), &mut found.symbols).unwrap_or(true) {
        notes.losses.add("relocation_tables_cut", 1);
    }
    Ok(found.symbols)
}
