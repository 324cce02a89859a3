//! Signal handlers: what they interrupted is in the stack.

use profiler_tests::workload::{SIGNALS, way};

use super::*;

/// Every stack of the workload; `by_handler` are the functions that the handler ends with.
fn expected(start: &[&'static str], by_handler: &[&[&'static str]]) -> Expected<'static> {
    let mut leaves = Vec::new();
    for interrupted in [&["interrupted"][..], &["interrupted", "tiny"]] {
        leaves.push(interrupted.to_vec());
        // The kernel enters the handler as if the function that returns from it had called it.
        leaves.push([interrupted, &[ONE]].concat());
        leaves
            .extend(by_handler.iter().map(|rest| [interrupted, &[ONE, "handler"], rest].concat()));
    }
    Expected { outer: [start, &["main"]].concat(), leaves }
}

#[test]
fn on_the_same_stack_on_another_and_in_one_another() {
    let one: &[&[&str]] = &[&[], &["below"]];
    let two: &[&[&str]] = &[
        &[],
        &["below"],
        &[ONE],
        &[ONE, "second"],
        &[ONE, "second", "below"],
        // libc's getpid().
    ];
    for way in [way::O2, way::STATIC] {
        assert_whole(&[("plain", one), ("alternate", one), ("nested", two)].map(|(how, rest)| {
            Case::new(SIGNALS.built(way), &[how], one_of(vec![expected(&START, rest)])).busy()
        }));
    }
}

/// musl says nothing of its own code, and of how to return from a signal handler.
#[test]
fn with_musl() {
    let leaves: &[&[&str]] = &[&[], &["below"]];
    let cases = [way::MUSL, way::MUSL_STATIC].map(|way| {
        ["plain", "alternate"].map(|how| {
            let is_whole = one_of(vec![expected(&[ANY], leaves)]);
            Case::new(SIGNALS.built(way), &[how], is_whole).busy()
        })
    });
    assert_whole(cases.as_flattened());
}
