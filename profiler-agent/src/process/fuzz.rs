//! The fuzzer's way to what `/proc` says of a process.

use super::address_space::{AddressSpace, Budget};
use super::maps;
use crate::model::space::{Code, Mapping};

/// Mappings that are kept: few, so that limits are reached.
const LIMIT: usize = 16;

/// Reads a `maps` file, and maps what it says.
pub fn maps(input: &[u8]) {
    let Ok(maps) = maps::read(input, 1, 1, LIMIT) else { return };
    assert!(maps.mappings.len() <= LIMIT);
    let mut space = AddressSpace::new(Budget::new(LIMIT, LIMIT / 2));
    for mmap in maps.mappings {
        assert!(mmap.len > 0 && mmap.path.len() <= input.len());
        let (start, end) = (mmap.start, mmap.start.saturating_add(mmap.len));
        space.insert(Mapping { start, end, file_offset: 0, code: Code::Generated });
        assert!(space.len() <= LIMIT / 2);
        let ordered = |(a, b): (&Mapping, &Mapping)| a.start < a.end && a.end <= b.start;
        let mappings = space.mappings();
        assert!(mappings.iter().zip(mappings.iter().skip(1)).all(ordered));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus() {
        crate::corpus::replay("maps", super::maps);
    }
}
