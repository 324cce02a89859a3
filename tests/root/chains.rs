//! Programs with frame pointers: every sample has the whole chain, from the entry point to the leaf.

use profiler_tests::agent::{self, Recording};
use profiler_tests::chain::{ANY, Expected, Wholeness};
use profiler_tests::program::Program;
use profiler_tests::workload::{self, Workload};

use crate::host;

/// Records a program that already runs, and judges each of its samples.
fn judge(workload: &Workload, args: &[&str], expected: &Expected<'_>) -> Wholeness {
    let _host = host::claim();
    let program = Program::start(workload, args).unwrap();
    let recording = of_pid(program.pid(), &[]);
    let wholeness = expected.judge(&recording.stacks, "samples");
    println!("{}: {wholeness}", workload.name);
    assert!(wholeness.samples > 100, "{}: only {} samples", workload.name, wholeness.samples);
    wholeness
}

fn of_pid(pid: u32, more: &[&str]) -> Recording {
    let pid = pid.to_string();
    let mut args = vec!["--pid", &pid, "--frequency", "499", "--duration", "3s"];
    args.extend(more);
    agent::record(&args).unwrap()
}

fn assert_whole(workload: &Workload, args: &[&str], expected: &Expected<'_>) {
    let wholeness = judge(workload, args, expected);
    assert_eq!(wholeness.whole, wholeness.samples, "{}: {wholeness}", workload.name);
}

/// `entry → step × depth`, and the leaves that may follow.
fn chain<'a>(entry: &'a str, step: &'a str, depth: usize, leaves: &[&[&'a str]]) -> Expected<'a> {
    let mut outer = vec![ANY, entry];
    outer.extend(std::iter::repeat_n(step, depth));
    Expected { outer, leaves: leaves.iter().map(|leaf| leaf.to_vec()).collect() }
}

#[test]
fn c() {
    // 110 calls and libc's start code are 120 frames: what every kernel walks.
    for depth in [10, 110, 300] {
        let expected = chain("main", "descend", depth, &[&["burn"]]);
        assert_whole(&workload::CHAIN, &[&depth.to_string()], &expected);
    }
}

#[test]
fn cpp() {
    let step = "graph::Node<int>::descend(unsigned long)";
    for depth in [10, 110] {
        let expected = chain("main", step, depth, &[&["graph::burn()"]]);
        assert_whole(&workload::CHAIN_CPP, &[&depth.to_string()], &expected);
    }
}

#[test]
fn rust_linked_by_lld() {
    for depth in [10, 100] {
        let expected = chain(
            "chain_rust::main",
            "chain_rust::graph::descend",
            depth,
            &[&["chain_rust::graph::burn"]],
        );
        assert_whole(&workload::CHAIN_RUST, &[&depth.to_string()], &expected);
    }
}

#[test]
fn go() {
    for depth in [10, 100] {
        let expected = chain("main.main", "main.descend", depth, &[&["main.burn"]]);
        let wholeness = judge(&workload::CHAIN_GO, &[&depth.to_string()], &expected);
        // Go's runtime has threads of its own, and interrupts the loop each 10 ms to reschedule it.
        assert!(wholeness.share() > 0.98, "{wholeness}");
    }
}

#[test]
fn what_was_inlined_has_its_name() {
    let _host = host::claim();
    let program = Program::start(&workload::CHAIN, &["10"]).unwrap();
    let recording = of_pid(program.pid(), &[]);
    let inlined = recording.total("samples", |stack| {
        stack.frames.iter().any(|frame| frame.name == "spin" && frame.is_inlined)
    });
    let all = recording.total("samples", |_| true);
    assert!(inlined as f64 > 0.9 * all as f64, "spin is in {inlined} of {all} samples");
}

#[test]
fn samples_in_the_kernel_have_the_users_chain_too() {
    let leaves: &[&[&str]] = &[
        &["read_loop"],
        &["read_loop", "read@plt"],
        &["read_loop", "read"],
        &["read_loop", "__GI___libc_read"],
    ];
    assert_whole(&workload::CHAIN, &["10", "read"], &chain("main", "descend", 10, leaves));
    let leaves: &[&[&str]] = &[&["syscall_loop"]];
    assert_whole(&workload::CHAIN, &["10", "syscall"], &chain("main", "descend", 10, leaves));
}

#[test]
fn functions_that_are_entered_or_left_keep_their_caller() {
    let leaves: &[&[&str]] = &[
        &["tiny_loop"],
        &["tiny_loop", "tiny_first"],
        &["tiny_loop", "tiny_second"],
        &["tiny_loop", "tiny_third"],
    ];
    let expected = Expected {
        outer: vec![ANY, "main"],
        leaves: leaves.iter().map(|leaf| leaf.to_vec()).collect(),
    };
    assert_whole(&workload::TINY, &[], &expected);
}

#[test]
fn a_recursion_that_is_too_deep_is_cut_visibly() {
    let _host = host::claim();
    let program = Program::start(&workload::CHAIN, &["2000"]).unwrap();
    let recording = of_pid(program.pid(), &[]);
    for stack in recording.stacks.iter().filter(|stack| stack.value("samples") > 0) {
        assert!(stack.frames.len() >= 120, "{} frames", stack.frames.len());
        assert!(stack.has("burn"), "no leaf: {}", stack.line());
        let outermost = stack.frames.first().map_or("", |frame| frame.name.as_str());
        assert_eq!(outermost, "[truncated: depth limit]", "{}", stack.line());
    }
}

#[test]
fn each_way_round_a_missing_feature_finds_the_chain() {
    for feature in [
        "hardware-cycles",
        "task-pt-regs",
        "btf",
        "btf-tracepoints",
        "deep-stacks",
        "mmap-build-id",
    ] {
        let _host = host::claim();
        let program = Program::start(&workload::CHAIN, &["10", "syscall"]).unwrap();
        let recording = of_pid(program.pid(), &["--without", feature]);
        let expected = chain("main", "descend", 10, &[&["syscall_loop"]]);
        let wholeness = expected.judge(&recording.stacks, "samples");
        println!("without {feature}: {wholeness}");
        // The kernel's own walker, which stands in without BTF, misses the leaf's caller now and then.
        assert!(wholeness.share() > 0.9, "without {feature}: {wholeness}");
    }
}
