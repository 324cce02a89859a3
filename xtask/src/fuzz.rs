//! `fuzz`: the fuzz targets of `tests/fuzz`, each for a while, within bounds on memory and time.
//!
//! What is found of new coverage is kept below `tests/fuzz/target`, beside the corpora that are
//! committed: those stay small, and the ordinary tests run them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::debian::{self, Need};
use crate::sh;

/// Memory of a target, in MiB: several times what the largest input that it makes may take.
const RSS_MIB: &str = "512";
/// One allocation, in MiB.
const MALLOC_MIB: &str = "256";
/// One input, in seconds. Those that are linear in their size take milliseconds.
const TIMEOUT: &str = "5";
/// Length of an input, in bytes.
const MAX_LEN: &str = "4096";

const EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                            every target for a minute
  cargo xtask fuzz tables --seconds 600       one of them for longer
  cargo fuzz run --fuzz-dir tests/fuzz tables tests/fuzz/artifacts/tables/crash-…

The last needs RUSTC_BOOTSTRAP=1 with a stable compiler. An input that makes a target fail becomes a
test: beside the code, or as a file in tests/fuzz/corpus.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only this target: a file of tests/fuzz/fuzz_targets.
    target: Option<String>,

    /// How long each target runs.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Runs the targets one after the other, and ends at the first input that one cannot take.
pub fn run(args: &Args) -> Result<()> {
    debian::ensure(&[Need { program: "g++", package: "g++" }])?;
    if sh::output(sh::cargo().args(["fuzz", "--version"])).is_err() {
        bail!("cargo-fuzz is missing: cargo install cargo-fuzz --locked");
    }
    let directory = sh::workspace().join("tests/fuzz");
    let targets = targets(&directory)?;
    let wanted: Vec<&String> =
        targets.iter().filter(|name| args.target.as_ref().is_none_or(|t| t == *name)).collect();
    if wanted.is_empty() {
        bail!("there is no such target; there are: {}", targets.join(", "));
    }
    wanted.into_iter().try_for_each(|target| fuzz(&directory, target, args.seconds))
}

fn targets(directory: &Path) -> Result<Vec<String>> {
    let entries = directory.join("fuzz_targets").read_dir().context("tests/fuzz/fuzz_targets")?;
    let paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let stems = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut names: Vec<String> = stems.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

fn fuzz(directory: &Path, target: &str, seconds: u64) -> Result<()> {
    println!("\n{target}, {seconds} s");
    let found = directory.join("target/corpus").join(target);
    std::fs::create_dir_all(&found)?;
    let mut cargo = sh::cargo();
    // Sanitizers are an unstable option of the compiler.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    // Freed memory that is put aside would look like growth.
    cargo.env("ASAN_OPTIONS", "quarantine_size_mb=8");
    cargo.args(["fuzz", "run", "--release", "--debug-assertions", "--fuzz-dir"]);
    cargo.arg(directory).arg(target).arg(&found);
    cargo.arg(directory.join("corpus").join(target)).arg("--");
    for (flag, value) in [
        ("max_total_time", seconds.to_string().as_str()),
        ("rss_limit_mb", RSS_MIB),
        ("malloc_limit_mb", MALLOC_MIB),
        ("timeout", TIMEOUT),
        ("max_len", MAX_LEN),
        ("print_final_stats", "1"),
        ("verbosity", "0"),
    ] {
        cargo.arg(format!("-{flag}={value}"));
    }
    sh::run(&mut cargo)
}
