//! What is opened, what is closed for whom, and what comes back.

use std::sync::Arc;

use object::{Object, ObjectSymbol, SymbolKind};

use super::*;

/// This test's own program, and addresses all over it.
fn own_program() -> (Arc<File>, Elf, Vec<u64>) {
    let path = "/proc/self/exe";
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let functions = file.symbols().filter(|s| s.kind() == SymbolKind::Text && s.size() > 8);
    let mut addresses: Vec<u64> = functions.map(|s| s.address() + 4).collect();
    addresses.sort_unstable();
    let addresses = addresses.into_iter().step_by(101).collect();
    let open = || Arc::new(File::open(path).unwrap());
    (open(), Elf::open(open()).unwrap(), addresses)
}

fn used(budget: &Budget) -> u64 {
    budget.open.values().map(|opened| opened.dwarf.bytes()).sum()
}

#[test]
fn a_tight_budget_gives_the_same_lines() {
    let (file, elf, addresses) = own_program();
    let mut ample = Budget::new(u64::MAX);
    let lines = ample.lines((0, &file), &elf, &addresses).unwrap();
    assert!(lines.iter().filter(|l| l.first().is_some_and(|l| l.line > 0)).count() > 50);

    // Too little for everything at once.
    let tight = used(&ample) - 1;
    let mut budget = Budget::new(tight);
    for _ in 0..2 {
        assert!(budget.lines((0, &file), &elf, &addresses).unwrap() == lines);
        assert!(used(&budget) <= tight);
    }
}

#[test]
fn what_finds_no_room_while_memory_is_tight_is_tried_again_afterwards() {
    let (file, elf, addresses) = own_program();
    let mut ample = Budget::new(u64::MAX);
    let lines = ample.lines((0, &file), &elf, &addresses[..1]).unwrap();
    let mut budget = Budget::new(used(&ample) * 2);
    budget.lines((0, &file), &elf, &addresses[..1]).unwrap();
    budget.tighten(true);
    assert_eq!(used(&budget), 0);
    assert!(budget.lines((0, &file), &elf, &addresses[..1]).is_err());
    assert!(budget.is_refused(0));
    budget.tighten(false);
    assert!(!budget.is_refused(0));
    assert!(budget.lines((0, &file), &elf, &addresses[..1]).unwrap() == lines);
}

#[test]
fn what_is_idle_is_closed_and_may_come_back_each_time() {
    let (file, elf, addresses) = own_program();
    let mut budget = Budget::new(u64::MAX);
    let start = Instant::now();
    for round in 0..10 {
        budget.tick(start + IDLE * round);
        assert!(budget.open.is_empty(), "round {round}");
        budget.lines((0, &file), &elf, &addresses[..1]).unwrap();
        budget.tick(start + IDLE * round + IDLE / 2);
        assert_eq!(budget.open.len(), 1, "round {round}");
    }
}

#[test]
fn what_nobody_runs_any_more_is_closed() {
    let (file, elf, addresses) = own_program();
    let mut budget = Budget::new(u64::MAX);
    budget.lines((0, &file), &elf, &addresses[..1]).unwrap();
    budget.tick(Instant::now());
    assert_eq!(budget.open.len(), 1);
    drop(file);
    budget.tick(Instant::now());
    assert!(budget.open.is_empty());
}

#[test]
fn binaries_make_room_for_each_other() {
    let (file, elf, addresses) = own_program();
    let mut ample = Budget::new(u64::MAX);
    ample.lines((0, &file), &elf, &addresses).unwrap();
    let limit = used(&ample) * 5 / 2;
    let mut budget = Budget::new(limit);
    for binary in [0, 1, 0, 2] {
        budget.lines((binary, &file), &elf, &addresses).unwrap();
        assert!(used(&budget) <= limit);
    }
    let mut open: Vec<u32> = budget.open.keys().copied().collect();
    open.sort_unstable();
    assert_eq!(open, [0, 2], "1 was not used for longest");
}

#[test]
fn binaries_that_crowd_each_other_out_are_opened_now_and_then() {
    let (file, elf, addresses) = own_program();
    let mut ample = Budget::new(u64::MAX);
    ample.lines((0, &file), &elf, &addresses[..1]).unwrap();
    let mut budget = Budget::new(used(&ample) * 3 / 2);
    let start = Instant::now();
    for time in [start, start + OPENINGS_IN * 3] {
        let opened = (0..4 * MAX_OPENINGS as u32).filter(|turn| {
            budget.tick(time + Duration::from_secs(1) * *turn);
            budget.lines((turn % 2, &file), &elf, &addresses[..1]).is_ok()
        });
        // The last one to be opened stays.
        assert!((2 * MAX_OPENINGS..=3 * MAX_OPENINGS).contains(&opened.count()));
        let is_refused = [0, 1].map(|binary| budget.is_refused(binary));
        assert!(is_refused == [true, false] || is_refused == [false, true]);
        budget.tick(time + OPENINGS_IN * 2);
        assert!(!budget.is_refused(0) && !budget.is_refused(1), "they are tried again");
    }
}

#[test]
fn binaries_that_are_gone_are_forgotten() {
    let (file, elf, addresses) = own_program();
    let mut budget = Budget::new(1000);
    for binary in 0..2 * MAX_REMEMBERED as u32 + 10 {
        assert!(budget.lines((binary, &file), &elf, &addresses[..1]).is_err());
        assert!(budget.refused.len().max(budget.openings.len()) <= MAX_REMEMBERED);
    }
}

#[test]
fn what_does_not_fit_is_refused_once() {
    let (file, elf, addresses) = own_program();
    let mut budget = Budget::new(1000);
    assert!(budget.lines((7, &file), &elf, &addresses).is_err());
    assert!(budget.is_refused(7) && !budget.is_refused(8));
}
