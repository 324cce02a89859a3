//! `profiler-agent report`: shows a profile that was recorded before, by this agent or another tool.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use profiler_proto::pprof::{Profile, decode};

use super::args::{RootArg, format_parser};
use super::drawing::{color_wanted, draw, format_of};
use super::output::Output;
use crate::view::{Format, Options, Root, Time};

const EXAMPLES: &str = "\
Examples:
  profiler-agent report host.pb.gz                             the 20 hottest functions
  profiler-agent report host.pb.gz --pid 812 --top 50          of one process
  profiler-agent report host.pb.gz -o flame.svg --root thread  a flame graph, by thread
  profiler-agent report wall.pb.gz --event off-cpu             only the blocked time";

/// Show a profile: the hottest functions, a flame graph, or folded stacks
///
/// Reads any pprof file, packed or plain, also of other tools.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReportArgs {
    /// The profile
    #[arg(value_name = "FILE.pb.gz")]
    file: PathBuf,

    /// Functions in the table
    #[arg(long, default_value_t = 20, value_name = "N")]
    top: usize,

    /// What to show [default: by the ending of --output, else text]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<Format>,

    /// Where to write it; `-` is standard output [default: -]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What stands at the root of the stacks [default: thread where a profile has both kinds of
    /// time, else host]
    #[arg(long, value_enum)]
    root: Option<RootArg>,

    /// Show one kind of time of a profile that has both
    #[arg(long, value_enum)]
    event: Option<EventArg>,

    /// Show one process only
    #[arg(long)]
    pid: Option<u32>,
}

/// `--event` of `report`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventArg {
    /// Time on the CPU
    OnCpu,
    /// Time off the CPU
    OffCpu,
}

/// Runs the command.
///
/// # Errors
/// For the user: which file, and why.
pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let output = Output::prepare(args.output.as_deref().unwrap_or("-".as_ref()))?;
    let format = format_of(args.format, args.output.as_deref())?;
    let profile = read(&args)?;
    let options = Options {
        root: args.root.map(Root::from),
        time: args.event.map(|event| match event {
            EventArg::OnCpu => Time::OnCpu,
            EventArg::OffCpu => Time::OffCpu,
        }),
        pid: args.pid,
        top: args.top,
        color: output.is_stdout() && color_wanted(),
    };
    draw(&output, format, &profile, &options)
        .with_context(|| format!("cannot show {}", args.file.display()))
}

fn read(args: &ReportArgs) -> anyhow::Result<Profile> {
    let path = args.file.display();
    let bytes = fs::read(&args.file).with_context(|| format!("cannot read {path}"))?;
    decode(&bytes).with_context(|| {
        format!("{path} cannot be read as a profile (`record --output NAME.pb.gz` writes one)")
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;
    use profiler_proto::pprof::{Sample, ValueType, encode_gz};

    use super::*;

    /// The flags as a command of their own.
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ReportArgs,
    }

    fn report(directory: &Path, flags: &[&str]) -> anyhow::Result<()> {
        let flags = flags.iter().map(|flag| flag.replace("DIR", &directory.display().to_string()));
        let command = Command::try_parse_from(std::iter::once("report".to_owned()).chain(flags));
        run(command?.args)
    }

    /// A directory with a profile of one CPU sample in it.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let profile = Profile {
            string_table: ["", "cpu", "nanoseconds"].map(str::to_owned).to_vec(),
            sample_type: vec![ValueType { ty: 1, unit: 2 }],
            sample: vec![Sample { value: vec![7], ..Sample::default() }],
            ..Profile::default()
        };
        fs::write(directory.path().join("cpu.pb.gz"), encode_gz(&profile).unwrap()).unwrap();
        directory
    }

    #[test]
    fn the_format_follows_the_flag_or_the_ending() {
        let directory = directory();
        for (flags, start) in [
            (&["--output", "DIR/out.svg"][..], "<?xml"),
            (&["--output", "DIR/out.folded"], "[no stack] 7"),
            (&["--output", "DIR/out.txt"], "on CPU"),
            (&["--output", "DIR/out"], "on CPU"),
            (&["--output", "DIR/out.svg", "--format", "folded"], "[no stack] 7"),
        ] {
            let output = flags[1].replace("DIR", &directory.path().display().to_string());
            report(directory.path(), &[&["DIR/cpu.pb.gz"], flags].concat()).unwrap();
            let written = fs::read_to_string(&output).unwrap();
            assert!(written.starts_with(start), "{flags:?}: {written}");
            fs::remove_file(output).unwrap();
        }
    }

    #[test]
    fn errors_name_the_file_and_the_cause() {
        let directory = directory();
        fs::write(directory.path().join("noise"), "certainly no profile").unwrap();
        fs::write(directory.path().join("empty"), "").unwrap();
        for (flags, expected) in [
            (&["DIR/missing"][..], ["missing", "No such file"]),
            (&["DIR/noise"], ["noise", "not a pprof profile"]),
            (&["DIR/empty"], ["empty", "the file is empty"]),
            (&["DIR"], ["cannot read", "directory"]),
            (&["DIR/cpu.pb.gz", "--event", "off-cpu"], ["cpu.pb.gz", "no off-CPU time"]),
            (&["DIR/cpu.pb.gz", "--output", "DIR/out.png"], ["--output", "--format"]),
            (&["DIR/cpu.pb.gz", "--output", "DIR"], ["DIR", "is a directory"]),
        ] {
            let error = format!("{:#}", report(directory.path(), flags).unwrap_err());
            for part in expected {
                let part = part.replace("DIR", &directory.path().display().to_string());
                assert!(error.contains(&part), "{flags:?}: {part:?} is not in {error:?}");
            }
        }
        assert!(!directory.path().join("out.png").exists());
    }
}
