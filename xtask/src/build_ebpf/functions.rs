//! The functions of a BPF object, for the rules that each must keep.

use anyhow::{Context as _, Result};
use object::read::elf::ElfFile64;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Calls `check` with the name and the code of each, and ends with its first error.
pub fn each(object: &[u8], mut check: impl FnMut(&str, &[u8]) -> Result<()>) -> Result<()> {
    let file: ElfFile64<'_> = ElfFile64::parse(object).context("the linker made no ELF object")?;
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let Some(section) = symbol.section_index() else { continue };
        let code = file.section_by_index(section)?.data()?;
        let start = usize::try_from(symbol.address())?;
        let end = start.saturating_add(usize::try_from(symbol.size())?);
        let code = code.get(start..end).context("a function lies outside of its section")?;
        check(symbol.name()?, code)?;
    }
    Ok(())
}
