//! Unwind tables for which there is too little memory: what is hot is unwound, what is cold is not, the
//! budget holds, and all of it is counted.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use profiler_tests::agent::Running;
use profiler_tests::program::Program;
use profiler_tests::stacks::Stack;
use profiler_tests::wait;
use profiler_tests::workload::{self, way};

use crate::host;

/// The smallest budget.
const BUDGET_MIB: u64 = 8;
/// What the table of one of the libraries takes, at least.
const TABLE_BYTES: u64 = 350_000;

/// Their tables take twice the budget.
const LIBRARIES: u64 = ((2 * BUDGET_MIB) << 20).div_ceil(TABLE_BYTES);

/// Copies of a library, each with a build ID of its own.
fn libraries(directory: &Path) -> Vec<PathBuf> {
    let original = std::fs::read(workload::ROWS.build().unwrap()).unwrap();
    // The name of the note, behind which the build ID is.
    let note = b"\x03\0\0\0GNU\0";
    let at = original.windows(note.len()).position(|bytes| bytes == note).unwrap() + note.len();
    let copies = (0..LIBRARIES).map(|number| {
        let mut bytes = original.clone();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let path = directory.join(format!("rows-{number}.so"));
        std::fs::write(&path, bytes).unwrap();
        path
    });
    copies.collect()
}

/// Waits until no more tables are driven out, so that it is known what is hot.
fn wait_until_settled(recording: &Running) {
    /// As long as tables that have just come stay at least, and what was freed rests.
    const QUIET: Duration = Duration::from_secs(4);
    let (mut exchanges, mut since) = (0, Instant::now());
    wait::until("the tables to settle", Duration::from_secs(60), || {
        let log = recording.log()?;
        let now = log.matches("give way to warmer ones").count();
        if now != exchanges || !log.contains("unwind tables of all processes are there") {
            (exchanges, since) = (now, Instant::now());
        }
        Ok((since.elapsed() > QUIET).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_working_set_of_twice_the_budget_is_mostly_unwound() {
    let _host = host::claim();
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(&workload::ROTATOR.built(way::O2), &libraries(directory.path()));
    let program = program.unwrap();
    let (pid, budget) = (program.pid().to_string(), BUDGET_MIB.to_string());
    let flags = ["--frequency", "499", "--log-level", "info", "--unwind-memory", &budget];
    let cache = ["--unwind-cache", directory.path().to_str().unwrap(), "--pid", &pid];
    let recording = Running::start(&[&flags[..], &cache].concat()).unwrap();
    wait_until_settled(&recording);
    kill(Pid::from_raw(program.pid().cast_signed()), Signal::SIGUSR1).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let recording = recording.interrupt().unwrap();

    let measured = |stack: &Stack| stack.label("thread") == "measured";
    let all = recording.total("samples", measured);
    let whole = recording.total("samples", |stack| measured(stack) && stack.has("_start"));
    let told = |key| recording.run.told("unwind tables tables", key).unwrap();
    let [tables, bytes, mapped] = ["tables", "table_bytes", "mapped_bytes"].map(told);
    let evicted = recording.count("unwind_tables_evicted_budget");
    println!("{whole} of {all} stacks are whole; {tables} tables of {bytes} bytes in {mapped}");
    println!("{evicted} tables were driven out\n{}", recording.run.stderr);
    assert!(all > 200 && whole * 2 > all, "{whole} of {all}\n{}", recording.run.stderr);
    assert!(mapped <= BUDGET_MIB << 20 && bytes >= TABLE_BYTES, "{bytes} in {mapped}");
    assert!(recording.count("unwind_tables_not_loaded_budget") > LIBRARIES / 2);
    // Each table that is there went in once, and did not go round.
    assert!(evicted < LIBRARIES, "{evicted} tables were driven out");
}
