//! Cutting and joining, against a model, and the bounds.

use std::collections::BTreeMap;

use super::*;
use crate::model::frame::{Binary, BinaryKind};

fn binary(id: u32) -> Arc<Binary> {
    Arc::new(Binary {
        id,
        path: format!("/lib{id}.so"),
        kind: BinaryKind::File,
        build_id: String::new(),
        file: None,
        debug: None,
        segments: Vec::new(),
        problem: None,
    })
}

fn file(start: u64, end: u64, file_offset: u64, id: u32) -> Mapping {
    Mapping { start, end, file_offset, code: Code::Binary(binary(id)) }
}

fn generated(start: u64, end: u64) -> Mapping {
    Mapping { start, end, file_offset: 0, code: Code::Generated }
}

fn empty() -> AddressSpace {
    AddressSpace::new(Budget::new(1_000_000, 100_000))
}

/// `start-end:id+offset` for files, `start-end` for generated code.
fn describe(space: &AddressSpace) -> String {
    let text: Vec<String> = space
        .mappings
        .iter()
        .map(|m| match &m.code {
            Code::Binary(b) => format!("{:x}-{:x}:{}+{:x}", m.start, m.end, b.id, m.file_offset),
            Code::Generated => format!("{:x}-{:x}", m.start, m.end),
        })
        .collect();
    text.join(" ")
}

#[test]
fn a_new_mapping_cuts_what_lies_below_it() {
    for (what, new, want) in [
        ("beside", file(0x5000, 0x6000, 0, 2), "1000-4000:1+100 5000-6000:2+0"),
        ("touching", file(0x4000, 0x5000, 0, 2), "1000-4000:1+100 4000-5000:2+0"),
        ("over the whole", file(0x1000, 0x4000, 0, 2), "1000-4000:2+0"),
        ("over more than the whole", file(0, 0x5000, 0, 2), "0-5000:2+0"),
        ("over the start", file(0, 0x2000, 0, 2), "0-2000:2+0 2000-4000:1+1100"),
        ("over the end", file(0x3000, 0x5000, 0, 2), "1000-3000:1+100 3000-5000:2+0"),
        (
            "in the middle",
            file(0x2000, 0x3000, 0, 2),
            "1000-2000:1+100 2000-3000:2+0 3000-4000:1+2100",
        ),
        (
            "the same file elsewhere",
            file(0x2000, 0x3000, 0, 1),
            "1000-2000:1+100 2000-3000:1+0 3000-4000:1+2100",
        ),
        ("generated code", generated(0x2000, 0x5000), "1000-2000:1+100 2000-5000"),
        ("nothing", file(0x2000, 0x2000, 0, 2), "1000-4000:1+100"),
        ("backwards", file(0x3000, 0x2000, 0, 2), "1000-4000:1+100"),
    ] {
        let mut space = empty();
        space.insert(file(0x1000, 0x4000, 0x100, 1));
        space.insert(new);
        assert_eq!(describe(&space), want, "{what}");
    }
}

#[test]
fn what_is_known_changes_nothing() {
    let mut space = empty();
    assert_eq!(space.insert(file(0x1000, 0x4000, 0x100, 1)), Change::Inserted);
    for known in [file(0x1000, 0x4000, 0x100, 1), file(0x2000, 0x3000, 0x1100, 1)] {
        assert_eq!(space.insert(known), Change::None);
    }
    assert_eq!(space.insert(file(0x2000, 0x5000, 0x1100, 1)), Change::Inserted);
    assert_eq!(describe(&space), "1000-5000:1+100");
}

#[test]
fn code_that_grows_by_pages_stays_one_mapping() {
    let mut space = empty();
    for page in [3, 1, 2, 5, 4, 2] {
        space.insert(generated(page * 0x1000, (page + 1) * 0x1000));
    }
    assert_eq!(describe(&space), "1000-6000");
}

#[test]
fn lookup_finds_edges() {
    let mut space = empty();
    space.insert(file(0x1000, 0x2000, 0x40, 1));
    space.insert(file(u64::MAX - 0x1000, u64::MAX, 0, 2));
    for (address, want) in [
        (0, None),
        (0xfff, None),
        (0x1000, Some(0x40)),
        (0x1fff, Some(0x103f)),
        (0x2000, None),
        (u64::MAX - 1, Some(0xfff)),
        (u64::MAX, None),
    ] {
        assert_eq!(space.lookup(address).map(|m| m.offset_of(address)), want, "{address:x}");
    }
}

/// Against the plainest model there is: one entry per page.
#[test]
fn agrees_with_a_table_of_pages() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut space = empty();
    let mut pages: BTreeMap<u64, Option<(u32, u64)>> = BTreeMap::new();
    for _ in 0..3_000 {
        let start = next(120);
        let end = start + 1 + next(12);
        let id = next(4) as u32;
        let offset = next(30);
        if id == 0 {
            space.insert(generated(start, end));
        } else {
            space.insert(file(start, end, offset, id));
        }
        for page in start..end {
            pages.insert(page, (id != 0).then_some((id, offset + page - start)));
        }
        for page in 0..140 {
            let found = space.lookup(page).map(|m| match &m.code {
                Code::Binary(b) => Some((b.id, m.offset_of(page))),
                Code::Generated => None,
            });
            assert_eq!(found, pages.get(&page).copied(), "page {page}");
        }
        assert!(space.mappings.windows(2).all(|w| w[0].end <= w[1].start));
        assert_eq!(space.budget.used.load(Ordering::Relaxed), space.len());
    }
}

#[test]
fn one_space_is_bounded() {
    let mut space = AddressSpace::new(Budget::new(100, 2));
    space.insert(file(0x1000, 0x2000, 0, 1));
    space.insert(file(0x3000, 0x6000, 0, 2));
    assert_eq!(space.insert(file(0x7000, 0x8000, 0, 3)), Change::Full);
    assert_eq!(describe(&space), "1000-2000:1+0 3000-6000:2+0");
    // What was replaced is gone even when the new one finds no room.
    assert_eq!(space.insert(file(0x4000, 0x5000, 0, 3)), Change::Full);
    assert_eq!(describe(&space), "1000-2000:1+0 3000-4000:2+0");
    assert_eq!(space.insert(file(0x1000, 0x2000, 0, 3)), Change::Inserted);
}

#[test]
fn all_spaces_are_bounded_together() {
    let budget = Budget::new(3, 100);
    let mut a = AddressSpace::new(budget.clone());
    a.insert(file(0x1000, 0x2000, 0, 1));
    a.insert(file(0x3000, 0x4000, 0, 1));
    let b = a.clone();
    assert!(!budget.fits(1));
    assert_eq!(a.insert(file(0x5000, 0x6000, 0, 1)), Change::Full);
    drop(b);
    assert_eq!(a.insert(file(0x5000, 0x6000, 0, 1)), Change::Inserted);
    drop(a);
    assert!(budget.fits(3));
}

#[test]
fn thousands_of_mappings() {
    let mut space = empty();
    for n in (0..5_000_u64).rev() {
        space.insert(file(n * 0x2000, n * 0x2000 + 0x1000, n, (n % 7) as u32));
    }
    assert_eq!(space.len(), 5_000);
    for n in 0..5_000_u64 {
        assert_eq!(space.lookup(n * 0x2000 + 5).map(|m| m.offset_of(n * 0x2000 + 5)), Some(n + 5));
        assert!(space.lookup(n * 0x2000 + 0x1000).is_none());
    }
}
