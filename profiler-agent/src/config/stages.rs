//! What the stages are told: their own plain structs, made of the settings.

use super::settings::Settings;
use crate::kernel::plan::Plan;
use crate::runtime::native::CacheConfig;
use crate::symbolize;

impl Settings {
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
            bpf_log: self.log.level >= super::settings::LogLevel::Debug,
            without: sampling.without.clone(),
        }
    }

    /// How frames are named.
    pub fn symbolize(&self) -> symbolize::Config {
        symbolize::Config {
            memory_budget: self.memory.symbols,
            debug_dirs: self.debug_dirs.clone(),
            ..symbolize::Config::default()
        }
    }

    /// Where unwind tables are kept, if they are.
    pub fn unwind_cache(&self) -> Option<CacheConfig> {
        let cache = self.unwind_cache.as_ref()?;
        Some(CacheConfig { directory: cache.path.clone(), max_bytes: cache.size })
    }
}
