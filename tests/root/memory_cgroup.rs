//! A memory cgroup around the whole agent, with all at once that would make it grow: processes by the hundred,
//! a file of a gigabyte, unwind information that describes the same thing again and again.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use profiler_tests::program::{Program, StormTruth};
use profiler_tests::workload::{self, way};
use profiler_tests::{agent, stacks};

use crate::host;
use crate::hostile::elf::with_section_at_end;

/// What the agent may take, in bytes, pages of the kernel's for it included.
const LIMIT: u64 = 48_000_000;
/// The size of the largest file.
const HUGE: u64 = 1 << 30;

/// A memory cgroup of either version, which is removed with this value.
pub(crate) struct Cgroup {
    pub(crate) path: PathBuf,
    is_v2: bool,
}

impl Cgroup {
    pub(crate) fn new(limit: u64) -> Self {
        let name = format!("profiler-agent-test-{}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let is_v2 = !v1.is_dir();
        let root = if is_v2 { Path::new("/sys/fs/cgroup") } else { v1 };
        let cgroup = Self { path: root.join(name), is_v2 };
        fs::create_dir(&cgroup.path).unwrap();
        let file = if is_v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(cgroup.path.join(file), limit.to_string()).unwrap();
        cgroup
    }

    /// The most that it took, in bytes; 0 where the kernel does not tell.
    pub(crate) fn peak(&self) -> u64 {
        let file = if self.is_v2 { "memory.peak" } else { "memory.max_usage_in_bytes" };
        let text = fs::read_to_string(self.path.join(file)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    }

    /// Whether the kernel killed something in it for want of memory.
    pub(crate) fn has_killed(&self) -> bool {
        let file = if self.is_v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.path.join(file)).unwrap();
        let killed = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        killed.expect("oom_kill").trim() != "0"
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its last process may still be on its way out; then the test has failed before.
        let _ = fs::remove_dir(&self.path);
    }
}

/// A program whose unwind information takes a gigabyte, if one believes it.
fn huge_program(directory: &Path) -> Program {
    let good = fs::read(workload::CHAIN.build().unwrap()).unwrap();
    let path = directory.join("huge");
    fs::write(&path, with_section_at_end(&good, ".eh_frame", HUGE)).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    // A hole: it takes no room on the disk.
    file.set_len(good.len() as u64 + HUGE).unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o755)).unwrap();
    drop(file);
    Program::start_binary(&path, &["10"]).unwrap()
}

#[test]
fn the_agent_stays_within_48_mb() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let huge = huge_program(directory.path());
    let overlapping = workload::OVERLAPPING.build().unwrap();
    let overlapping = Program::start(&workload::ROTATOR.built(way::O2), &[overlapping]).unwrap();
    let nothing = workload::NOTHING.build().unwrap();
    let storm = ["12000", "1200", "30", nothing.to_str().unwrap()];
    let storm = Program::start(&workload::STORM, &storm).unwrap();

    let cgroup = Cgroup::new(LIMIT);
    let output = directory.path().join("recording.pb.gz");
    let join = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.path.display());
    let mut command = Command::new("sh");
    command.args(["-c", &join, "sh"]).arg(agent::binary().unwrap());
    command.args(["record", "--duration", "10s", "--log-level", "info", "--output"]).arg(&output);
    command.args(["--unwind-memory", "16", "--symbol-memory", "8", "--unwind-cache-size", "0"]);
    let run = agent::finish(&mut command).unwrap();
    let truth: StormTruth = storm.truth().unwrap();
    let rate = truth.programs as f64 * 1e9 / truth.ns as f64;
    println!("peak {} bytes, {rate:.0} programs a second\n{}", cgroup.peak(), run.stderr);
    assert!(run.status.success() && !cgroup.has_killed(), "{}: {}", run.status, run.stderr);

    let stacks = stacks::of(&agent::read(&output).unwrap());
    for (program, function) in [(&huge, "burn"), (&overlapping, "work")] {
        let pid = program.pid().to_string();
        let ours = stacks.iter().filter(|stack| stack.label("pid") == pid && stack.has(function));
        let samples: u64 = ours.map(|stack| stack.value("samples")).sum();
        println!("{samples} samples in {function}");
        assert!(samples > 20, "{samples} samples in {function}\n{}", run.stderr);
    }
    // A gigabyte is more than there is to read it.
    assert!(run.stderr.contains("unwind_tables_not_read_budget:"), "{}", run.stderr);
}
