//! From settings to what the stages are configured with.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::LogLevel;
use crate::config::Settings;
use crate::config::services::Rule;
use crate::kernel::plan::Plan;
use crate::pipeline::{self, Line, Services};
use crate::process::service::{self, Match, Rules};
use crate::profile::Limits;
use crate::runtime::native::CacheConfig;
use crate::{process, store, symbolize};

/// The line of windows.
///
/// # Errors
/// Name the key and the way out.
pub(super) fn line(settings: &Settings, log: LogLevel) -> anyhow::Result<Line> {
    let services = services(settings)?;
    let config = pipeline::Config {
        plan: plan(settings, log),
        process: process::Config { services: services.rules, ..process::Config::default() },
        symbolize: symbolize::Config {
            memory_budget: settings.memory.symbols,
            debug_dirs: settings.debug_dirs.clone(),
            ..symbolize::Config::default()
        },
        unwind_memory: settings.memory.unwind,
        unwind_cache: settings
            .unwind_cache
            .as_ref()
            .map(|cache| CacheConfig { directory: cache.path.clone(), max_bytes: cache.size }),
        window: Limits::default(),
        duration: None,
    };
    let excluded = services.excluded;
    Ok(Line { config, length: settings.window_length, scope: scope(settings), excluded })
}

/// How services are named, and which are left out.
///
/// # Errors
/// Where a rule makes no sense.
pub(super) fn services(settings: &Settings) -> anyhow::Result<Services> {
    let rules = settings.services.iter().map(rule).collect::<anyhow::Result<_>>()?;
    Ok(Services { rules: Rules { rules }, excluded: settings.exclude_services.clone() })
}

fn rule(rule: &Rule) -> anyhow::Result<service::Rule> {
    let mut matches = Match::default();
    for (key, pattern) in &rule.conditions {
        let pattern = pattern.clone();
        match *key {
            "container" => matches.container = Some(pattern),
            "unit" => matches.unit = Some(pattern),
            "exe" => matches.exe = Some(pattern),
            "comm" => matches.comm = Some(pattern),
            "label" => {
                let (label, pattern) = pattern.split_once('=').unwrap_or((&pattern, "*"));
                matches.labels.push((label.to_owned(), pattern.to_owned()));
            }
            other => bail!("services: {:?}: nothing to match by {other}", rule.name),
        }
    }
    let made = service::Rule { name: rule.name.clone(), matches };
    made.check().with_context(|| format!("services: {:?}", rule.name))?;
    Ok(made)
}

fn plan(settings: &Settings, log: LogLevel) -> Plan {
    let sampling = &settings.sampling;
    Plan {
        event: sampling.event,
        frequency: sampling.frequency,
        min_block: sampling.min_block,
        blocks_per_second: sampling.max_blocks,
        pids: settings.select.pids.clone(),
        cgroups: settings.select.cgroups.clone(),
        comms: settings.select.comms.clone(),
        follow_forks: true,
        bpf_log: log >= LogLevel::Debug,
        without: sampling.without.clone(),
    }
}

/// What is recorded, for titles.
fn scope(settings: &Settings) -> String {
    let select = &settings.select;
    let mut parts: Vec<String> = select.pids.iter().map(|pid| format!("pid {pid}")).collect();
    parts.extend(select.cgroups.iter().map(|path| format!("cgroup {}", path.display())));
    parts.extend(select.comms.iter().map(|name| format!("threads named {name}")));
    parts.extend(select.users.iter().map(|user| format!("user {user}")));
    if parts.is_empty() { "whole host".to_owned() } else { parts.join(", ") }
}

/// The store; `None` where windows are kept in memory only.
pub(super) fn store(settings: &Settings) -> Option<store::Config> {
    settings.store.enabled.then(|| store::Config {
        path: settings.store.path.clone(),
        max_bytes: settings.store.size,
        max_age: settings.store.age,
        sinks: sinks(settings),
    })
}

/// The names of the sinks.
pub(super) fn sinks(settings: &Settings) -> Vec<String> {
    settings.sinks.iter().map(|sink| sink.name.clone()).collect()
}

/// So long sinks have to ship the last windows when the agent ends.
pub(super) const GRACE: Duration = Duration::from_secs(5);
