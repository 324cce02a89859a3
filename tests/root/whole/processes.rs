//! Libraries and processes that appear while one records.

use profiler_tests::program::{FamilyTruth, truth};
use profiler_tests::workload::{FAMILY, LOADER, PLUGIN, way};

use super::*;

#[test]
fn a_library_that_is_loaded_meanwhile() {
    const LEVELS: usize = 30;
    let main = || [&START[..], &["main"]].concat();
    // The loading itself goes through many functions of libc and of the dynamic linker.
    let leaves = vec![vec![], vec!["before"], vec![ONE, ANY]];
    let program = Expected { outer: main(), leaves };
    let mut outer = [&main()[..], &["enter"]].concat();
    outer.extend(repeat_n("descend", LEVELS));
    let library = Expected { outer, leaves: vec![vec!["all"]] };
    let plugin = PLUGIN.build().unwrap();
    let args = [plugin.to_str().unwrap(), &LEVELS.to_string()];
    assert_whole(&[Case::new(LOADER.built(way::O2), &args, one_of(vec![library, program]))]);
}

#[test]
fn children_of_each_kind() {
    const HZ: u64 = 499;
    let _host = host::claim();
    let family = FAMILY.built(way::O2).build().unwrap();
    let family = family.to_str().unwrap();
    let hz = HZ.to_string();
    let recording =
        agent::record(&["--event", "wall", "--frequency", &hz, "--", family, "5"]).unwrap();
    let truth: FamilyTruth = truth(&recording.run.stdout).unwrap();
    let whole = children();
    for kind in [SAMPLES, BLOCKS] {
        let wholeness = Wholeness::of(&recording.stacks, kind, &whole);
        println!("{kind}: {wholeness}");
        assert!(wholeness.reaches(BAR), "{kind}: {wholeness}\n{}", recording.run.stderr);
    }
    let working = |stack: &Stack| stack.has("work") && whole(stack);
    let (found, due) = (recording.total(SAMPLES, working), truth.children_ns * HZ / 1_000_000_000);
    println!("{found} samples of children at work, of {due} that were due for all that they did");
    assert!(found as f64 > 0.9 * due as f64, "{found} of {due}\n{}", recording.run.stderr);
}

/// The family's stacks: those of each kind of child at work, and all that leads there, which begins at an
/// entry point: of the program, of the dynamic linker, or of a clone.
fn children() -> IsWhole {
    let start = [&START[..], &["main"]].concat();
    let at_work = |way: &[&'static str]| Expected {
        outer: [&start[..], way].concat(),
        // Asking for the time; at first, the dynamic linker looks that function up.
        leaves: vec![vec!["work"], vec!["work", ONE, ANY]],
    };
    let elsewhere = |entry| Expected { outer: vec![entry], leaves: vec![vec![], vec![ONE, ANY]] };
    let expected = [at_work(&["by_fork", "forked"]), at_work(&["child"])];
    let is_at_work = one_of(expected.into());
    let begins = one_of(["_start", "_dl_start_user", "clone3", "__clone3"].map(elsewhere).into());
    Box::new(move |stack| match stack.has("work") {
        true => is_at_work(stack),
        false => begins(stack) || has_no_stack(stack),
    })
}

/// Whether nothing can be known of it, and it says so: the process lets go of its memory, as at its end or
/// when it executes another file.
fn has_no_stack(stack: &Stack) -> bool {
    let name = |index: usize| stack.frames.get(index).map_or("", |frame| frame.name.as_str());
    match name(0) {
        "[truncated: the process ends, its memory is gone]" => true,
        "[truncated: stack page not resident]" => {
            ["[unknown]", "execve"].contains(&name(1)) || stack.has("do_exit")
        }
        // The agent's own child, before it executes the command.
        marker => marker.starts_with(MARKER) && stack.has("profiler_agent::kernel::command::hold"),
    }
}
