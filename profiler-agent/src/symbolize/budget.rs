//! The memory that debug information may take, and who of the binaries has it.
//!
//! blazesym keeps what it parsed, and parses more with every address. What is kept for a binary is its
//! excerpt, whose size is known, and tables, whose growth is read from the kernel's count of the
//! agent's own memory: not exact (other threads allocate too), but true where it matters, in the size
//! of the process. When the budget is exceeded, the binaries that were not used for longest are closed;
//! one that exceeds it alone forgets its tables.

use std::collections::{HashMap, HashSet};
use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use super::debug_sections;
use super::dwarf::{Dwarf, DwarfError};
use super::elf::Elf;
use super::native::RawLine;

/// Debug information of several binaries, within a budget.
pub(super) struct Budget {
    /// Bytes.
    limit: u64,
    open: HashMap<u32, Opened>,
    /// Binaries whose debug information is not used: it is not tried again.
    refused: HashSet<u32>,
    clock: u64,
}

struct Opened {
    dwarf: Dwarf,
    /// Bytes of its tables.
    tables: u64,
    last_used: u64,
}

impl Opened {
    fn bytes(&self) -> u64 {
        self.dwarf.size.saturating_add(self.tables)
    }
}

impl Budget {
    /// `limit` in bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, open: HashMap::new(), refused: HashSet::new(), clock: 0 }
    }

    /// Its size in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether a binary's debug information was given up.
    pub fn is_refused(&self, binary: u32) -> bool {
        self.refused.contains(&binary)
    }

    /// Lines at the addresses, from the debug information of `elf`, which belongs to a binary. An error
    /// comes once; from then on the binary is refused.
    pub fn lines(
        &mut self,
        binary: u32,
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        let result = self.try_lines(binary, elf, addresses);
        if result.is_err() {
            self.open.remove(&binary);
            self.refused.insert(binary);
        }
        result
    }

    fn try_lines(
        &mut self,
        binary: u32,
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        self.clock += 1;
        if !self.open.contains_key(&binary) {
            self.make_room(binary, debug_sections::size(elf)?);
            let dwarf = Dwarf::open(elf, self.limit)?;
            self.open.insert(binary, Opened { dwarf, tables: 0, last_used: self.clock });
        }
        let mut all = Vec::with_capacity(addresses.len());
        for address in addresses {
            let Some(opened) = self.open.get_mut(&binary) else { break };
            opened.last_used = self.clock;
            let before = own_memory();
            all.push(opened.dwarf.lines(*address)?);
            opened.tables = opened.tables.saturating_add(own_memory().saturating_sub(before));
            if opened.bytes() > self.limit {
                opened.dwarf.renew();
                opened.tables = 0;
            }
            self.make_room(binary, 0);
        }
        Ok(all)
    }

    /// Closes others than `binary` until `more` bytes fit.
    fn make_room(&mut self, binary: u32, more: u64) {
        loop {
            let used: u64 = self.open.values().map(Opened::bytes).sum();
            if used.saturating_add(more) <= self.limit {
                return;
            }
            let others = self.open.iter().filter(|(id, _)| **id != binary);
            let Some(oldest) = others.min_by_key(|(_, o)| o.last_used).map(|(id, _)| *id) else {
                return;
            };
            self.open.remove(&oldest);
        }
    }
}

/// Memory of this process that no file backs, in bytes; 0 if `/proc` is not there.
fn own_memory() -> u64 {
    let Ok(statm) = fs::read_to_string("/proc/self/statm") else { return 0 };
    let mut pages = statm.split(' ').skip(1).map_while(|field| field.parse::<u64>().ok());
    let (resident, shared) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |size| size as u64);
    resident.saturating_sub(shared).saturating_mul(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_follows_what_is_allocated() {
        let before = own_memory();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = own_memory();
        drop(block);
        assert!(before > 0 && after >= before + (60 << 20), "{before} {after}");
    }
}
