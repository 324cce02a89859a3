//! Programs that mean harm: whatever they map, call themselves or claim, the agent keeps its memory
//! and its wits, shows their samples, and draws an SVG that is valid and runs nothing of theirs.

pub mod elf;
mod svg;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use profiler_tests::agent::{self, Run};
use profiler_tests::chain::{ANY, Expected};
use profiler_tests::program::Program;
use profiler_tests::{stacks, wait, workload};

use crate::host;

/// Where `mapper` puts its code in a file: a page of the first 64 KiB.
const CODE: &str = "0xf000";

/// What the agent may take at most, in KiB: it has a budget for names, and a debug build and whatever
/// else runs on the host add to it. What these programs claim is far beyond.
const MAX_RSS_KIB: u64 = 128 * 1024;

/// What the agent promises for recordings of honest programs: 60 MB.
const PROMISED_RSS_KIB: u64 = 60_000_000 / 1024;

/// Far more debug information than the agent may take into its memory, bytes.
const HUGE: u64 = 500 << 20;

/// Runs the agent to its end and returns the peak of its memory in KiB with what it said.
fn run_measured(args: &[&str]) -> (Run, u64) {
    let mut child = Command::new(agent::binary().unwrap())
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    wait::until("the agent to end", Duration::from_secs(90), || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let high = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(high.unwrap_or_default());
        Ok(child.try_wait()?)
    })
    .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        Run { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) },
        peak,
    )
}

/// Records the whole host once as a flame graph and once as a profile, and judges what is the same
/// for every hostile program. Returns the profile's stacks.
fn record_calmly() -> Vec<stacks::Stack> {
    let directory = tempfile::tempdir().unwrap();
    let mut profile = Vec::new();
    for name in ["host.svg", "host.pb.gz"] {
        let output = directory.path().join(name);
        let (run, peak) = run_measured(&[
            "record",
            "--event",
            "wall",
            "--frequency",
            "199",
            "--duration",
            "3s",
            "--output",
            output.to_str().unwrap(),
        ]);
        println!("{name}: peak {peak} KiB");
        assert!(run.status.success(), "{name}: {}\n{}", run.status, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{name}: {}", run.stderr);
        assert!(peak <= MAX_RSS_KIB, "{name}: it grew to {peak} KiB");
        if name.ends_with(".svg") {
            svg::assert_valid_and_safe(&std::fs::read_to_string(&output).unwrap());
        } else {
            profile = stacks::of(&agent::read(&output).unwrap());
        }
    }
    profile
}

/// Starts a program that runs code inside this file.
fn run_code_in(file: &Path) -> Program {
    Program::start(&workload::MAPPER, &[file.as_os_str(), CODE.as_ref()]).unwrap()
}

/// Each program has samples of its mapped code below `call_mapped`.
fn assert_sampled(stacks: &[stacks::Stack], program: &Program, what: &str) {
    let pid = program.pid().to_string();
    let samples: u64 = stacks
        .iter()
        .filter(|stack| stack.label("pid") == pid && stack.has("call_mapped") && stack.has("main"))
        .map(|stack| stack.value("samples"))
        .sum();
    assert!(samples > 0, "{what}: no sample with its callers");
}

#[test]
fn elf_files_that_lie() {
    let _host = host::claim();
    let good = std::fs::read(workload::CHAIN.build().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let programs: Vec<_> = elf::lies(&good)
        .into_iter()
        .map(|(what, bytes)| {
            let path = directory.path().join(what.replace(' ', "-"));
            std::fs::write(&path, bytes).unwrap();
            (what, run_code_in(&path))
        })
        .collect();
    let stacks = record_calmly();
    for (what, program) in &programs {
        assert_sampled(&stacks, program, what);
    }
}

#[test]
fn files_that_change_or_go_while_they_are_mapped() {
    let _host = host::claim();
    let good = std::fs::read(workload::CHAIN.build().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, &good).unwrap();
        let program = run_code_in(&path);
        (path, program)
    };
    let (deleted, deleted_program) = at("deleted");
    std::fs::remove_file(&deleted).unwrap();
    let (replaced, replaced_program) = at("replaced");
    std::fs::remove_file(&replaced).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &replaced).unwrap();
    let (fifo, fifo_program) = at("fifo");
    std::fs::remove_file(&fifo).unwrap();
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let stacks = record_calmly();
    for (what, program) in [
        ("deleted", deleted_program),
        ("a link to /dev/zero", replaced_program),
        ("a fifo", fifo_program),
    ] {
        assert_sampled(&stacks, &program, what);
    }
}

/// A perf map that is removed with this value.
struct PerfMap(PathBuf);

impl Drop for PerfMap {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

impl PerfMap {
    /// 100 MB of entries, true ones, absurd ones and garbage; the true one is at `address`.
    fn huge(pid: u32, address: u64) -> Self {
        let path = PathBuf::from(format!("/tmp/perf-{pid}.map"));
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        writeln!(file, "{address:x} 1000 jitted<script>alert(1)</script>").unwrap();
        writeln!(file, "0 ffffffffffffffff everything").unwrap();
        writeln!(file, "ffffffffffffffff ffffffffffffffff beyond").unwrap();
        file.write_all(b"\xff\xfe\0garbage\n").unwrap();
        writeln!(file, "1000 10 {}", "n".repeat(1 << 20)).unwrap();
        let mut line = String::new();
        let mut written = 0;
        for index in 0_u64.. {
            line.clear();
            writeln!(line, "{:x} 20 function_number_{index}", 0x1000_0000 + index * 32).unwrap();
            file.write_all(line.as_bytes()).unwrap();
            written += line.len();
            if written > 100_000_000 {
                break;
            }
        }
        file.flush().unwrap();
        Self(path)
    }
}

#[test]
fn a_perf_map_of_100_mb() {
    let _host = host::claim();
    let program = Program::start(&workload::MAPPER, &["-", "0x1000"]).unwrap();
    let address = program.preamble.iter().find_map(|line| line.strip_prefix("at 0x")).unwrap();
    let _map = PerfMap::huge(program.pid(), u64::from_str_radix(address, 16).unwrap());
    assert_sampled(&record_calmly(), &program, "perf map");
}

#[test]
fn debug_information_of_500_mb() {
    let _host = host::claim();
    let good = std::fs::read(workload::CHAIN.build().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut outer = vec![ANY, "main"];
    outer.extend(["descend"; 10]);
    let expected = Expected { outer, leaves: vec![vec!["burn"]] };
    for section in [".debug_info", ".debug_str"] {
        let path = directory.path().join(section);
        std::fs::write(&path, elf::with_section_at_end(&good, section, HUGE)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // The section is a hole: it takes no room on the disk.
        file.set_len(good.len() as u64 + HUGE).unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o755)).unwrap();
        drop(file);
        let program = Program::start_binary(&path, &["10"]).unwrap();
        let output = directory.path().join("recording.pb.gz");
        let flags = ["record", "--duration", "3s", "--output", output.to_str().unwrap(), "--pid"];
        let (run, peak) = run_measured(&[&flags[..], &[&program.pid().to_string()]].concat());
        println!("{section}: peak {peak} KiB");
        assert!(run.status.success() && run.stderr.contains("memory budget"), "{}", run.stderr);
        assert!(peak <= PROMISED_RSS_KIB, "{section}: it grew to {peak} KiB");
        let wholeness = expected.judge(&stacks::of(&agent::read(&output).unwrap()), "samples");
        println!("{section}: {wholeness}");
        assert!(wholeness.samples > 50 && wholeness.whole == wholeness.samples, "{wholeness}");
    }
}

#[test]
fn names_full_of_control_characters_and_markup() {
    let _host = host::claim();
    let good = std::fs::read(workload::CHAIN.build().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let comms: [&[u8]; 4] =
        [b"</text><script>", b"a\x1b[31mb\x01\r\n;c", b"&\"'<>&amp;", b"\xff\xfe\x80 latin"];
    let programs: Vec<_> = comms
        .iter()
        .map(|comm| {
            let comm = std::ffi::OsStr::from_bytes(comm);
            let path = directory.path().join("evil\nname;<script>alert(1)<!--&quot;");
            std::fs::write(&path, &good).unwrap();
            let program =
                Program::start(&workload::MAPPER, &[path.as_os_str(), CODE.as_ref(), comm])
                    .unwrap();
            // The next one gets a file of its own: nobody may write to code that runs.
            std::fs::remove_file(&path).unwrap();
            program
        })
        .collect();
    let stacks = record_calmly();
    for program in &programs {
        assert_sampled(&stacks, program, "comm");
    }
    for stack in &stacks {
        for text in stack.labels.values() {
            assert!(!text.chars().any(char::is_control), "control characters in a label: {text:?}");
        }
    }
}
