//! What the stages are told: their own plain structs, made of the settings.

use super::settings::{LogLevel, Settings};
use crate::kernel::plan::Plan;
use crate::pipeline::{self, Line};
use crate::profile::Limits;
use crate::runtime::native::CacheConfig;
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
                duration: None,
            },
            length: self.window_length,
            scope: self.scope(),
            excluded: self.exclude_services.clone(),
        }
    }

    /// What is asked of the kernel side.
    pub fn plan(&self) -> Plan {
        let Self { sampling, select, .. } = self;
        Plan {
            event: sampling.event,
            frequency: sampling.frequency,
            min_block: sampling.min_block,
            blocks_per_second: sampling.max_blocks,
            pids: select.pids.clone(),
            cgroups: select.cgroups.clone(),
            comms: select.comms.clone(),
            follow_forks: true,
            bpf_log: self.log.level >= LogLevel::Debug,
            without: sampling.without.clone(),
        }
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
