//! From an address to its mapping, and from a place in a binary's code to its rule.
//!
//! A table covers the code of a binary, or a part of it, in **chunks** of 256 bytes:
//!
//! ```text
//! chunks × u32    bits 0–7: n, how many rows begin inside the chunk
//!                 bits 8–31: where its block is, in units of 2 bytes from the table's beginning; where no
//!                 row begins, the rule that holds in all of it
//! pad to 8
//! rules × u64     each rule of the binary once, those that hold in the most places first
//! blocks          u16            the rule that holds at the chunk's first byte
//!                 n × u8         where in the chunk each row begins, ascending, from 1 on
//!                 pad to 2
//!                 n × u16        the rule from there on
//! ```
//!
//! All integers are little endian, as both processors are. The last rows of a chunk hold to its end:
//! the next chunk's block says again what holds there. So three cache lines answer: the chunk, its
//! block, the rule; two within a long function, as half of all chunks are. The most common rules share a
//! line or two, which the frames before have mostly brought along.

use super::{MAPPINGS_MAX, Mapping, rule::Rule};

/// Bytes of code that share a block.
pub const CHUNK_BYTES: u32 = 1 << CHUNK_SHIFT;
/// Its binary logarithm.
pub const CHUNK_SHIFT: u32 = 8;
/// Halvings that leave one mapping of the longest list.
const MAPPING_STEPS: u32 = 15;
const _: () = assert!(MAPPINGS_MAX <= 1 << MAPPING_STEPS);
/// How many of them are done between two looks at what is left.
const MAPPING_STEPS_AT_ONCE: u32 = 3;
const _: () = assert!(MAPPING_STEPS.is_multiple_of(MAPPING_STEPS_AT_ONCE));
/// Halvings of the groups of 8 rows that a chunk may have.
const GROUP_STEPS: u32 = 5;

/// Bytes of a region of the arena, by offset. What lies outside of it reads as anything.
pub trait Region {
    /// One byte.
    fn u8(&self, at: u32) -> u64;
    /// Two bytes at a multiple of 2.
    fn u16(&self, at: u32) -> u64;
    /// Four bytes at a multiple of 4.
    fn u32(&self, at: u32) -> u64;
    /// Eight bytes at a multiple of 8.
    fn u64(&self, at: u32) -> u64;
    /// Eight bytes anywhere.
    fn word(&self, at: u32) -> u64;
    /// Passes a value on. The kernel side makes its verifier forget what it knew of it.
    fn forget(&mut self, value: u32) -> u32 {
        value
    }
}

/// A region that lies in a slice; behind its end are zeros.
#[derive(Clone, Copy, Debug)]
pub struct Bytes<'a>(pub &'a [u8]);

impl Bytes<'_> {
    fn read<const N: usize>(&self, at: u32) -> [u8; N] {
        let rest = self.0.get(at as usize..).unwrap_or_default();
        let mut bytes = [0; N];
        bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        bytes
    }
}

impl Region for Bytes<'_> {
    fn u8(&self, at: u32) -> u64 {
        u8::from_le_bytes(self.read(at)).into()
    }

    fn u16(&self, at: u32) -> u64 {
        u16::from_le_bytes(self.read(at)).into()
    }

    fn u32(&self, at: u32) -> u64 {
        u32::from_le_bytes(self.read(at)).into()
    }

    fn u64(&self, at: u32) -> u64 {
        self.word(at)
    }

    fn word(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.read(at))
    }
}

/// The rule at a place of a table, whose rules lie at `rules`.
#[inline(always)]
pub fn rule<R: Region>(region: &mut R, table: u32, rules: u32, place: u32) -> Rule {
    let chunk = region.u32(table.wrapping_add((place >> CHUNK_SHIFT) * 4)) as u32;
    let rows = chunk & 0xff;
    let number = if rows == 0 {
        chunk >> 8
    } else {
        let block = table.wrapping_add((chunk >> 8) * 2);
        let before = rows_up_to(region, block.wrapping_add(2), rows, place & 0xff);
        // Behind the rule at the chunk's beginning come the rows' places, and then their rules.
        let rule = if before == 0 {
            block
        } else {
            block.wrapping_add(2 + ((rows + 1) & !1)).wrapping_add((before - 1) * 2)
        };
        region.u16(rule) as u32
    };
    let number = region.forget(number);
    Rule(region.u64(rules.wrapping_add(number * 8)))
}

/// How many of `rows` ascending bytes are not above `place`.
#[inline(always)]
fn rows_up_to<R: Region>(region: &mut R, places: u32, rows: u32, place: u32) -> u32 {
    // All rows before the group of 8 in which the answer lies.
    let mut before = 0;
    if rows > 8 {
        let mut step = 8 << GROUP_STEPS;
        while step > 8 {
            step >>= 1;
            let next = before + step;
            // Past the last row it reads what is not a place, and is not asked. A branch, which the processor
            // foresees: without one, each read would wait for the one before.
            let reaches = next < rows && region.u8(places.wrapping_add(next)) <= place.into();
            before = region.forget(if reaches { next } else { before });
        }
    }
    let left = rows - before;
    let left = if left > 8 { 8 } else { left };
    before + bytes_up_to(region.word(places.wrapping_add(before)), left, place)
}

/// How many of the first `count` bytes of a word, 0 to 8, are not above `place`; the bytes ascend.
#[inline(always)]
fn bytes_up_to(word: u64, count: u32, place: u32) -> u32 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let places = u64::from(place) * ONES;
    // Per byte, without a borrow from its neighbour: the top bit is set where `place >= byte`.
    let low = (places | TOPS).wrapping_sub(word & !TOPS);
    let reached = (places & !word | !(places ^ word) & low) & TOPS;
    // In two steps: none is of 64 bits.
    let half = 4 * (8 - count);
    let counted = reached & (TOPS >> half >> half);
    ((counted >> 7).wrapping_mul(ONES) >> 56) as u32
}

/// 1 where an address is not below another, 0 where it is. The kernel's addresses, which have the highest
/// bit, stay above the others without it.
#[inline(always)]
const fn is_reached(address: u64, start: u64) -> u32 {
    const REST: u64 = u64::MAX >> 1;
    (!(address & REST).wrapping_sub(start & REST) >> 63) as u32
}

/// The mapping of a list that holds `address`; `None` where none does.
#[inline(always)]
pub fn mapping<R: Region>(region: &mut R, list: u32, count: u32, address: u64) -> Option<Mapping> {
    const SIZE: u32 = size_of::<Mapping>() as u32;
    let (mut first, mut left) = (region.forget(0), region.forget(count));
    if left.wrapping_sub(1) >= MAPPINGS_MAX {
        return None;
    }
    let mut steps = 0;
    while steps < MAPPING_STEPS && left > 1 {
        // Several at once: the verifier follows each way out. What is one mapping stays one.
        for _ in 0..MAPPING_STEPS_AT_ONCE {
            let half = left >> 1;
            let start = region.u64(list.wrapping_add(first.wrapping_add(half).wrapping_mul(SIZE)));
            first = first.wrapping_add(half.wrapping_mul(is_reached(address, start)));
            left -= half;
        }
        first = region.forget(first);
        left = region.forget(left);
        steps += MAPPING_STEPS_AT_ONCE;
    }
    let at = list.wrapping_add(first.wrapping_mul(SIZE));
    let (start, len) = (region.u64(at), region.u32(at + 8) as u32);
    if address.wrapping_sub(start) >= len.into() {
        return None;
    }
    Some(Mapping {
        start,
        len,
        delta: region.u32(at + 12) as u32,
        table: region.u32(at + 16) as u32,
        rules: region.u32(at + 20) as u32,
        id: region.u32(at + 24) as u32,
        region: region.u16(at + 28) as u16,
        kind: region.u16(at + 30) as u16,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use zerocopy::{FromBytes, IntoBytes};

    use super::super::MappingKind;
    use super::super::rule::Cfa;
    use super::*;

    #[test]
    fn bytes_are_counted_up_to_a_place() {
        for count in 0..=8u32 {
            for first in [0u32, 1, 100, 127, 128, 200] {
                let places: Vec<u8> = (0..8).map(|i| (first + i * 6) as u8).collect();
                let word = u64::from_le_bytes(*places.first_chunk().unwrap());
                for place in 0..=255 {
                    let expected = places[..count as usize].iter().filter(|p| **p <= place as u8);
                    assert_eq!(bytes_up_to(word, count, place), expected.count() as u32);
                }
            }
        }
    }

    /// A table of one chunk, with rule 0 at its beginning and rule n from the n-th place on.
    fn chunk(places: &[u8]) -> (Vec<u8>, u32) {
        let (rules, rows) = (8u32, places.len());
        let block = rules + 8 * (rows as u32 + 1);
        let which = if rows == 0 { 0 } else { block / 2 };
        let mut bytes = (which << 8 | rows as u32).to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        (0..=rows).for_each(|i| bytes.extend(Rule::new(Cfa::Sp, i as i16).0.to_le_bytes()));
        bytes.extend(0u16.to_le_bytes());
        bytes.extend(places);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        (1..=rows as u16).for_each(|i| bytes.extend(i.to_le_bytes()));
        (bytes, rules)
    }

    #[test]
    fn each_row_holds_up_to_the_next() {
        for rows in [0usize, 1, 2, 7, 8, 9, 16, 17, 63, 64, 65, 127, 200, 255] {
            let places: Vec<u8> = (0..rows).map(|i| (1 + i * 255 / rows.max(1)) as u8).collect();
            let (bytes, rules) = chunk(&places);
            for place in 0..=255u32 {
                let before = places.iter().filter(|p| u32::from(**p) <= place).count();
                let found = rule(&mut Bytes(&bytes), 0, rules, place);
                assert_eq!(found, Rule::new(Cfa::Sp, before as i16), "{rows} rows, {place}");
            }
        }
    }

    fn mappings(count: u32) -> Vec<u8> {
        let each = |i: u32| Mapping {
            start: u64::from(i) * 0x3000 + 0x1000,
            len: 0x1000,
            table: i,
            kind: MappingKind::NoRows.short(),
            ..Mapping::default()
        };
        (0..count).flat_map(|i| each(i).as_bytes().to_vec()).collect()
    }

    #[test]
    fn an_address_is_found_in_the_mapping_that_holds_it() {
        for count in [0, 1, 2, 3, 5, 100, 5_000] {
            let bytes = mappings(count);
            for at in (0..count).chain([count + 5]) {
                let start = u64::from(at) * 0x3000 + 0x1000;
                let find =
                    |address| mapping(&mut Bytes(&bytes), 0, count, address).map(|m| m.table);
                let expected = (at < count).then_some(at);
                assert_eq!(
                    (find(start), find(start + 0xfff)),
                    (expected, expected),
                    "{at}/{count}"
                );
                assert_eq!((find(start - 1), find(start + 0x1000)), (None, None), "{at}/{count}");
            }
        }
    }

    #[test]
    fn the_kernels_page_is_above_all_others() {
        let of = |start| Mapping { start, len: 0x1000, ..Mapping::default() };
        let starts = [0x1000, 0x7fff_0000_0001, 0xffff_ffff_ff60_0000];
        let bytes: Vec<u8> = starts.iter().flat_map(|s| of(*s).as_bytes().to_vec()).collect();
        for start in starts {
            for (address, expected) in
                [(start, Some(start)), (start + 0xfff, Some(start)), (start - 1, None)]
            {
                let found = mapping(&mut Bytes(&bytes), 0, 3, address).map(|m| m.start);
                assert_eq!(found, expected, "{address:#x}");
            }
        }
    }

    #[test]
    fn a_mapping_comes_back_whole() {
        let (start, len, delta, table, rules) = (1, 2, 3, 4, 5);
        let whole = Mapping { start, len, delta, table, rules, id: 6, region: 7, kind: 8 };
        assert_eq!(mapping(&mut Bytes(whole.as_bytes()), 0, 1, 2), Some(whole));
        assert_eq!(Mapping::read_from_bytes(whole.as_bytes()), Ok(whole));
    }

    #[test]
    fn no_table_and_no_list_makes_it_panic() {
        let (bytes, rules) = chunk(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            for place in [0, 5, 255, 256, 1 << 20, u32::MAX] {
                rule(&mut Bytes(&changed), 0, rules, place);
                rule(&mut Bytes(&changed[..at]), at as u32, u32::MAX, place);
                mapping(&mut Bytes(&changed), place, u32::MAX, u64::from(place));
            }
        }
    }
}
