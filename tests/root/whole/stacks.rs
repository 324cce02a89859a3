//! Stacks that do not begin at the program's entry point, and code that is no file's.

use profiler_tests::workload::{CLOCK, STACKS, way};

use super::*;

const LEVELS: usize = 30;

/// The main thread, which waits.
fn waiting() -> Expected<'static> {
    Expected { outer: [&START[..], &["main"]].concat(), leaves: vec![vec!["wait_for_ever"]] }
}

fn levels(start: &[&'static str]) -> Expected<'static> {
    let outer = start.iter().copied().chain(repeat_n("descend", LEVELS)).collect();
    Expected { outer, leaves: vec![vec!["all"]] }
}

#[test]
fn of_threads_and_of_makecontext() {
    // libc's clone3 and start_thread. A coroutine returns to the first place of __start_context, which
    // nothing called.
    let thread = || one_of(vec![levels(&[ONE, ONE, "thread"]), waiting()]);
    let context = || one_of(vec![levels(&[ONE, "coroutine"])]);
    let depth = LEVELS.to_string();
    let cases = [way::O2, way::STATIC].map(|way| {
        let workload = STACKS.built(way);
        [
            Case::new(workload, &["thread", &depth], thread()),
            Case::new(workload, &["context", &depth], context()),
        ]
    });
    assert_whole(cases.as_flattened());
}

/// A thread that glibc started begins in `clone3`, which a static program names.
#[test]
fn a_thread_begins_where_it_was_cloned() {
    let thread = levels(&["__clone3", "start_thread", "thread"]);
    let named = levels(&["clone3", "start_thread", "thread"]);
    let args = ["thread", &LEVELS.to_string()];
    assert_whole(&[Case::new(
        STACKS.built(way::STATIC),
        &args,
        one_of(vec![thread, named, waiting()]),
    )]);
}

#[test]
fn in_the_vdso() {
    // libc's function, through the table that leads to it, and the kernel's.
    let leaves = vec![vec![], vec![ONE], vec![ONE, ONE], vec![ONE, ONE, ONE]];
    let outer = [&START[..], &["main", "ask"]].concat();
    let is_whole = one_of(vec![Expected { outer, leaves }]);
    assert_whole(&[Case::new(CLOCK.built(way::O2), &[], is_whole).busy()]);
}
