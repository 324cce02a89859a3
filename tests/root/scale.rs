//! Processes with very many mappings, and very many processes.

use std::iter::repeat_n;

use profiler_tests::agent;
use profiler_tests::chain::{Expected, ONE};
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::workload::{self, way};

use crate::host;

const LINE: &str = "unwind tables tables";

#[test]
fn a_process_with_5000_mappings_is_unwound() {
    const MAPPINGS: u64 = 5_000;
    let _host = host::claim();
    let program = workload::MAPPINGS.built(way::O2);
    let program = Program::start(&program, &[MAPPINGS.to_string()]).unwrap();
    let pid = program.pid().to_string();
    let flags = ["--frequency", "499", "--duration", "3s", "--log-level", "info", "--pid", &pid];
    let recording = agent::record(&flags).unwrap();
    let mut outer = vec!["_start", ONE, ONE, "main"];
    outer.extend(repeat_n("descend", 10));
    outer.push("enter");
    let expected = Expected { outer, leaves: vec![vec![], vec!["work"]] };
    let wholeness = expected.judge(&recording.stacks, "samples");
    println!("{wholeness}");
    assert!(wholeness.samples > 50 && wholeness.share() > 0.999, "{wholeness}");
    let list = recording.run.told(LINE, "list_bytes").unwrap();
    assert!(list > 32 * MAPPINGS, "{list} bytes\n{}", recording.run.stderr);
}

#[test]
fn a_host_with_10000_processes_has_room_for_them() {
    const PROCESSES: u64 = 10_000;
    let _host = host::claim();
    let processes = PROCESSES.to_string();
    let _crowd = Program::start(&workload::CROWD, &[&processes, "0", "120"]).unwrap();
    let program = Program::start(&workload::CHAIN.built(way::O2), &["40"]).unwrap();
    let flags = ["--frequency", "199", "--duration", "3s", "--log-level", "info"];
    let recording = agent::record(&flags).unwrap();
    let listed = recording.run.told(LINE, "processes").unwrap();
    println!("{listed} processes have a list\n{}", recording.run.stderr);
    assert!(listed >= PROCESSES, "{listed}\n{}", recording.run.stderr);
    assert_eq!(recording.count("unwind_lists_not_written_budget"), 0);

    let pid = program.pid().to_string();
    let ours = |stack: &Stack| stack.label("pid") == pid;
    let all = recording.total("samples", ours);
    let whole = recording.total("samples", |stack| ours(stack) && stack.has("_start"));
    assert!(all > 20 && whole as f64 >= 0.99 * all as f64, "{whole} of {all}");
}
