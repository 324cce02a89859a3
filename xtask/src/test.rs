//! `test`: every test that needs no virtual machine, those on the live kernel included.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::debian::{self, Need};
use crate::sh;

/// What the tests run beside the toolchain of Rust.
pub const NEEDS: &[Need] = &[
    Need { program: "gcc", package: "gcc" },
    Need { program: "g++", package: "g++" },
    Need { program: "ld.lld", package: "lld" },
    Need { program: "ld.gold", package: "binutils" },
    Need { program: "musl-gcc", package: "musl-tools" },
    Need { program: "go", package: "golang-go" },
    Need { program: "bpftool", package: "bpftool" },
    Need { program: "setpriv", package: "util-linux" },
    Need { program: "git", package: "git" },
    Need { program: "gzip", package: "gzip" },
    Need { program: "nginx", package: "nginx" },
    Need { program: "mkfs.ext4", package: "e2fsprogs" },
    Need { program: "fsfreeze", package: "util-linux" },
    Need { program: "/usr/bin/node", package: "nodejs" },
    Need { program: "openssl", package: "openssl" },
    Need { program: "perl", package: "perl" },
    Need { program: "/usr/lib/postgresql/15/bin/pgbench", package: "postgresql" },
    Need { program: "/usr/bin/python3.11", package: "python3.11" },
    Need { program: "promtool", package: "prometheus" },
    Need { program: "redis-server", package: "redis-server" },
    Need { program: "wrk", package: "wrk" },
    Need { program: "xz", package: "xz-utils" },
];

const EXAMPLES: &str = "\
Examples:
  sudo -E env PATH=\"$PATH\" cargo xtask test     everything
  cargo xtask test --unit                       only what needs no root
  cargo xtask test chains                       tests with `chains` in their name";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only tests that need no root.
    #[arg(long)]
    unit: bool,

    /// Only tests with this in their name.
    name: Option<String>,
}

/// Runs the tests, and prints how many passed and failed as the last line.
pub fn run(args: &Args) -> Result<()> {
    if !args.unit && !sh::is_root() {
        bail!(
            "the tests on the live kernel load BPF programs and need root:\n  \
             sudo -E env PATH=\"$PATH\" cargo xtask test\n\
             without root, only the others can run:\n  cargo xtask test --unit"
        );
    }
    let mut count = Count::default();
    if args.unit {
        let workspace = ["test", "--workspace", "--exclude", "profiler-tests", "--no-fail-fast"];
        test(sh::cargo().args(workspace).args(&args.name), &mut count)?;
        let without_root =
            ["--package", "profiler-tests", "--lib", "--test", "backends", "--test", "deploy"];
        let mut rest = sh::cargo();
        rest.arg("test").args(without_root).arg("--no-fail-fast");
        test(rest.args(&args.name), &mut count)?;
    } else {
        debian::ensure(NEEDS)?;
        // In one run, which builds the agent's binary as well: by another choice of packages, its
        // dependencies would be built again with other features.
        let mut all = sh::cargo();
        all.args(["test", "--workspace", "--no-fail-fast"]);
        all.env("PROFILER_AGENT", sh::workspace().join("target/debug/profiler-agent"));
        test(all.args(&args.name), &mut count)?;
    }

    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed > 0 || count.broken {
        bail!("tests failed");
    }
    Ok(())
}

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    /// A run failed for another reason than a test.
    broken: bool,
}

impl Count {
    /// Adds what a line of libtest's reports: `test result: ok. 4 passed; 0 failed; …`.
    fn read(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<&str> = result.split([' ', ';', '.']).collect();
        for pair in words.windows(2) {
            let [number, what] = pair else { continue };
            let number: u64 = number.parse().unwrap_or_default();
            match *what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }
}

/// Runs one `cargo test`, shows what it prints and counts it.
fn test(command: &mut Command, count: &mut Count) -> Result<()> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        count.read(&line);
    }
    count.broken |= !child.wait()?.success();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut count = Count::default();
        for line in [
            "running 4 tests",
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 3 filtered out",
        ] {
            count.read(line);
        }
        assert_eq!((count.passed, count.failed), (14, 2));
    }
}
