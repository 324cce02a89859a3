//! The addresses for which a table of symbols is read: sorted, so that one pass over a table of any
//! size finds for each symbol the few addresses that lie in it.

use std::ops::Range;

/// Comparisons that one table may cause. Symbols that all span everything would otherwise cost their
/// number times that of the addresses.
const MAX_MATCHES: u64 = 20_000_000;

/// Parts into which the range of the addresses is divided, for each address.
const PARTS_EACH: usize = 4;
/// Parts at most: their index stays in the processor's nearest cache.
const MAX_PARTS: usize = 4096;

/// Sorted, distinct addresses.
///
/// A table of 300,000 symbols asks as often for the addresses in a symbol, and most have none: so the
/// range from the first to the last is divided into equal parts, and the search is among the few of one
/// part.
#[derive(Clone)]
pub(super) struct Wanted {
    addresses: Vec<u64>,
    /// Index of the first address in each part, and behind them of one past the last.
    parts: Vec<u32>,
    /// Bits of an address's distance from the first that are below the number of its part.
    shift: u32,
    matches: u64,
}

impl Wanted {
    /// Sorts the addresses.
    pub fn new(mut addresses: Vec<u64>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        let (first, last) = (addresses.first().copied(), addresses.last().copied());
        let (first, span) = (first.unwrap_or(0), last.unwrap_or(0) - first.unwrap_or(0));
        let count = (addresses.len() * PARTS_EACH).next_power_of_two().min(MAX_PARTS);
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(count.ilog2());
        let mut at = 0;
        let mut parts = Vec::with_capacity(count + 1);
        for part in 0..=count as u64 {
            let is_before = |address: &u64| (address - first) >> shift < part;
            at += addresses.iter().skip(at).take_while(|address| is_before(address)).count();
            parts.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
        Self { addresses, parts, shift, matches: 0 }
    }

    /// All of them, sorted.
    pub fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// Indices of those in `start..end`; where there is none, an empty range at the first above.
    pub fn within(&mut self, start: u64, end: u64) -> Range<usize> {
        let first = self.first_from(start);
        let rest = self.addresses.get(first..).unwrap_or_default();
        if rest.first().is_none_or(|address| *address >= end) {
            return first..first;
        }
        let count = rest.partition_point(|a| *a < end);
        self.matches += count as u64;
        first..first + count
    }

    /// Index of the first address that is not below `start`.
    fn first_from(&self, start: u64) -> usize {
        let (Some(low), Some(high)) = (self.addresses.first(), self.addresses.last()) else {
            return 0;
        };
        if start <= *low {
            return 0;
        }
        if start > *high {
            return self.addresses.len();
        }
        let part = usize::try_from((start - low) >> self.shift).unwrap_or(usize::MAX);
        let [from, to] = [part, part.saturating_add(1)]
            .map(|part| self.parts.get(part).map_or(self.addresses.len(), |at| *at as usize));
        let inside = self.addresses.get(from..to).unwrap_or_default();
        from + inside.partition_point(|address| *address < start)
    }

    /// The table matched more than an honest one can; reading it further is work for nothing.
    pub fn is_exhausted(&self) -> bool {
        self.matches > MAX_MATCHES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_find_their_addresses() {
        let mut wanted = Wanted::new(vec![30, 10, 20, 20]);
        assert_eq!(wanted.addresses(), [10, 20, 30]);
        for (start, end, indices) in [
            (0, 10, 0..0),
            (0, 11, 0..1),
            (10, 30, 0..2),
            (11, 19, 1..1),
            (31, 99, 3..3),
            (9, 0, 0..0),
        ] {
            assert_eq!(wanted.within(start, end), indices, "{start}..{end}");
        }
    }

    #[test]
    fn the_parts_lead_to_what_a_plain_search_finds() {
        let far = [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX];
        let crowded = (0..500).map(|i| 0x40_1000 + i * i % 977).collect::<Vec<_>>();
        let uneven = (0..64).map(|i| 1 << i).collect::<Vec<_>>();
        for addresses in [vec![], vec![7], far.to_vec(), crowded, uneven] {
            let mut wanted = Wanted::new(addresses);
            let all = wanted.addresses().to_vec();
            let near = all.iter().flat_map(|a| [a.wrapping_sub(1), *a, a.wrapping_add(1)]);
            for start in near.chain(far) {
                for size in [0, 1, 16, 4096, u64::MAX] {
                    let end = start.saturating_add(size);
                    let first = all.partition_point(|a| *a < start);
                    let last = all.partition_point(|a| *a < end).max(first);
                    assert_eq!(wanted.within(start, end), first..last, "{start:#x}..{end:#x}");
                }
            }
        }
    }

    #[test]
    fn hostile_tables_run_out() {
        let mut wanted = Wanted::new((0..1000).collect());
        let passes = (0..).find(|_| {
            wanted.within(0, u64::MAX);
            wanted.is_exhausted()
        });
        assert_eq!(passes, Some(MAX_MATCHES / 1000));
    }
}
