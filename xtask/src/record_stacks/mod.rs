//! `record-stacks`: stacks of programs at work, with what a walk of them needs, for tests/recorded.
//!
//! A thread is stopped by a signal; its registers, its stack and its mappings are read ([`stopped`]), and
//! while it still stands there, `eu-stack` unwinds it too ([`reference`]): what it finds is what the walk
//! must find. Of each file, the unwind information of those functions is kept ([`functions`]).

mod functions;
mod reference;
mod stopped;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use profiler_tests::debian;
use profiler_tests::program::Program;
use profiler_tests::recorded::{Recorded, VERSION};
use profiler_tests::workload::{self, Workload, way};

use crate::debian::{self as packages, Need};
use crate::sh;
use stopped::Stopped;

const EXAMPLES: &str = "\
Examples:
  cargo xtask record-stacks              all of them, half a minute
  cargo xtask record-stacks redis        those with `redis` in their name";

/// Stacks of each of Debian's programs.
const EACH: usize = 2;
/// A program works for so long before it is stopped, and between two stops.
const WORK: Duration = Duration::from_millis(300);
/// Stops until the other unwinder, too, comes to the end of the stack.
const ATTEMPTS: usize = 20;

/// The tests' own programs, and what they are told.
const WORKLOADS: &[(Workload, &[&str])] = &[
    (workload::CHAIN.built(way::O0), &["40", "all"]),
    (workload::CHAIN.built(way::O2), &["110", "all"]),
    (workload::CHAIN.built(way::STATIC_PIE), &["40", "all"]),
    (workload::CHAIN.built(way::LLD), &["40", "all"]),
    (workload::ALIGNED.built(way::O3), &["20"]),
    (workload::SIGNALS.built(way::O2), &["plain"]),
    (workload::SIGNALS.built(way::O2), &["alternate"]),
    (workload::SIGNALS.built(way::O2), &["nested"]),
    (workload::STACKS.built(way::O2), &["thread", "30"]),
    (workload::CLOCK.built(way::O2), &[]),
    (workload::EXCEPTIONS.built(way::O2), &["20"]),
    (workload::CHAIN_RUST.built(way::RUST_RELEASE), &["40"]),
];

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only those with this in their name.
    name: Option<String>,
}

/// Records, and says where both unwinders do not come to the end.
pub fn run(args: &Args) -> Result<()> {
    if !sh::is_root() {
        bail!("other programs are read: sudo -E env PATH=\"$PATH\" cargo xtask record-stacks");
    }
    packages::ensure(&[Need { program: "eu-stack", package: "elfutils" }])?;
    packages::ensure(crate::test::NEEDS)?;
    let is_wanted = |name: &str| args.name.as_ref().is_none_or(|part| name.contains(part));
    for program in debian::ALL.iter().filter(|program| is_wanted(program.name)) {
        let work = program.start()?;
        for number in 1..=EACH {
            let name = format!("{}-{number}", program.name.replace(' ', "-"));
            record(&name, program.name, || work.pids())?;
        }
    }
    for (workload, args) in WORKLOADS {
        let file_name = workload.file_name();
        let words = [&[file_name.as_str()], *args].concat();
        let name = words.join("-");
        if is_wanted(&name) {
            let program = Program::start(workload, args)?;
            record(&name, &words.join(" "), || Ok(vec![program.pid()]))?;
        }
    }
    Ok(())
}

/// Stops the busiest of the processes until there is a stack that can be kept.
fn record(name: &str, program: &str, pids: impl Fn() -> Result<Vec<u32>>) -> Result<()> {
    let mut problem = None;
    for _ in 0..ATTEMPTS {
        std::thread::sleep(WORK);
        match stop_and_read(program, &pids()?) {
            Ok(recorded) => {
                recorded.write(name)?;
                println!("{name}: {} frames", recorded.frames.len());
                return Ok(());
            }
            Err(error) => problem = Some(error),
        }
    }
    let problem = problem.map_or_else(String::new, |error| format!("{error:#}"));
    bail!("{name}: no stack of {ATTEMPTS} could be kept, the last one because {problem}")
}

fn stop_and_read(program: &str, pids: &[u32]) -> Result<Recorded> {
    let stopped = Stopped::busiest(pids)?;
    let registers = stopped.registers()?;
    let frames = reference::frames(stopped.tid)?;
    // In a system call, the signal has moved the thread back to its beginning, or has not yet.
    let first = frames.first().context("eu-stack found nothing")?;
    anyhow::ensure!(first.pc == registers.pc, "eu-stack saw it elsewhere");
    let maps = stopped.maps()?;
    let (stacks, words) = stopped.stacks(&maps, registers.sp.0, &frames)?;
    let mut places = vec![registers.pc.0];
    // A place of return is looked up at its call; what a signal interrupted, at the place itself.
    places.extend(frames.iter().skip(1).flat_map(|frame| [frame.pc.0 - 1, frame.pc.0]));
    let files = functions::of(&stopped, &maps, &places)?;
    Ok(Recorded {
        version: VERSION,
        program: program.to_owned(),
        registers,
        stacks,
        words,
        files,
        frames,
    })
}
