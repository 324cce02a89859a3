//! Rules that were looked up before, by place.
//!
//! Stacks lead through the same few places again and again: of the frames of a loop of compilers, seven in eight
//! are at 1,000 of 20,000 places. To look one up takes three or four cache lines in as many pages, which a
//! sample mostly finds in no cache; here it is one line of 16 KiB.
//!
//! All CPUs share the entries, and nobody locks them. One that two CPUs wrote at the same time is nobody's,
//! since its words do not match. Nor does anybody remove one: a table that comes later has another [`id`].

use super::rule::Rule;

/// Entries, each for one place at a time.
pub const ENTRIES: usize = 1 << INDEX_BITS;
const INDEX_BITS: u32 = 10;

/// A place and its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Entry {
    /// The place, as in [`Key`], and the rule: one exclusive-ored with the other.
    pub both: u64,
    /// The rule.
    pub rule: u64,
}

/// The id of the table that was placed as number `count`: odd, as an entry of zeros is of no place. It repeats
/// after two thousand million tables.
pub const fn id(count: u32) -> u32 {
    count << 1 | 1
}

/// A place in a table.
#[derive(Clone, Copy, Debug)]
pub struct Key(u64);

impl Key {
    /// Of this place in the table of this [`id`].
    #[inline(always)]
    pub const fn new(table: u32, place: u32) -> Self {
        // An odd factor, so that each product is that of one place alone. 2^32 divided by the golden ratio, for
        // the table and for the place: neighbours of both spread over the entries.
        const FACTOR: u64 = 0x9e37_79b9_9e37_79b1;
        Self(((table as u64) << u32::BITS | place as u64).wrapping_mul(FACTOR))
    }

    /// Index of its entry.
    #[inline(always)]
    pub const fn index(self) -> u64 {
        self.0 >> (u64::BITS - INDEX_BITS)
    }

    /// The entry that says which rule holds there.
    #[inline(always)]
    pub const fn entry(self, rule: Rule) -> Entry {
        Entry { both: self.0 ^ rule.0, rule: rule.0 }
    }

    /// The rule that holds there; `None` where the entry is of another place.
    #[inline(always)]
    pub const fn rule(self, entry: Entry) -> Option<Rule> {
        if entry.both ^ entry.rule == self.0 { Some(Rule(entry.rule)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::collections::HashSet;

    use super::super::rule::Cfa;
    use super::*;

    const PLACES: [u32; 6] = [0, 1, 0x40, 0x12_3456, u32::MAX - 1, u32::MAX];
    const ZEROS: Entry = Entry { both: 0, rule: 0 };

    #[test]
    fn an_entry_is_of_one_place() {
        let tables = (0..2000).chain([u32::MAX]).map(id);
        let keys = tables.flat_map(|table| PLACES.map(|place| Key::new(table, place)));
        assert_eq!(
            keys.clone().map(|key| key.0).collect::<HashSet<_>>().len(),
            2001 * PLACES.len()
        );
        let other = Key::new(id(2001), 0);
        for key in keys {
            assert!((key.index() as usize) < ENTRIES);
            assert_eq!(key.rule(ZEROS), None);
            for rule in [Rule::NONE, Rule::END, Rule::new(Cfa::Sp, -1)] {
                assert_eq!(key.rule(key.entry(rule)), Some(rule));
                assert_eq!(other.rule(key.entry(rule)), None);
            }
        }
    }

    #[test]
    fn an_entry_of_two_writers_is_nobodys() {
        let (a, b) = (Key::new(id(1), 0x40), Key::new(id(2), 0x1234));
        let (of_a, of_b) = (a.entry(Rule::new(Cfa::Sp, 2)), b.entry(Rule::new(Cfa::Fp, 2)));
        for mixed in [Entry { rule: of_b.rule, ..of_a }, Entry { rule: of_a.rule, ..of_b }] {
            assert_eq!((a.rule(mixed), b.rule(mixed)), (None, None));
        }
    }

    #[test]
    fn places_spread_over_the_entries() {
        let keys = (0..ENTRIES as u32).map(|n| Key::new(id(n % 9), n * 52));
        let used: HashSet<u64> = keys.map(Key::index).collect();
        // As many as chance would hit: 1 - 1/e.
        assert!(used.len() > ENTRIES * 6 / 10, "{}", used.len());
    }
}
