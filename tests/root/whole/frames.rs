//! Functions whose frames are not of the common shape.

use profiler_tests::workload::{ALIGNED, ASSEMBLY, way};

use super::*;

/// Functions that align their stack, or make room on it as they go.
#[test]
fn aligned_and_grown() {
    const LEVELS: usize = 20;
    assert_whole(&[way::O0, way::O2, way::OS, way::O3].map(|way| {
        let mut outer = [&START[..], &["main"]].concat();
        outer.extend(["descend", "aligned", "grown", "both"].repeat(LEVELS));
        let expected = Expected { outer, leaves: vec![vec!["all"]] };
        Case::new(ALIGNED.built(way), &[&LEVELS.to_string()], one_of(vec![expected]))
    }));
}

#[test]
fn in_assembly() {
    let outer = [&START[..], &["main", "outer"]].concat();
    let whole = |function| Expected { outer: outer.clone(), leaves: vec![vec![function, "all"]] };
    // Nothing can be known of what called it; a frame that is not there must not be shown.
    let cut = Expected { outer: vec![NO_ROWS, "bare"], leaves: vec![vec!["all"]] };
    let cases = [("described", whole("described")), ("framed", whole("framed")), ("bare", cut)];
    let case = |(function, expected)| {
        Case::new(ASSEMBLY.built(way::O2), &[function], one_of(vec![expected]))
    };
    assert_whole(&cases.map(case));
}

/// While the kernel works, the thread stands behind the instruction that called it: outside of what the
/// CFI describes, where nothing follows.
#[test]
fn in_a_system_call_by_the_last_instruction() {
    let outer = [&START[..], &["main", "outer"]].concat();
    let whole = one_of(vec![Expected { outer, leaves: vec![vec!["last"]] }]);
    assert_whole(&[Case::new(ASSEMBLY.built(way::O2), &["last"], whole).busy()]);
}

/// Only a register tells where the frame is, or the return address: of the thread, or of what a signal
/// interrupted.
#[test]
fn in_registers_alone() {
    let outer = [&START[..], &["main", "outer"]].concat();
    let case = |(function, interrupted): (&'static str, &[&str])| {
        // The kernel enters the handler as if the function that returns from it had called it.
        let leaves = vec![vec![], vec![ONE], vec![ONE, "handler"]];
        let expected = Expected { outer: [&outer[..], &[function]].concat(), leaves };
        let args = [&[function], interrupted].concat();
        Case::new(ASSEMBLY.built(way::O2), &args, one_of(vec![expected])).busy()
    };
    let cases = ["held", "popped"].map(|name| [(name, &[][..]), (name, &["interrupted"][..])]);
    assert_whole(&cases.concat().into_iter().map(case).collect::<Vec<_>>());
}

/// How a stack is cut in the program with the functions in assembly.
const NO_ROWS: &str = "[truncated: no unwind rows in assembly-O2]";
