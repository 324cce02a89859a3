//! How the memory for unwinding is shared out: for the kernel's tables and what is kept of them, and for
//! reading one large and one small binary at a time.

use super::reading::Memory;
use crate::runtime::native::Limits;

/// The kernel's tables, in 64ths.
const TABLES: u64 = 39;
/// What they may take of all that an agent may take: one part in so many.
const OF_WHOLE: u64 = 4;
/// The smallest budget for unwinding.
const SMALLEST: u64 = 8 << 20;
/// A large binary.
const LARGE: Share = Share { section: 9, functions: 7, table: 6 };
/// A small one.
const SMALL: Share = Share { section: 1, functions: 1, table: 1 };
const _: () = assert!(TABLES + LARGE.sum() + SMALL.sum() == 64);

/// What reading a binary may take, in 64ths.
struct Share {
    /// Its sections.
    section: u64,
    /// The list of its functions, which is in proportion to the sections.
    functions: u64,
    /// The table that is made.
    table: u64,
}

impl Share {
    const fn sum(&self) -> u64 {
        self.section + self.functions + self.table
    }

    fn limits(&self, budget_bytes: u64) -> Limits {
        let (section, table) = (share(budget_bytes, self.section), share(budget_bytes, self.table));
        Limits { section, table, ..Limits::default() }
    }
}

const fn share(budget_bytes: u64, parts: u64) -> u64 {
    budget_bytes / 64 * parts
}

/// For the kernel's tables, and what is kept here of them. Of an agent that may take `whole` bytes they take
/// a part: what is mapped of them is resident, and binaries that come and go fill what they may fill.
pub fn tables(budget_bytes: u64, whole: Option<u64>) -> u64 {
    let of_whole = whole.map_or(u64::MAX, |bytes| bytes / OF_WHOLE).max(share(SMALLEST, TABLES));
    share(budget_bytes, TABLES).min(of_whole)
}

/// What one binary may cost in a recording that may take so many bytes for unwinding.
pub fn table_limits(budget_bytes: u64) -> Limits {
    LARGE.limits(budget_bytes)
}

/// For reading.
pub fn reading(budget_bytes: u64) -> Memory {
    Memory {
        small_file: share(budget_bytes, SMALL.section),
        small: SMALL.limits(budget_bytes),
        large: LARGE.limits(budget_bytes),
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::native::REGION_BYTES;

    use super::*;

    #[test]
    fn the_smallest_budget_has_a_region() {
        // Beside the region, the map of processes and some of the agent's own memory.
        let enough = u64::from(REGION_BYTES) + (500 << 10);
        assert!(tables(SMALLEST, None) > enough && tables(SMALLEST, Some(16 << 20)) > enough);
    }

    #[test]
    fn tables_leave_room_for_the_rest_of_an_agent() {
        assert_eq!(tables(64 << 20, None), 39 << 20);
        assert_eq!(tables(64 << 20, Some(96 << 20)), 24 << 20);
        assert_eq!(tables(16 << 20, Some(96 << 20)), (16 << 20) / 64 * 39);
    }
}
