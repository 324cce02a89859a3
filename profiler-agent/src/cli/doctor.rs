//! `doctor`: what this host supports, what is lost without the rest, and how to mend it; and of one
//! process ([`process`]), how its stacks are unwound.

mod process;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::kernel::doctor::{Check, Status, checks};

/// Show what works on this host, and how to mend what does not; or how a process is unwound.
#[derive(Args, Debug)]
#[command(after_help = "Ends with exit code 1 when something that is needed is missing.

Examples:
  profiler-agent doctor
  profiler-agent doctor --pid 4242        by what the stacks of a process are unwound
  profiler-agent doctor --format json | jq '.[] | select(.status != \"ok\")'")]
pub struct DoctorArgs {
    /// Instead: which mappings of this process can be unwound, from what, and what that costs
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,

    /// How to print it
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    format: DoctorFormat,
}

/// `--format` of `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints the checks.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    if let Some(pid) = args.pid {
        return process::run(pid, args.format).map(|()| ExitCode::SUCCESS);
    }
    let checks = checks();
    let mut out = io::stdout().lock();
    match args.format {
        DoctorFormat::Text => {
            let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
            write_text(&checks, colour, &mut out)
        }
        DoctorFormat::Json => serde_json::to_writer_pretty(&mut out, &checks)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out)),
    }
    .context("standard output")?;
    let broken = checks.iter().any(|check| check.status == Status::Missing);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn write_text(checks: &[Check], colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    for check in checks {
        let (word, code) = match check.status {
            Status::Ok => ("ok      ", "32"),
            Status::Degraded => ("degraded", "33"),
            Status::Missing => ("missing ", "31"),
        };
        let (on, off) =
            if colour { (format!("\x1b[{code}m"), "\x1b[0m") } else { (String::new(), "") };
        writeln!(out, "{on}{word}{off}  {:width$}  {}", check.name, check.detail)?;
        if !check.remedy.is_empty() {
            writeln!(out, "{:10}{:width$}  → {}", "", "", check.remedy)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_lines_up_and_shows_the_remedy() {
        let checks = [
            Check {
                name: "BTF".into(),
                status: Status::Ok,
                detail: "6.18".into(),
                remedy: String::new(),
            },
            Check {
                name: "kallsyms".into(),
                status: Status::Degraded,
                detail: "addresses are hidden".into(),
                remedy: "sysctl kernel.kptr_restrict=1".into(),
            },
        ];
        let mut text = Vec::new();
        write_text(&checks, false, &mut text).unwrap();
        expect_test::expect![[r#"
            ok        BTF       6.18
            degraded  kallsyms  addresses are hidden
                                → sysctl kernel.kptr_restrict=1
        "#]]
        .assert_eq(std::str::from_utf8(&text).unwrap());
    }
}
