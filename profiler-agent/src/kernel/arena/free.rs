//! The free ranges of the arena: the smallest that is large enough is taken, neighbours are joined.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::tables::Place;

/// Every range begins and ends at a multiple of this many bytes.
const ALIGN: u32 = 8;

/// The length that a thing takes up.
pub fn whole(len: u32) -> u32 {
    len.max(1).next_multiple_of(ALIGN)
}

/// Free ranges of all regions. There is at most one more per region than there are ranges in use.
#[derive(Debug, Default)]
pub struct Free {
    by_place: BTreeMap<(u32, u32), u32>,
    by_len: BTreeSet<(u32, u32, u32)>,
    bytes: u64,
}

impl Free {
    /// Bytes that are free.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes `len` bytes, a multiple of the alignment, out of the shortest range that has as many; of
    /// equals out of the first.
    pub fn take(&mut self, len: u32) -> Option<Place> {
        let (found, region, offset) = self.by_len.range((len, 0, 0)..).next().copied()?;
        self.remove(region, offset, found);
        if found > len {
            self.insert(region, offset + len, found - len);
        }
        Some(Place { region, offset })
    }

    /// Gives a range back.
    pub fn give(&mut self, place: Place, len: u32) {
        let Place { region, mut offset } = place;
        let mut len = len;
        let before = self.by_place.range(..(region, offset)).next_back();
        if let Some(((r, o), l)) = before.map(|(at, l)| (*at, *l))
            && r == region
            && o + l == offset
        {
            self.remove(r, o, l);
            (offset, len) = (o, l + len);
        }
        if let Some(next) = self.by_place.get(&(region, offset + len)).copied() {
            self.remove(region, offset + len, next);
            len += next;
        }
        self.insert(region, offset, len);
    }

    fn insert(&mut self, region: u32, offset: u32, len: u32) {
        self.by_place.insert((region, offset), len);
        self.by_len.insert((len, region, offset));
        self.bytes += u64::from(len);
    }

    fn remove(&mut self, region: u32, offset: u32, len: u32) {
        self.by_place.remove(&(region, offset));
        self.by_len.remove(&(len, region, offset));
        self.bytes -= u64::from(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(region: u32, offset: u32) -> Place {
        Place { region, offset }
    }

    fn longest(free: &Free) -> u32 {
        free.by_len.last().map_or(0, |(len, ..)| *len)
    }

    fn two_regions() -> Free {
        let mut free = Free::default();
        free.give(at(0, 0), 1000);
        free.give(at(1, 0), 1000);
        free
    }

    #[test]
    fn lengths_are_rounded_up() {
        assert_eq!([0, 1, 8, 9, 16].map(whole), [8, 8, 8, 16, 16]);
    }

    #[test]
    fn the_shortest_range_that_fits_is_taken() {
        let mut free = two_regions();
        assert_eq!(free.take(600), Some(at(0, 0)), "the first of two equals");
        assert_eq!(free.take(408), Some(at(1, 0)));
        assert_eq!(free.take(400), Some(at(0, 600)), "it fits");
        assert_eq!((free.take(600), free.bytes(), longest(&free)), (None, 592, 592));
    }

    #[test]
    fn neighbours_are_joined_within_their_region() {
        let mut free = two_regions();
        let taken: Vec<_> = (0..10).map(|_| free.take(200).unwrap()).collect();
        assert_eq!((free.bytes(), longest(&free)), (0, 0));
        for i in [1, 3, 2, 0, 4, 9, 7, 5, 6, 8] {
            free.give(taken[i], 200);
        }
        assert_eq!((free.bytes(), longest(&free)), (2000, 1000));
        assert_eq!((free.take(1000), free.take(1000)), (Some(at(0, 0)), Some(at(1, 0))));
    }

    #[test]
    fn no_two_ranges_overlap_and_nothing_is_lost() {
        // A sequence of takes and gives by a generator; a map of bytes is the model.
        let mut free = two_regions();
        let (mut held, mut state): (Vec<(Place, u32)>, u64) = (Vec::new(), 1);
        let mut owner = vec![false; 2000];
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (state >> 33) as usize;
            let range = |(p, l): (Place, u32)| {
                let start = (p.region * 1000 + p.offset) as usize;
                start..start + l as usize
            };
            if !random.is_multiple_of(3) {
                let len = whole((random / 3 % 120) as u32);
                let Some(place) = free.take(len) else { continue };
                assert!(place.offset % ALIGN == 0 && place.offset + len <= 1000);
                for byte in &mut owner[range((place, len))] {
                    assert!(!std::mem::replace(byte, true), "{place:?}");
                }
                held.push((place, len));
            } else if !held.is_empty() {
                let one = held.swap_remove(random / 3 % held.len());
                owner[range(one)].fill(false);
                free.give(one.0, one.1);
            }
            let used: u32 = held.iter().map(|(_, len)| len).sum();
            assert_eq!(free.bytes() + u64::from(used), 2000);
            assert!(
                free.by_place.len() <= held.len() + 2 && free.by_len.len() == free.by_place.len()
            );
        }
    }
}
