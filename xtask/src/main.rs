//! The project's own commands, one file each. `cargo xtask --help` lists them.

mod debian;
mod matrix;
mod sh;

use anyhow::Result;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  cargo xtask matrix --kernel oldest,newest   boot the agent on old and new kernels (needs no KVM)";

/// Builds, checks, measures: everything that the project does to itself.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Boots the agent on other kernels, in virtual machines.
    Matrix(matrix::Args),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Matrix(args) => matrix::run(&args),
    }
}
