//! A chain in C, compiled and linked in each way that occurs.

use profiler_tests::workload::{CHAIN, way};

use super::*;

#[test]
fn however_it_is_optimized_and_however_deep_it_is() {
    // 512 frames are walked: 500 levels and what is above and below them.
    for levels in [40, 110, 300, 500] {
        let ways = [way::O0, way::O2, way::OS, way::O3, way::LTO];
        assert_whole(&ways.map(|way| Case::chain(CHAIN.built(way), levels)));
    }
}

#[test]
fn however_it_is_linked() {
    let ways = [
        way::STATIC,
        way::STATIC_PIE,
        way::LLD,
        way::GOLD,
        way::BFD,
        way::NO_INDEX,
        way::DEBUG_FRAME,
    ];
    assert_whole(&ways.map(|way| Case::chain(CHAIN.built(way), 110)));
}

/// No function has a name: what is known are the files, and how many frames there must be.
#[test]
fn without_symbols() {
    const LEVELS: usize = 110;
    let program = CHAIN.built(way::STRIPPED);
    let file = program.file_name();
    let is_whole = move |stack: &Stack| {
        let user = stack.frames.iter().filter(|frame| !frame.is_kernel());
        let own: Vec<bool> = user.map(|frame| frame.mapping.ends_with(&file)).collect();
        let (start, rest) = own.split_at_checked(START.len()).unwrap_or_default();
        start == [true, false, false] && rest == [true; 1 + LEVELS + 1]
    };
    assert_whole(&[Case::new(program, &[&LEVELS.to_string(), "all"], Box::new(is_whole))]);
}

/// musl's own code says nothing of how to unwind it, and keeps no frame pointer: the program's functions
/// are all there, and what lies outside of `main` is not invented.
#[test]
fn with_musl() {
    assert_whole(&[way::MUSL, way::MUSL_STATIC].map(|way| {
        let mut case = Case::chain(CHAIN.built(way), 110);
        case.is_whole = one_of(vec![chain(&[ANY], 110)]);
        case
    }));
}
