//! The memory that debug information may take, and who of the binaries has it.
//!
//! blazesym keeps what it read, and reads more with every address. What that takes is known before it
//! is read, so room is made first: the binaries that were not used for longest are closed, and one that
//! fills the budget alone forgets what was read of it. What nobody asks for any more is closed too: it is
//! memory and a descriptor, and on a host that compiles there are two new ones each second.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::debug_sections;
use super::dwarf::{Dwarf, DwarfError};
use super::dwarf_cost::Refusal;
use super::elf::Elf;
use super::native::RawLine;

/// A binary that was not asked for so long is closed.
const IDLE: Duration = Duration::from_secs(60);

/// How often a binary is opened at most in [`OPENINGS_IN`]. More often means that the budget is too small for
/// the binaries that are in use together: they would be closed and opened again without end, and opening
/// reads all there is. What was closed for being idle does not count.
const MAX_OPENINGS: usize = 3;

/// Fifty binaries of 20 MiB each, all of them in use, then cost half a per cent of a CPU.
const OPENINGS_IN: Duration = Duration::from_secs(15 * 60);

/// Binaries of which it is remembered that their debug information is not used, and when each was
/// opened; when there are more, both are forgotten, which costs a second try of each.
const MAX_REMEMBERED: usize = 8192;

/// Part of the budget that is left where the agent's memory is tight: a fourth.
const TIGHT: u64 = 4;

/// Debug information of several binaries, within a budget.
pub(super) struct Budget {
    /// Bytes, as configured.
    configured: u64,
    /// Bytes now.
    limit: u64,
    open: HashMap<u32, Opened>,
    /// Binaries whose debug information is not used: it is not tried again.
    refused: HashSet<u32>,
    /// When each was opened in the last while.
    openings: HashMap<u32, Vec<Instant>>,
    /// Binaries that were opened too often, and are left alone until they no longer are.
    crowded: HashSet<u32>,
    now: Instant,
    uses: u64,
}

struct Opened {
    dwarf: Dwarf,
    /// The binary's file: gone with the last process that runs it.
    file: Weak<File>,
    last_used: Instant,
    /// Which use that was.
    use_number: u64,
}

impl Budget {
    /// `limit` in bytes.
    pub fn new(limit: u64) -> Self {
        Self {
            configured: limit,
            limit,
            open: HashMap::new(),
            refused: HashSet::new(),
            openings: HashMap::new(),
            crowded: HashSet::new(),
            now: Instant::now(),
            uses: 0,
        }
    }

    /// It is so late: closes what was idle for long, and what nobody runs any more.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        let openings = &mut self.openings;
        self.open.retain(|binary, opened| {
            let is_idle = now.duration_since(opened.last_used) >= IDLE;
            if is_idle {
                openings.remove(binary);
            }
            !is_idle && opened.file.strong_count() > 0
        });
        self.openings.retain(|_, at| {
            at.retain(|at| now.duration_since(*at) < OPENINGS_IN);
            !at.is_empty()
        });
        let openings = &self.openings;
        self.crowded.retain(|id| openings.get(id).is_some_and(|at| at.len() >= MAX_OPENINGS));
    }

    /// Its size in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the agent's memory is tight. What then finds no room is tried again when it no longer is.
    pub fn tighten(&mut self, tight: bool) {
        let limit = if tight { self.configured / TIGHT } else { self.configured };
        if limit > self.limit {
            self.forget();
        }
        self.limit = limit;
        self.make_room(0);
    }

    /// Whether a binary's debug information was given up, for good or for now.
    pub fn is_refused(&self, binary: u32) -> bool {
        self.refused.contains(&binary) || self.crowded.contains(&binary)
    }

    /// What was refused may be tried again.
    fn forget(&mut self) {
        self.refused.clear();
        self.crowded.clear();
        self.openings.clear();
    }

    /// Lines at the addresses, from the debug information of `elf`, which belongs to a binary and its `file`.
    /// After an error the binary is refused, for good or for now.
    pub fn lines(
        &mut self,
        (binary, file): (u32, &Arc<File>),
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        let result = self.try_lines((binary, file), elf, addresses);
        if let Err(error) = &result {
            self.open.remove(&binary);
            let is_crowded = matches!(error, DwarfError::Refused(Refusal::Crowded));
            let refused = if is_crowded { &mut self.crowded } else { &mut self.refused };
            refused.insert(binary);
        }
        result
    }

    fn try_lines(
        &mut self,
        (binary, file): (u32, &Arc<File>),
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        if self.refused.len().max(self.openings.len()) >= MAX_REMEMBERED {
            self.forget();
        }
        let mut opened = match self.open.remove(&binary) {
            Some(opened) => opened,
            None => {
                let openings = self.openings.entry(binary).or_default();
                if openings.len() >= MAX_OPENINGS {
                    return Err(Refusal::Crowded.into());
                }
                openings.push(self.now);
                self.make_room(debug_sections::size(elf)?);
                let dwarf = Dwarf::open(elf, self.limit)?;
                Opened { dwarf, file: Arc::downgrade(file), last_used: self.now, use_number: 0 }
            }
        };
        self.uses += 1;
        (opened.last_used, opened.use_number) = (self.now, self.uses);
        let mut all = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut after = opened.dwarf.bytes().saturating_add(opened.dwarf.needs(*address));
            if after > self.limit {
                opened.dwarf.renew();
                after = opened.dwarf.bytes().saturating_add(opened.dwarf.needs(*address));
            }
            self.make_room(after);
            // What one address needs may be more than there is.
            let fits = after <= self.limit;
            all.push(if fits { opened.dwarf.lines(*address)? } else { Vec::new() });
        }
        self.open.insert(binary, opened);
        Ok(all)
    }

    /// Closes what was not used for longest, until `bytes` more fit.
    fn make_room(&mut self, bytes: u64) {
        loop {
            let used: u64 = self.open.values().map(|opened| opened.dwarf.bytes()).sum();
            if used.saturating_add(bytes) <= self.limit {
                return;
            }
            let oldest = self.open.iter().min_by_key(|(_, opened)| opened.use_number);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { return };
            self.open.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
