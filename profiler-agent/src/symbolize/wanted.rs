//! The addresses for which a table of symbols is read: sorted, so that one pass over a table of any
//! size finds for each symbol the few addresses that lie in it.

use std::ops::Range;

/// Comparisons that one table may cause. Symbols that all span everything would otherwise cost their
/// number times that of the addresses.
const MAX_MATCHES: u64 = 20_000_000;

/// Sorted, distinct addresses.
#[derive(Clone)]
pub(super) struct Wanted {
    addresses: Vec<u64>,
    matches: u64,
}

impl Wanted {
    /// Sorts the addresses.
    pub fn new(mut addresses: Vec<u64>) -> Self {
        addresses.sort_unstable();
        addresses.dedup();
        Self { addresses, matches: 0 }
    }

    /// All of them, sorted.
    pub fn addresses(&self) -> &[u64] {
        &self.addresses
    }

    /// Indices of those in `start..end`; where there is none, an empty range at the first above.
    pub fn within(&mut self, start: u64, end: u64) -> Range<usize> {
        let first = self.addresses.partition_point(|a| *a < start);
        let rest = self.addresses.get(first..).unwrap_or_default();
        let count = rest.partition_point(|a| *a < end);
        self.matches += count as u64;
        first..first + count
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
    fn hostile_tables_run_out() {
        let mut wanted = Wanted::new((0..1000).collect());
        let passes = (0..).find(|_| {
            wanted.within(0, u64::MAX);
            wanted.is_exhausted()
        });
        assert_eq!(passes, Some(MAX_MATCHES / 1000));
    }
}
