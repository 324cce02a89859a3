//! Names for places in binaries: from debug information where it is there and fits the budget, from
//! symbol tables otherwise.

use std::path::PathBuf;
use std::sync::Arc;

use super::debug_file;
use super::elf::{Elf, ElfError};
use super::problems::Problems;
use super::symbol_table;
use super::text::printable;
use super::wanted::Wanted;
use crate::model::frame::Binary;
use crate::model::losses::Losses;

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

/// Names places in binaries.
pub(super) struct Native {
    debug_directories: Vec<PathBuf>,
}

impl Native {
    pub fn new(debug_directories: Vec<PathBuf>) -> Self {
        Self { debug_directories }
    }

    /// The functions at each wanted address (ELF virtual addresses, in the order of
    /// [`Wanted::addresses`]), innermost first.
    pub fn names(
        &mut self,
        binary: &Binary,
        wanted: &mut Wanted,
        problems: &mut Problems,
        losses: &mut Losses,
    ) -> Vec<Vec<RawLine>> {
        let mut lines = vec![Vec::new(); wanted.addresses().len()];
        let Some(file) = &binary.file else { return lines };
        let result = Elf::open(Arc::clone(file)).and_then(|elf| {
            let symbols = self.symbols(&elf, binary, wanted, losses)?;
            for (slot, symbol) in lines.iter_mut().zip(symbols) {
                if let (true, Some(symbol)) = (slot.is_empty(), symbol) {
                    slot.push(RawLine { symbol: printable(&symbol), ..RawLine::default() });
                }
            }
            Ok(())
        });
        if let Err(error) = result {
            losses.add("binaries_unreadable", 1);
            problems.add(format!("{}: no names: {error}", binary.path));
        }
        lines
    }

    fn symbols(
        &self,
        elf: &Elf,
        binary: &Binary,
        wanted: &mut Wanted,
        losses: &mut Losses,
    ) -> Result<Vec<Option<Vec<u8>>>, ElfError> {
        let mut found = symbol_table::read(elf, wanted)?;
        if symbol_table::is_stripped(elf) {
            let dirs = &self.debug_directories;
            if let Some(debug) = debug_file::find(elf, &binary.path, &binary.build_id, dirs) {
                let full = symbol_table::read(&debug, wanted)?;
                found.cut |= full.cut;
                for (slot, symbol) in found.symbols.iter_mut().zip(full.symbols) {
                    *slot = symbol.or(slot.take());
                }
            }
        }
        if found.cut {
            losses.add("symbol_tables_cut", 1);
        }
        Ok(found.symbols)
    }
}
