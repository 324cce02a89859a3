//! C++, Rust, and Go that calls C.

use profiler_tests::workload::{self, way};

use super::*;

/// An exception passes all levels; each that it has passed is gone. What destroys and catches is in parts
/// of the functions that lie elsewhere.
#[test]
fn cpp_with_exceptions_in_flight() {
    const LEVELS: usize = 20;
    const LEVEL: &str = "descend(unsigned long)";
    const LANDING: &str = "descend(unsigned long) [clone .cold]";
    let outer = |levels, top| -> Vec<&'static str> {
        START.into_iter().chain(["main", top]).chain(repeat_n(LEVEL, levels)).collect()
    };
    // Beyond the last level: the thrower, a destructor, or the C++ runtime on its way.
    let passing = |levels| Expected {
        outer: outer(levels, "repeat(unsigned long)"),
        leaves: vec![
            vec![],
            vec![LANDING],
            vec![LANDING, "Guard::~Guard()"],
            vec!["Guard::~Guard()"],
            vec!["_Unwind_Resume", ANY],
            vec!["thrower()"],
            vec![LANDING, ONE, ANY],
            vec!["thrower()", ONE, ANY],
            vec!["thrower() [clone .cold]"],
            vec!["thrower() [clone .cold]", ONE, ANY],
        ],
    };
    let caught = Expected {
        outer: outer(0, "repeat(unsigned long) [clone .cold]"),
        leaves: vec![vec![], vec![ONE, ANY]],
    };
    let is_whole = one_of((0..=LEVELS).map(passing).chain([caught]).collect());
    let workload = workload::EXCEPTIONS.built(way::O2);
    let case = Case::new(workload, &[&LEVELS.to_string()], is_whole).busy();
    // libgcc returns into another function's frame. Just before, it overwrites what its own function has
    // saved of its caller: for those moments the caller on the stack is not the one that called.
    assert_whole(&[Case { bar: 0.997, ..case }]);
}

#[test]
fn rust() {
    const LEVELS: usize = 100;
    let case = |way| {
        let mut outer = vec!["_start", ANY, "chain_rust::main"];
        outer.extend(repeat_n("chain_rust::graph::descend", LEVELS));
        outer.push("chain_rust::graph::burn");
        // Without optimization, the loop calls functions of the standard library.
        let expected = Expected { outer, leaves: vec![vec![], vec![ONE, ANY]] };
        let workload = workload::CHAIN_RUST.built(way);
        Case::new(workload, &[&LEVELS.to_string()], one_of(vec![expected])).busy()
    };
    assert_whole(&[way::RUST_DEBUG, way::RUST_RELEASE, way::RUST_ABORT].map(case));
}

#[test]
fn go_that_calls_c() {
    const LEVELS: usize = 50;
    let mut outer = vec![ANY, "main.main"];
    outer.extend(repeat_n("main.descend", LEVELS));
    outer.extend([ANY, "leaf"]);
    let expected = Expected { outer, leaves: vec![vec![]] };
    let workload = workload::CHAIN_CGO;
    let is_whole = one_of(vec![expected]);
    // Go's runtime has threads of its own.
    let is_whole = move |stack: &Stack| !stack.has("leaf") || is_whole(stack);
    assert_whole(&[Case::new(workload, &[&LEVELS.to_string()], Box::new(is_whole)).busy()]);
}
