//! The memory that debug information may take, and who of the binaries has it.
//!
//! blazesym keeps what it read, and reads more with every address. What that takes is known before it
//! is read, so room is made first: the binaries that were not used for longest are closed, and one that
//! fills the budget alone forgets what was read of it. What nobody asks for any more is closed too: it is
//! memory and a descriptor, and on a host that compiles there are two new ones each second.

use std::collections::{HashMap, HashSet};
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
/// reads all there is.
const MAX_OPENINGS: usize = 3;

/// One that is closed for being idle may be opened again each time.
const OPENINGS_IN: Duration = IDLE.saturating_mul(MAX_OPENINGS as u32);

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
    now: Instant,
    uses: u64,
}

struct Opened {
    dwarf: Dwarf,
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
            now: Instant::now(),
            uses: 0,
        }
    }

    /// It is so late: closes what was idle for long.
    pub fn tick(&mut self, now: Instant) {
        self.now = now;
        self.open.retain(|_, opened| now.duration_since(opened.last_used) < IDLE);
        self.openings.retain(|_, at| at.last().is_some_and(|at| is_recent(now, at)));
    }

    /// Its size in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the agent's memory is tight. What then finds no room is tried again when it no longer is.
    pub fn tighten(&mut self, tight: bool) {
        let limit = if tight { self.configured / TIGHT } else { self.configured };
        if limit > self.limit {
            self.refused.clear();
            self.openings.clear();
        }
        self.limit = limit;
        self.make_room(0);
    }

    /// Whether a binary's debug information was given up.
    pub fn is_refused(&self, binary: u32) -> bool {
        self.refused.contains(&binary)
    }

    /// Lines at the addresses, from the debug information of `elf`, which belongs to a binary. An error
    /// comes once; from then on the binary is refused, but where it only was opened too often for now.
    pub fn lines(
        &mut self,
        binary: u32,
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        let result = self.try_lines(binary, elf, addresses);
        if let Err(error) = &result {
            self.open.remove(&binary);
            if !matches!(error, DwarfError::Refused(Refusal::Crowded)) {
                self.refused.insert(binary);
            }
        }
        result
    }

    fn try_lines(
        &mut self,
        binary: u32,
        elf: &Elf,
        addresses: &[u64],
    ) -> Result<Vec<Vec<RawLine>>, DwarfError> {
        if self.refused.len().max(self.openings.len()) >= MAX_REMEMBERED {
            self.refused.clear();
            self.openings.clear();
        }
        let mut opened = match self.open.remove(&binary) {
            Some(opened) => opened,
            None => {
                let openings = self.openings.entry(binary).or_default();
                openings.retain(|at| is_recent(self.now, at));
                if openings.len() >= MAX_OPENINGS {
                    return Err(Refusal::Crowded.into());
                }
                openings.push(self.now);
                self.make_room(debug_sections::size(elf)?);
                Opened { dwarf: Dwarf::open(elf, self.limit)?, last_used: self.now, use_number: 0 }
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

/// Whether an opening counts.
fn is_recent(now: Instant, at: &Instant) -> bool {
    now.duration_since(*at) < OPENINGS_IN
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use object::{Object, ObjectSymbol, SymbolKind};

    use super::*;

    /// This test's own program, and addresses all over it.
    fn own_program() -> (Elf, Vec<u64>) {
        let path = "/proc/self/exe";
        let bytes = std::fs::read(path).unwrap();
        let file = object::File::parse(bytes.as_slice()).unwrap();
        let functions = file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 8);
        let mut addresses: Vec<u64> = functions.map(|s| s.address() + 4).collect();
        addresses.sort_unstable();
        let addresses = addresses.into_iter().step_by(101).collect();
        (Elf::open(Arc::new(File::open(path).unwrap())).unwrap(), addresses)
    }

    fn used(budget: &Budget) -> u64 {
        budget.open.values().map(|opened| opened.dwarf.bytes()).sum()
    }

    #[test]
    fn a_tight_budget_gives_the_same_lines() {
        let (elf, addresses) = own_program();
        let mut ample = Budget::new(u64::MAX);
        let lines = ample.lines(0, &elf, &addresses).unwrap();
        assert!(lines.iter().filter(|l| l.first().is_some_and(|l| l.line > 0)).count() > 50);

        // Too little for everything at once.
        let tight = used(&ample) - 1;
        let mut budget = Budget::new(tight);
        for _ in 0..2 {
            assert!(budget.lines(0, &elf, &addresses).unwrap() == lines);
            assert!(used(&budget) <= tight);
        }
    }

    #[test]
    fn what_finds_no_room_while_memory_is_tight_is_tried_again_afterwards() {
        let (elf, addresses) = own_program();
        let mut ample = Budget::new(u64::MAX);
        let lines = ample.lines(0, &elf, &addresses[..1]).unwrap();
        let mut budget = Budget::new(used(&ample) * 2);
        budget.lines(0, &elf, &addresses[..1]).unwrap();
        budget.tighten(true);
        assert_eq!(used(&budget), 0);
        assert!(budget.lines(0, &elf, &addresses[..1]).is_err());
        assert!(budget.is_refused(0));
        budget.tighten(false);
        assert!(!budget.is_refused(0));
        assert!(budget.lines(0, &elf, &addresses[..1]).unwrap() == lines);
    }

    #[test]
    fn what_is_idle_is_closed_and_may_come_back_each_time() {
        let (elf, addresses) = own_program();
        let mut budget = Budget::new(u64::MAX);
        let start = Instant::now();
        for round in 0..10 {
            budget.tick(start + IDLE * round);
            assert!(budget.open.is_empty(), "round {round}");
            budget.lines(0, &elf, &addresses[..1]).unwrap();
            budget.tick(start + IDLE * round + IDLE / 2);
            assert_eq!(budget.open.len(), 1, "round {round}");
        }
    }

    #[test]
    fn binaries_make_room_for_each_other() {
        let (elf, addresses) = own_program();
        let mut ample = Budget::new(u64::MAX);
        ample.lines(0, &elf, &addresses).unwrap();
        let limit = used(&ample) * 5 / 2;
        let mut budget = Budget::new(limit);
        for binary in [0, 1, 0, 2] {
            budget.lines(binary, &elf, &addresses).unwrap();
            assert!(used(&budget) <= limit);
        }
        let mut open: Vec<u32> = budget.open.keys().copied().collect();
        open.sort_unstable();
        assert_eq!(open, [0, 2], "1 was not used for longest");
    }

    #[test]
    fn binaries_that_crowd_each_other_out_are_opened_now_and_then() {
        let (elf, addresses) = own_program();
        let mut ample = Budget::new(u64::MAX);
        ample.lines(0, &elf, &addresses[..1]).unwrap();
        let mut budget = Budget::new(used(&ample) * 3 / 2);
        let start = Instant::now();
        for time in [start, start + OPENINGS_IN] {
            let opened = (0..4 * MAX_OPENINGS as u32).filter(|turn| {
                budget.tick(time + Duration::from_secs(1) * *turn);
                budget.lines(turn % 2, &elf, &addresses[..1]).is_ok()
            });
            // The last one to be opened stays.
            assert!((2 * MAX_OPENINGS..=3 * MAX_OPENINGS).contains(&opened.count()));
            assert!(!budget.is_refused(0) && !budget.is_refused(1));
        }
    }

    #[test]
    fn binaries_that_are_gone_are_forgotten() {
        let (elf, addresses) = own_program();
        let mut budget = Budget::new(1000);
        for binary in 0..2 * MAX_REMEMBERED as u32 + 10 {
            assert!(budget.lines(binary, &elf, &addresses[..1]).is_err());
            assert!(budget.refused.len().max(budget.openings.len()) <= MAX_REMEMBERED);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_once() {
        let (elf, addresses) = own_program();
        let mut budget = Budget::new(1000);
        assert!(budget.lines(7, &elf, &addresses).is_err());
        assert!(budget.is_refused(7) && !budget.is_refused(8));
    }
}
