//! The configuration, checked and typed: one struct for each thing that is configured.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::kind::Parsed;
use super::sinks;
use super::units::Share;
use super::values::Values;
use crate::export::SinkConfig;
use crate::http;
use crate::kernel::plan::Feature;
use crate::model::choice::EventChoice;
use crate::process::service::Rules;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What is recorded, and how often.
    pub sampling: Sampling,
    /// How long a window is.
    pub window_length: Duration,
    /// What is wanted; empty lists want everything.
    pub select: Filters,
    /// What is not wanted.
    pub exclude: Filters,
    /// Globs of names of services that are not wanted.
    pub exclude_services: Vec<String>,
    /// Rules that name services, in their order.
    pub services: Rules,
    /// Memory of the stages.
    pub memory: Memory,
    /// Unwind tables on disk; `None`: nowhere.
    pub unwind_cache: Option<UnwindCache>,
    /// Where separate debug files are looked for.
    pub debug_dirs: Vec<PathBuf>,
    /// The flight recorder.
    pub store: Store,
    /// Where windows are shipped, in the order of their names; with the labels of all sinks.
    pub sinks: Vec<SinkConfig>,
    /// What is listened on.
    pub http: http::Config,
    /// What the agent may take.
    pub budget: Budget,
    /// What a burst is when nobody says.
    pub burst: Burst,
    /// What is logged, and how.
    pub log: Log,
    /// All values by path, by which two settings are compared.
    pub(super) by_path: BTreeMap<String, Parsed>,
}

/// `[sampling]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// What is recorded.
    pub event: EventChoice,
    /// Samples per second and CPU.
    pub frequency: u32,
    /// Shorter blocks are only counted.
    pub min_block: Duration,
    /// Blocks per second and CPU whose stack is kept.
    pub max_blocks: u32,
    /// Features to do without.
    pub without: Vec<Feature>,
}

/// `[select]` and `[exclude]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Process ids.
    pub pids: Vec<u32>,
    /// Directories of cgroups of the v2 hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// Names of threads.
    pub comms: Vec<String>,
    /// Users, names or numbers.
    pub users: Vec<String>,
}

/// `[memory]`, bytes
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Unwind tables.
    pub unwind: u64,
    /// Debug information.
    pub symbols: u64,
}

/// `[unwind_cache]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnwindCache {
    /// The directory.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Whether windows are kept on disk.
    pub enabled: bool,
    /// The directory.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// How long windows are kept.
    pub age: Duration,
}

/// `[budget]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Of all CPUs together.
    pub cpu: Share,
    /// Bytes.
    pub memory: u64,
}

/// `[burst]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    /// Samples per second and CPU.
    pub frequency: u32,
    /// How long it takes.
    pub duration: Duration,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least that is logged.
    pub level: LogLevel,
    /// One JSON object a line, instead of text.
    pub json: bool,
}

/// `log.level`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What ends the agent.
    Error,
    /// What works less well than it could.
    Warn,
    /// What the agent does.
    #[default]
    Info,
    /// How it does it.
    Debug,
    /// Everything.
    Trace,
}

impl Settings {
    /// Builds the settings of values that were checked: those that are not there are their type's
    /// default, which no value with a default in the table of keys comes to.
    pub(super) fn build(values: &Values) -> Self {
        let by_path = values.iter().map(|(path, entry)| (path.to_owned(), entry.value.clone()));
        Self {
            sampling: sampling(values),
            window_length: values.duration("window.length").unwrap_or_default(),
            select: filters(values, "select"),
            exclude: filters(values, "exclude"),
            exclude_services: values.texts("exclude.services").unwrap_or_default(),
            services: Rules { rules: values.rules("services").unwrap_or_default() },
            memory: Memory {
                unwind: values.bytes("memory.unwind").unwrap_or_default(),
                symbols: values.bytes("memory.symbols").unwrap_or_default(),
            },
            unwind_cache: unwind_cache(values),
            debug_dirs: values.paths("debug.dirs").unwrap_or_default(),
            store: Store {
                enabled: values.flag("store.enabled").unwrap_or_default(),
                path: values.path("store.path").flatten().unwrap_or_default(),
                size: values.bytes("store.size").unwrap_or_default(),
                age: values.duration("store.age").unwrap_or_default(),
            },
            sinks: values.sinks.keys().filter_map(|name| sinks::build(values, name)).collect(),
            http: http(values),
            budget: Budget {
                cpu: values.share("budget.cpu").unwrap_or_default(),
                memory: values.bytes("budget.memory").unwrap_or_default(),
            },
            burst: Burst {
                frequency: small(values, "burst.frequency"),
                duration: values.duration("burst.duration").unwrap_or_default(),
            },
            log: log(values),
            by_path: by_path.collect(),
        }
    }
}

fn sampling(values: &Values) -> Sampling {
    Sampling {
        event: match values.text("sampling.event").as_deref() {
            Some("on-cpu") => EventChoice::OnCpu,
            Some("off-cpu") => EventChoice::OffCpu,
            _ => EventChoice::Wall,
        },
        frequency: small(values, "sampling.frequency"),
        min_block: values.duration("sampling.min_block").unwrap_or_default(),
        max_blocks: small(values, "sampling.max_blocks"),
        without: values
            .texts("sampling.without")
            .unwrap_or_default()
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect(),
    }
}

fn filters(values: &Values, section: &str) -> Filters {
    let path = |key: &str| format!("{section}.{key}");
    Filters {
        pids: values.numbers(&path("pids")).unwrap_or_default(),
        cgroups: values.paths(&path("cgroups")).unwrap_or_default(),
        comms: values.texts(&path("comms")).unwrap_or_default(),
        users: values.texts(&path("users")).unwrap_or_default(),
    }
}

fn unwind_cache(values: &Values) -> Option<UnwindCache> {
    let path = values.path("unwind_cache.path").flatten()?;
    let size = values.bytes("unwind_cache.size").filter(|size| *size > 0)?;
    Some(UnwindCache { path, size })
}

/// Where the endpoint listens.
pub(super) fn http(values: &Values) -> http::Config {
    let file = |path: &str| values.path(path).flatten();
    let tls = file("http.tls.cert").zip(file("http.tls.key"));
    http::Config {
        socket: file("http.socket"),
        listen: values.address("http.listen").flatten(),
        token_file: file("http.token_file"),
        tls: tls.map(|(cert, key)| http::TlsFiles { cert, key }),
        limits: http::Limits::default(),
    }
}

fn log(values: &Values) -> Log {
    Log {
        level: match values.text("log.level").as_deref() {
            Some("error") => LogLevel::Error,
            Some("warn") => LogLevel::Warn,
            Some("debug") => LogLevel::Debug,
            Some("trace") => LogLevel::Trace,
            _ => LogLevel::Info,
        },
        json: values.text("log.format").as_deref() == Some("json"),
    }
}

/// A number whose range is within 32 bits.
pub(super) fn small(values: &Values, path: &str) -> u32 {
    values.number(path).and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}
