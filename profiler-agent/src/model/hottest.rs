//! What is hottest now, in a form that travels: the answer to `top`.

use serde::{Deserialize, Serialize};

use super::query::Range;

/// The hottest services and functions of a stretch of time. On-CPU and off-CPU time stand beside each
/// other and are never added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hottest {
    /// The time that was looked at; `None` where nothing was.
    pub range: Option<Range>,
    /// Hardware threads of the host, to tell what "all of it" is.
    pub cpus: u32,
    /// Services, the busiest first.
    pub services: Vec<Hot>,
    /// Functions, the busiest first.
    pub functions: Vec<Hot>,
    /// All of it.
    pub total: Times,
    /// Counts of what was turned away meanwhile, by the names of [`super::losses::Losses`].
    pub losses: Vec<(String, u64)>,
}

/// One line of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hot {
    /// Name of the service or function.
    pub name: String,
    /// Where the function is: its file, or the kernel. Empty for a service.
    pub module: String,
    /// Its own time.
    pub own: Times,
    /// With all that it called. For a service the same as its own.
    pub total: Times,
}

/// Time of both kinds, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// On a CPU.
    pub on_cpu_ns: u64,
    /// Off it.
    pub off_cpu_ns: u64,
}

impl Times {
    /// Adds time of the same kinds.
    pub fn add(&mut self, other: Self) {
        self.on_cpu_ns = self.on_cpu_ns.saturating_add(other.on_cpu_ns);
        self.off_cpu_ns = self.off_cpu_ns.saturating_add(other.off_cpu_ns);
    }
}
