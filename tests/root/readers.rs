//! Other tools read what the agent writes.

use std::process::Command;

use profiler_tests::agent;
use profiler_tests::program::Program;
use profiler_tests::workload;

use crate::host;

#[test]
fn go_tool_pprof_reads_every_kind_of_profile() {
    let _host = host::claim();
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    for event in ["on-cpu", "off-cpu", "wall"] {
        let recording = agent::record(&["--event", event, "--duration", "2s"]).unwrap();
        for report in ["-top", "-raw", "-traces"] {
            let path = recording.path();
            let run = agent::finish(
                Command::new("go").args(["tool", "pprof", "-symbolize=none", report]).arg(path),
            )
            .unwrap();
            assert!(run.status.success(), "{event} {report}: {}", run.stderr);
            let expected = if event == "off-cpu" { "schedule" } else { "saturate_site" };
            assert!(
                run.stdout.contains(expected),
                "{event} {report} shows no {expected}:\n{}",
                run.stdout
            );
        }
    }
}

#[test]
fn report_shows_a_file_in_every_format() {
    let _host = host::claim();
    let _busy = Program::start(&workload::SATURATE, &[] as &[&str]).unwrap();
    let recording = agent::record(&["--event", "wall", "--duration", "2s"]).unwrap();
    let path = recording.path();
    for format in ["text", "svg", "folded"] {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("report");
        let run = agent::run(&[
            "report",
            path.to_str().unwrap(),
            "--format",
            format,
            "--output",
            output.to_str().unwrap(),
        ])
        .unwrap();
        assert!(run.status.success(), "{format}: {}", run.stderr);
        let text = std::fs::read_to_string(&output).unwrap();
        // The table is of functions in themselves: of the one that was inlined into saturate_site.
        let expected = if format == "text" { "spin" } else { "saturate_site" };
        assert!(text.contains(expected), "{format} shows no {expected}");
    }
}
