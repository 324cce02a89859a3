//! `rows-check`: every row of every unwind table that this machine's files give, against gimli.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::sh;

/// What the test reads its directories from (profiler-agent/tests/rows/main.rs).
const DIRECTORIES: &str = "ROWS_CHECK";

const EXAMPLES: &str = "\
Examples:
  cargo xtask rows-check                    /usr/bin, /usr/sbin and /usr/lib
  cargo xtask rows-check ~/.rustup /opt     other directories";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Directories whose ELF files are checked.
    #[arg(default_values = ["/usr/bin", "/usr/sbin", "/usr/lib"])]
    directories: Vec<PathBuf>,
}

/// Runs the check in a release build. It fails where a row leads elsewhere than gimli says.
pub fn run(args: &Args) -> Result<()> {
    if let Some(missing) = args.directories.iter().find(|directory| !directory.is_dir()) {
        bail!("{} is no directory: give some with programs or libraries", missing.display());
    }
    let directories = std::env::join_paths(&args.directories)
        .context("a directory with a colon in its name cannot be given")?;
    let mut cargo = sh::cargo();
    cargo.env(DIRECTORIES, directories);
    cargo.args(["test", "--release", "--package", "profiler-agent", "--test", "rows"]);
    sh::run(cargo.args(["--", "--nocapture"]))
}
