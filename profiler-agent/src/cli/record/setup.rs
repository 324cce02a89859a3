//! Flags that were checked: what can be refused is refused before anything is started.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use profiler_proto::pprof::Profile;

use super::args::{EventArg, RecordArgs};
use crate::cli::LogLevel;
use crate::cli::output::Output;
use crate::kernel::command::Held;
use crate::kernel::plan::{Exclude, Plan};
use crate::pipeline::{self, Recording};
use crate::profile::{Limits, encode};
use crate::runtime::native::CacheConfig;
use crate::view::{self, Format, Options, Root};
use crate::{process, symbolize};

/// How long a recording takes when nobody says, and no command says it by its end.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// One recording, ready to start.
#[derive(Debug)]
pub struct Setup {
    /// What the stages need.
    pub pipeline: pipeline::Config,
    /// Where the result goes.
    pub output: Output,
    /// Processes whose end ends the recording; empty when others are recorded too.
    pub watched: Vec<u32>,
    format: Format,
    args: RecordArgs,
}

impl Setup {
    /// Checks the flags.
    ///
    /// # Errors
    /// Name the flag and the way out.
    pub fn new(args: RecordArgs, log: LogLevel) -> anyhow::Result<Self> {
        if let Some(pid) = args.pid.iter().find(|pid| !exists(**pid)) {
            bail!("--pid {pid}: there is no such process; `ps -e` lists those that there are");
        }
        if !args.command.is_empty() && !args.pid.is_empty() {
            bail!("give either --pid or a COMMAND, not both");
        }
        let format =
            args.format.or_else(|| Format::from_path(&args.output)).with_context(|| {
                format!(
                    "--output {}: its ending names no format; add one of --format {}",
                    args.output.display(),
                    Format::names().collect::<Vec<_>>().join(", ")
                )
            })?;
        let unbounded = args.cgroup.is_empty() && args.comm.is_empty() && args.user.is_empty();
        Ok(Self {
            output: Output::prepare(&args.output)?,
            watched: if unbounded { args.pid.clone() } else { Vec::new() },
            pipeline: pipeline_config(&args, log),
            format,
            args,
        })
    }

    /// Starts the command, if there is one, and holds it before its first instruction.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn hold_command(&mut self) -> anyhow::Result<Option<Held>> {
        if self.args.command.is_empty() {
            return Ok(None);
        }
        let held = Held::start(&self.args.command)?;
        self.pipeline.plan.pids = vec![held.pid()];
        Ok(Some(held))
    }

    /// Refuses a recording that says nothing because what it was to record is gone.
    ///
    /// # Errors
    /// Where nothing was sampled of processes that have ended.
    pub fn require_samples(&self, recording: &Recording) -> anyhow::Result<()> {
        let gone = !self.watched.is_empty() && !self.watched.iter().any(|pid| exists(*pid));
        if recording.window.is_empty() && gone {
            bail!(
                "{} ended before a sample was taken, and nothing was written; to record a program \
                 from its first instruction, start it with `profiler-agent record -- COMMAND`",
                self.scope()
            );
        }
        Ok(())
    }

    /// The recording as a profile.
    pub fn encode(&self, recording: &Recording) -> Profile {
        let meta = recording.meta(self.scope());
        encode(&recording.window, &recording.names, &meta)
    }

    /// Writes the profile in the format that was asked for.
    ///
    /// # Errors
    /// Where the output cannot be written; nothing half-written is left.
    pub fn write(&self, profile: &Profile) -> anyhow::Result<()> {
        let mut drawing = Vec::new();
        view::render(self.format, profile, &self.options(), &mut drawing)?;
        match self.output.write(|out| out.write_all(&drawing)) {
            // A reader that closed the pipe has seen enough.
            Err(error) if self.output.is_stdout() && error.is_broken_pipe() => Ok(()),
            other => Ok(other?),
        }
    }

    /// How views show it.
    pub fn options(&self) -> Options {
        let root = self.args.root.map(Root::from).unwrap_or(match self.args.event {
            EventArg::Wall => Root::Thread,
            EventArg::OnCpu | EventArg::OffCpu => Root::Process,
        });
        Options { root: Some(root), ..Options::default() }
    }

    /// What is recorded, for titles and messages.
    fn scope(&self) -> String {
        let args = &self.args;
        let mut parts: Vec<String> = args.pid.iter().map(|pid| format!("pid {pid}")).collect();
        parts.extend(args.cgroup.iter().map(|path| format!("cgroup {}", path.display())));
        parts.extend(args.comm.iter().map(|name| format!("threads named {name}")));
        parts.extend(args.user.iter().map(|user| format!("user {user}")));
        let program = args.command.first().map(|c| Path::new(c).file_name().unwrap_or(c));
        parts.extend(program.map(|name| format!("command {}", name.to_string_lossy())));
        if parts.is_empty() {
            parts.push("whole host".to_owned());
        }
        parts.extend(args.exclude_pid.iter().map(|pid| format!("not pid {pid}")));
        parts.extend(
            args.exclude_cgroup.iter().map(|path| format!("not cgroup {}", path.display())),
        );
        parts.extend(args.exclude_comm.iter().map(|name| format!("no threads named {name}")));
        parts.extend(args.exclude_user.iter().map(|user| format!("not user {user}")));
        parts.join(", ")
    }
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn pipeline_config(args: &RecordArgs, log: LogLevel) -> pipeline::Config {
    let until_told = !args.command.is_empty();
    pipeline::Config {
        plan: Plan {
            event: args.event.into(),
            frequency: args.frequency,
            min_block: args.min_block,
            blocks_per_second: args.max_blocks,
            pids: args.pid.clone(),
            cgroups: args.cgroup.clone(),
            comms: args.comm.clone(),
            users: args.user.clone(),
            exclude: Exclude {
                pids: args.exclude_pid.clone(),
                cgroups: args.exclude_cgroup.clone(),
                comms: args.exclude_comm.clone(),
                users: args.exclude_user.clone(),
            },
            follow_forks: until_told,
            bpf_log: log >= LogLevel::Debug,
            without: args.without.clone(),
        },
        process: process::Config::default(),
        symbolize: symbolize::Config {
            memory_budget: args.symbol_memory << 20,
            ..symbolize::Config::default()
        },
        unwind_memory: args.unwind_memory << 20,
        unwind_cache: (args.unwind_cache_size > 0).then(|| CacheConfig {
            directory: args.unwind_cache.clone(),
            max_bytes: args.unwind_cache_size << 20,
        }),
        window: Limits::default(),
        budget: None,
        duration: args.duration.or((!until_told).then_some(DEFAULT_DURATION)),
    }
}
