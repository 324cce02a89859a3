//! What the stages are told: their own plain structs, made of the settings.

use tracing_subscriber::filter::LevelFilter;

use super::settings::{LogLevel, Settings};
use crate::kernel::control::Processes;
use crate::kernel::plan::{Exclude, Plan};
use crate::kernel::user;
use crate::pipeline::{self, Budget, BurstWish, LONGEST_BURST, Line, Recorded};
use crate::profile::Limits;
use crate::runtime::native::CacheConfig;
use crate::telemetry::log::Form;
use crate::{process, store, symbolize};

impl Settings {
    /// The line of windows.
    pub fn line(&self) -> Line {
        Line {
            config: pipeline::Config {
                plan: self.plan(),
                process: process::Config {
                    services: self.services.clone(),
                    ..process::Config::default()
                },
                symbolize: symbolize::Config {
                    memory_budget: self.memory.symbols,
                    debug_dirs: self.debug_dirs.clone(),
                    ..symbolize::Config::default()
                },
                unwind_memory: self.memory.unwind,
                unwind_cache: self.unwind_cache.as_ref().map(|cache| CacheConfig {
                    directory: cache.path.clone(),
                    max_bytes: cache.size,
                }),
                window: Limits::default(),
                budget: Some(self.budget()),
                duration: None,
            },
            length: self.window_length,
            scope: self.scope(),
            excluded: self.exclude_services.clone(),
        }
    }

    /// What is asked of the kernel side.
    pub fn plan(&self) -> Plan {
        let Self { sampling, select, exclude, .. } = self;
        Plan {
            event: sampling.event,
            frequency: sampling.frequency,
            min_block: sampling.min_block,
            blocks_per_second: sampling.max_blocks,
            pids: select.pids.clone(),
            cgroups: select.cgroups.clone(),
            comms: select.comms.clone(),
            users: users(&select.users),
            exclude: Exclude {
                pids: exclude.pids.clone(),
                cgroups: exclude.cgroups.clone(),
                comms: exclude.comms.clone(),
                users: users(&exclude.users),
            },
            follow_forks: true,
            bpf_log: self.log.level >= LogLevel::Debug,
            without: sampling.without.clone(),
        }
    }

    /// What the agent may take.
    fn budget(&self) -> Budget {
        Budget { cpu: self.budget.cpu.fraction(), memory: self.budget.memory }
    }

    /// What can change while it is recorded.
    pub fn recorded(&self) -> Recorded {
        let plan = self.plan();
        Recorded {
            rates: (&plan).into(),
            processes: Processes { wanted: plan.pids, excluded: plan.exclude.pids },
            budget: Some(self.budget()),
        }
    }

    /// How the log is written.
    pub fn log_form(&self) -> (Form, LevelFilter) {
        let form = if self.log.json { Form::Json } else { Form::Text };
        let level = match self.log.level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        };
        (form, level)
    }

    /// A burst as it is when nobody says otherwise.
    pub fn default_burst(&self) -> BurstWish {
        let (frequency, duration) = (self.burst.frequency, self.burst.duration);
        BurstWish { frequency, duration: duration.min(LONGEST_BURST), pid: None }
    }

    /// The flight recorder, if windows are kept on disk.
    pub fn store(&self) -> Option<store::Config> {
        self.store.enabled.then(|| store::Config {
            path: self.store.path.clone(),
            max_bytes: self.store.size,
            max_age: self.store.age,
            sinks: self.sinks.iter().map(|sink| sink.name.clone()).collect(),
        })
    }

    /// What is recorded, for titles.
    fn scope(&self) -> String {
        let select = &self.select;
        let mut parts: Vec<String> = select.pids.iter().map(|pid| format!("pid {pid}")).collect();
        parts.extend(select.cgroups.iter().map(|path| format!("cgroup {}", path.display())));
        parts.extend(select.comms.iter().map(|name| format!("threads named {name}")));
        parts.extend(select.users.iter().map(|name| format!("user {name}")));
        if parts.is_empty() { "whole host".to_owned() } else { parts.join(", ") }
    }
}

/// Numbers of users. A name that the host does not know was refused when the settings were checked; one
/// that went since is nobody.
fn users(names: &[String]) -> Vec<u32> {
    const NOBODY_AT_ALL: u32 = u32::MAX;
    names.iter().map(|name| user::number(name).unwrap_or(NOBODY_AT_ALL)).collect()
}
