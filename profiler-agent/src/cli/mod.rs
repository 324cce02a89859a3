//! The command line: one file per subcommand, each of which wires the stages that it needs.

pub mod args;
pub mod burst;
pub mod completions;
pub mod config;
pub mod doctor;
mod drawing;
pub mod output;
pub mod own_profile;
pub mod query;
pub mod record;
pub mod report;
pub mod run;
pub mod stored;
pub mod top;
pub mod unwind_info;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::LevelFilter;

const EXAMPLES: &str = "\
Examples:
  profiler-agent record --event wall         ten seconds of the whole host, to flame.svg
  profiler-agent query --last 10m            what the host did, from the agent that runs
  profiler-agent report host.pb.gz           the hottest functions of a profile
  profiler-agent doctor                      what this host supports, and how to mend the rest";

/// A profiler for Linux: where every process of a host spends its time, on the CPU and blocked,
/// from outside, with no restart and no code change.
#[derive(Parser, Debug)]
#[command(name = "profiler-agent", version, after_help = EXAMPLES)]
pub struct Cli {
    /// How much to log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Warn)]
    pub log_level: LogLevel,

    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Record(record::RecordArgs),
    Run(run::RunArgs),
    Query(query::QueryArgs),
    Report(report::ReportArgs),
    Top(top::TopArgs),
    Burst(burst::BurstArgs),
    Config(config::ConfigCommand),
    Doctor(doctor::DoctorArgs),
    UnwindInfo(unwind_info::UnwindInfoArgs),
    Completions(completions::CompletionsArgs),
}

/// `--log-level`. With `debug` and finer the BPF programs speak too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// What ends the command
    Error,
    /// What works less well than it could
    Warn,
    /// What the agent does
    Info,
    /// How it does it, and what the BPF programs say
    Debug,
    /// Everything
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

impl Cli {
    /// Runs the subcommand. An error is for the user; the exit code of a command that was recorded
    /// is passed on.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Record(args) => record::run(args, self.log_level),
            Command::Run(args) => run::run(&args),
            Command::Query(args) => query::run(args).map(|()| ExitCode::SUCCESS),
            Command::Report(args) => report::run(args).map(|()| ExitCode::SUCCESS),
            Command::Burst(args) => burst::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Top(args) => top::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Config(command) => config::run(&command),
            Command::Doctor(args) => doctor::run(&args),
            Command::UnwindInfo(args) => unwind_info::run(&args).map(|()| ExitCode::SUCCESS),
            Command::Completions(args) => {
                completions::run(&args);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
