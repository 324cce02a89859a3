//! Mappings against segments and parts, honest ones and others.

use std::sync::Arc;

use super::*;
use crate::model::frame::{BinaryKind, Segment};
use crate::model::space::Code;

const BASE: u64 = 0x7f00_0000_0000;

/// A binary with segments of (file offset, size in the file, address).
fn binary(segments: &[(u64, u64, u64)]) -> Binary {
    let segment = |&(file_offset, file_size, address): &(u64, u64, u64)| Segment {
        file_offset,
        file_size,
        address,
    };
    Binary {
        id: 0,
        path: "/lib.so".to_owned(),
        kind: BinaryKind::File,
        build_id: String::new(),
        file: None,
        debug: None,
        segments: segments.iter().map(segment).collect(),
        problem: None,
    }
}

/// A part at an address, of a length, that lies at an offset that is its address.
fn part(address: u64, len: u64) -> PlacedPart {
    let place = Place { region: 3, offset: address as u32 };
    PlacedPart { address, len, place, rules: address as u32 + 8, bytes: 0, id: 5 }
}

/// A mapping at [`BASE`], by file offset and length.
fn mapping(file_offset: u64, len: u64) -> Mapping {
    let (start, end) = (BASE, BASE.saturating_add(len));
    Mapping { start, end, file_offset, code: Code::Binary(Arc::new(binary(&[]))) }
}

/// `from-to table+delta` or `from-to kind`, by offsets from [`BASE`].
fn describe(ranges: &Ranges) -> Vec<String> {
    let mut end = 0;
    let mut texts = Vec::new();
    for range in ranges.as_slice() {
        assert!(range.start >= end && range.len > 0, "{range:x?}");
        end = range.start + u64::from(range.len);
        let what = match MappingKind::from_raw(range.kind.into()).unwrap() {
            MappingKind::Table => {
                assert_eq!((range.region, range.rules), (3, range.table + 8));
                format!("{:x}+{:x}", range.table, range.delta)
            }
            other => other.name().to_owned(),
        };
        texts.push(format!("{:x}-{:x} {what}", range.start - BASE, end - BASE));
    }
    texts
}

fn cut(mapping: &Mapping, segments: &[(u64, u64, u64)], parts: &[PlacedPart]) -> Vec<String> {
    let mut ranges = Ranges::default();
    ranges.add(mapping, Known::Parts(&binary(segments), parts));
    assert_eq!(ranges.beyond(), 0);
    describe(&ranges)
}

#[test]
fn a_mapping_is_cut_where_tables_begin_and_end() {
    for (what, mapping, segments, parts, expected) in [
        (
            "text at the same place in the file and in memory",
            mapping(0x1000, 0x3000),
            &[(0x1000, 0x3000, 0x1000)][..],
            &[part(0x1000, 0x3000)][..],
            &["0-3000 1000+0"][..],
        ),
        (
            "text elsewhere in memory, as LLD places it; the page begins before it",
            mapping(0x1000, 0x3000),
            &[(0x1340, 0x2000, 0x5340)],
            &[part(0x5300, 0x2100)],
            &["0-340 no_rows", "340-2340 5300+40", "2340-3000 no_rows"],
        ),
        (
            "a mapping of the middle",
            mapping(0x2000, 0x1000),
            &[(0x1000, 0x9000, 0x1000)],
            &[part(0x1000, 0x9000)],
            &["0-1000 1000+1000"],
        ),
        (
            "two parts with a gap",
            mapping(0x1000, 0x4000),
            &[(0x1000, 0x4000, 0x1000)],
            &[part(0x1000, 0x1000), part(0x3000, 0x1000)],
            &["0-1000 1000+0", "1000-2000 no_rows", "2000-3000 3000+0", "3000-4000 no_rows"],
        ),
        (
            "two segments of which only the second has rows",
            mapping(0, 0x4000),
            &[(0, 0x1000, 0), (0x2000, 0x2000, 0x12000)],
            &[part(0x12000, 0x2000)],
            &["0-2000 no_rows", "2000-4000 12000+0"],
        ),
        (
            "no part reaches it",
            mapping(0, 0x1000),
            &[(0, 0x1000, 0)],
            &[part(0x9000, 0x1000)],
            &["0-1000 no_rows"],
        ),
        ("no segment", mapping(0, 0x1000), &[], &[part(0, 0x1000)], &["0-1000 no_rows"]),
    ] {
        assert_eq!(cut(&mapping, segments, parts), expected, "{what}");
    }
}

#[test]
fn segments_that_lie_make_no_overlap() {
    let whole = mapping(0x1000, 0x2000);
    for segments in [
        &[(0x1000, 0x2000, 0x1000), (0x1000, 0x2000, 0x1000)][..],
        &[(0x2000, 0x1000, 0x2000), (0x1000, 0x2000, 0x1000)],
        &[(0, u64::MAX, 0)],
        &[(0x1000, u64::MAX, u64::MAX - 0x1000)],
        &[(u64::MAX, u64::MAX, 0)],
    ] {
        // The checks are in `describe`.
        cut(&whole, segments, &[part(0x1000, 0x2000)]);
        cut(&whole, segments, &[part(0, u64::MAX)]);
        cut(&whole, segments, &[PlacedPart { address: u64::MAX - 0x800, ..part(0, 0x1000) }]);
    }
    let end_of_world =
        Mapping { start: u64::MAX - 0x1000, end: u64::MAX, ..mapping(u64::MAX - 0x800, 0) };
    let mut ranges = Ranges::default();
    ranges.add(&end_of_world, Known::Parts(&binary(&[(0, u64::MAX, 0)]), &[part(0, u64::MAX)]));
}

#[test]
fn a_mapping_without_a_table_is_one_range() {
    for (known, name) in [(Known::Pending, "pending"), (Known::NoRows, "no_rows")] {
        let mut ranges = Ranges::default();
        ranges.add(&mapping(0, 0x1000), known);
        assert_eq!(describe(&ranges), [format!("0-1000 {name}")]);
    }
}

#[test]
fn huge_mappings_are_cut_and_absurd_ones_are_cut_off() {
    let mut ranges = Ranges::default();
    ranges.add(&mapping(0, 9 << 30), Known::NoRows);
    let covered: u64 = ranges.as_slice().iter().map(|r| u64::from(r.len)).sum();
    assert_eq!((ranges.as_slice().len(), covered, ranges.beyond()), (3, 9 << 30, 0));
    describe(&ranges);
    ranges.add(&Mapping { start: 0, end: u64::MAX, ..mapping(0, 0) }, Known::NoRows);
    assert_eq!((ranges.as_slice().len(), ranges.beyond()), (3 + MAX_PIECES, 1));
}

#[test]
fn a_list_has_an_end() {
    let mut ranges = Ranges::default();
    for i in 0..u64::from(MAPPINGS_MAX) + 7 {
        let start = BASE + i * 0x2000;
        ranges.add(&Mapping { start, end: start + 0x1000, ..mapping(0, 0) }, Known::NoRows);
    }
    assert_eq!((ranges.as_slice().len(), ranges.beyond()), (MAPPINGS_MAX as usize, 7));
}
