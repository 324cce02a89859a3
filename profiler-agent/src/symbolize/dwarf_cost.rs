//! What it costs to read a file's debug information, and at which address.

use thiserror::Error;

/// Why debug information is not read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would take more memory than there is for it.
    #[error("takes more memory than is left for it")]
    Memory,
    /// It and that of others take more than there is for all.
    #[error("was closed too often to make room for that of others, and is left alone for now")]
    Crowded,
    /// It is nested deeper than any compiler nests it.
    #[error("is nested too deeply")]
    Depth,
    /// It is too intricate to be looked through.
    #[error("takes too long to read")]
    Time,
    /// It contradicts itself.
    #[error("is malformed")]
    Malformed,
}

impl From<gimli::Error> for Refusal {
    fn from(_: gimli::Error) -> Self {
        Self::Malformed
    }
}

/// Memory for the debug information of one file, besides its sections.
#[derive(Debug, Default)]
pub(super) struct Cost {
    /// Bytes from the start.
    pub fixed: u64,
    /// Bytes of each unit, from when an address in it is looked up.
    units: Vec<u64>,
    /// Where the units lie, sorted by their start.
    ranges: Vec<UnitRange>,
}

/// Addresses of a unit.
#[derive(Clone, Copy, Debug)]
struct UnitRange {
    start: u64,
    end: u64,
    /// The highest end of this range and those before it.
    max_end: u64,
    unit: u32,
}

impl Cost {
    /// Adds a unit that takes `size` bytes and lies at `ranges` (start and end).
    pub fn add_unit(&mut self, size: u64, ranges: &[(u64, u64)]) {
        let unit = self.unit_count();
        self.units.push(size);
        for range in ranges {
            self.add_range(unit, *range);
        }
    }

    /// Number of units, which is the number of the next one.
    pub fn unit_count(&self) -> u32 {
        self.units.len() as u32
    }

    /// Adds a range of a unit.
    pub fn add_range(&mut self, unit: u32, (start, end): (u64, u64)) {
        self.ranges.push(UnitRange { start, end, max_end: 0, unit });
    }

    /// To be called when all is added.
    pub fn sort(&mut self) {
        self.ranges.sort_unstable_by_key(|range| range.start);
        let mut max_end = 0;
        for range in &mut self.ranges {
            max_end = range.end.max(max_end);
            range.max_end = max_end;
        }
    }

    /// The units that are read when an address is looked up, which may come more than once, and the
    /// bytes that each takes.
    pub fn units_at(&self, address: u64) -> impl Iterator<Item = (u32, u64)> + '_ {
        let end = self.ranges.partition_point(|range| range.start <= address);
        let before = self.ranges.get(..end).unwrap_or_default().iter().rev();
        let near = before.take_while(move |range| range.max_end > address);
        let holding = near.filter(move |range| range.end > address);
        holding.filter_map(|range| Some((range.unit, *self.units.get(range.unit as usize)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_by_address() {
        let mut cost = Cost::default();
        cost.add_unit(100, &[(10, 20), (40, 50)]);
        cost.add_unit(200, &[(15, 45)]);
        cost.add_unit(300, &[]);
        cost.add_range(2, (60, 61));
        cost.sort();
        for (address, units) in [
            (9, vec![]),
            (10, vec![(0, 100)]),
            (15, vec![(1, 200), (0, 100)]),
            (20, vec![(1, 200)]),
            (42, vec![(0, 100), (1, 200)]),
            (50, vec![]),
            (60, vec![(2, 300)]),
            (61, vec![]),
        ] {
            assert_eq!(cost.units_at(address).collect::<Vec<_>>(), units, "{address}");
        }
    }
}
