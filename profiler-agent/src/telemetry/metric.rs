//! The list of metrics: name, kind, unit, label and help of each, in the order of docs/metrics.md.

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from the start of the agent.
    Counter,
    /// Up and down.
    Gauge,
}

/// What is written down of a metric.
struct Description {
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    label: &'static str,
    help: &'static str,
}

macro_rules! metrics {
    ($($variant:ident = $kind:ident $name:literal, $unit:literal, $label:literal, $help:literal;)*) => {
        /// A metric of the agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Metric {
            $(#[doc = $help] $variant,)*
        }

        impl Metric {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn description(self) -> Description {
                match self {
                    $(Self::$variant => Description {
                        name: $name, kind: Kind::$kind, unit: $unit, label: $label, help: $help,
                    },)*
                }
            }
        }
    };
}

// variant = kind name, unit ("" where it is a plain number), label ("" where there is none), help
metrics! {
    Samples = Counter "samples", "", "event", "What windows hold, by event: on-cpu samples or off-cpu blocks";
    TurnedAway = Counter "turned_away", "", "reason", "What was lost, cut, filtered or given up, by the names that profiles carry as count.NAME";
    TurnedAwayTime = Counter "turned_away_time", "seconds", "reason", "Time that was filtered, by reason";
    TruncatedStacks = Counter "truncated_stacks", "", "reason", "Stacks whose outer frames are missing, by reason";
    BpfTime = Counter "bpf_time", "seconds", "", "Time in the agent's BPF programs, extrapolated from the times at which the kernel counts it";
    BpfPerSample = Gauge "bpf_per_sample", "seconds", "", "Time in BPF programs per stack that was taken since the last scrape";
    Processes = Gauge "processes", "", "", "Processes whose mappings the kernel side knows";
    UnwindTables = Gauge "unwind_tables", "", "", "Unwind tables in the kernel's memory";
    UnwindMemory = Gauge "unwind_memory", "bytes", "", "What the kernel has given for unwind rows and lists of mappings";
    CacheHits = Counter "cache_hits", "", "cache", "Answers that a cache had: unwind_tables, those on disk";
    CacheMisses = Counter "cache_misses", "", "cache", "Answers that a cache had not";
    WindowsWritten = Counter "windows_written", "", "", "Windows that were finished and written to disk";
    WindowsFailed = Counter "store_write_errors", "", "", "Tries to write to the store that failed; its windows wait in memory";
    WindowsLost = Counter "windows_lost", "", "", "Windows that were given up since the disk failed for longer than memory lasts";
    WindowSize = Counter "window_size", "bytes", "", "Bytes of finished windows, packed";
    WindowDelay = Gauge "window_delay", "seconds", "", "How long after its end the newest window was named and packed";
    StoreSize = Gauge "store_size", "bytes", "", "What the store takes on disk";
    StoreWindows = Gauge "store_windows", "", "", "Windows in the store";
    StoreOldest = Gauge "store_oldest", "seconds", "", "Age of the oldest window in the store";
    StoreEvicted = Counter "store_evicted", "", "", "Windows that were pushed out by the bounds on size and age";
    StoreEvictedUnshipped = Counter "store_evicted_unshipped", "", "sink", "Windows that were pushed out before a sink had them";
    StoreDegraded = Gauge "store_degraded", "", "", "1 while windows are kept in memory only, since the store cannot be written";
    SinkShipped = Counter "sink_shipped", "", "sink", "Windows that a sink took";
    SinkShippedSize = Counter "sink_shipped_size", "bytes", "sink", "Bytes of profiles in requests to a sink, as packed";
    SinkRequests = Counter "sink_requests", "", "sink", "Requests to a sink, those that failed among them";
    SinkRetried = Counter "sink_retried", "", "sink", "Attempts that failed and were, or will be, made again";
    SinkRefused = Counter "sink_refused", "", "sink", "Windows that a sink refused for good";
    SinkExpired = Counter "sink_expired", "", "sink", "Windows that became too old for a sink before it took them";
    SinkSentTwice = Counter "sink_sent_twice", "", "sink", "Windows that were sent again after an answer was lost, with the same time and id";
    SinkPending = Gauge "sink_pending", "", "sink", "Windows that a sink has yet to get";
    SinkInFlight = Gauge "sink_in_flight", "", "sink", "Requests to a sink that are under way";
    SinkOldest = Gauge "sink_oldest_unshipped", "seconds", "sink", "Age of the oldest window that a sink has yet to get; 0 where it has all";
    Cpu = Counter "cpu", "seconds", "", "CPU time of the agent's own threads";
    Memory = Gauge "memory", "bytes", "", "Resident memory of the agent";
    OpenFiles = Gauge "open_files", "", "", "File descriptors that are open";
    Threads = Gauge "threads", "", "", "Threads of the agent";
    StartTime = Gauge "start_time", "seconds", "", "When the agent started, in seconds since 1970";
    BudgetUsed = Gauge "budget_used", "ratio", "resource", "How much of budget.cpu and budget.memory is used, 1 is all of it";
    BudgetLevel = Gauge "budget_level", "", "", "How far the agent has given way to stay within its budget; 0 is not at all";
    Frequency = Gauge "frequency", "hertz", "", "On-CPU samples per second and CPU, as they are taken now";
    MinBlock = Gauge "min_block", "seconds", "", "Shortest block whose stack is taken now";
    Bursts = Counter "bursts", "", "", "Times that sampling was made faster for an incident";
    Requests = Counter "http_requests", "", "", "Requests to the endpoint";
    RequestsRefused = Counter "http_refused", "", "reason", "Requests and connections that were turned away";
    Reloads = Counter "config_reloads", "", "outcome", "Reloads of the configuration, taken or refused";
    LogRepeats = Counter "log_repeats", "", "", "Lines that the log left out since they repeated others";
}

/// What stands before every name.
pub(super) const PREFIX: &str = "profiler_agent";

impl Metric {
    /// Its name without prefix, unit and ending.
    pub(super) const fn name(self) -> &'static str {
        self.description().name
    }

    /// Counter or gauge.
    pub const fn kind(self) -> Kind {
        self.description().kind
    }

    /// Its unit; empty for a plain number.
    pub const fn unit(self) -> &'static str {
        self.description().unit
    }

    /// The name of its label; empty where it has none.
    pub const fn label(self) -> &'static str {
        self.description().label
    }

    /// What it says.
    pub const fn help(self) -> &'static str {
        self.description().help
    }

    /// Its name as it stands in an exposition.
    pub fn full_name(self) -> String {
        let Description { name, kind, unit, .. } = self.description();
        let unit = if unit.is_empty() { String::new() } else { format!("_{unit}") };
        let end = if kind == Kind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{name}{unit}{end}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The table of docs/metrics.md is this list; whoever changes one changes the other.
    #[test]
    fn the_page_lists_every_metric_and_no_other() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap();
        for metric in Metric::ALL {
            let label = match metric.label() {
                "" => String::new(),
                label => format!("`{label}`"),
            };
            let row = format!("| `{}` | {label} | {} |", metric.full_name(), metric.help());
            assert!(page.contains(&row), "docs/metrics.md needs the row\n{row}");
        }
        let known: BTreeSet<String> = Metric::ALL.iter().map(|m| m.full_name()).collect();
        let named = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for name in named.filter(|word| word.starts_with("profiler_agent_")) {
            assert!(known.contains(name), "docs/metrics.md names {name}, which is not there");
        }
    }

    #[test]
    fn names_are_unlike() {
        let names: BTreeSet<String> = Metric::ALL.iter().map(|m| m.full_name()).collect();
        assert_eq!(names.len(), Metric::ALL.len());
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    }
}
