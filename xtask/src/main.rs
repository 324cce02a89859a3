//! The project's own commands, one file each. `cargo xtask --help` lists them.

mod bench;
mod build_ebpf;
mod debian;
mod fuzz;
mod matrix;
mod overlap;
mod record_stacks;
mod rows_check;
mod sh;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask test                            every test, on the live kernel (as root)
  cargo xtask build-ebpf                      the kernel side, after a change of its sources
  cargo xtask tidy                            the rules of ARCHITECTURE.md
  cargo xtask bench                           what a sample and the agent itself cost
  cargo xtask rows-check                      unwind tables of every file of this machine
  cargo xtask fuzz --seconds 600              hostile input for every parser and for the walk
  cargo xtask soak --minutes 60               what grows in an hour of coming and going
  cargo xtask matrix --kernel oldest,newest   the agent on old and new kernels, in QEMU

`bash .ci/run` does what CI does.";

/// Builds, checks, measures: everything that the project does to itself.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the BPF programs into profiler-agent/bpf, with a manifest of what they were made of.
    BuildEbpf(build_ebpf::Args),
    /// Run every test that needs no virtual machine, those on the live kernel included.
    Test(test::Args),
    /// Check the rules of ARCHITECTURE.md.
    Tidy,
    /// Measure what the agent costs, and what a peer costs in the same run.
    Bench(bench::Args),
    /// Compare the agent's stacks with those of `perf record --call-graph dwarf`.
    Overlap(overlap::Args),
    /// Record stacks of programs at work for tests/recorded, beside another unwinder.
    RecordStacks(record_stacks::Args),
    /// Compare every row of the unwind tables of this machine's files with gimli.
    RowsCheck(rows_check::Args),
    /// Give hostile input to the parsers and to the walk, within bounds on memory and time.
    Fuzz(fuzz::Args),
    /// Run the agent beside all that comes and goes, and fail where it grows.
    Soak(soak::Args),
    /// Boot the agent on other kernels, in virtual machines.
    Matrix(matrix::Args),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Cli::parse().command {
        Command::BuildEbpf(args) => build_ebpf::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(&command_names()),
        Command::Bench(args) => bench::run(&args),
        Command::Overlap(args) => overlap::run(&args),
        Command::RecordStacks(args) => record_stacks::run(&args),
        Command::RowsCheck(args) => rows_check::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Matrix(args) => matrix::run(&args),
    }
}

fn command_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}
