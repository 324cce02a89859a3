//! The agent's numbers: what each stage counts, brought together when somebody asks.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use profiler_common::counter::Counter;
use tokio::sync::watch;

use super::recorder::Recorder;
use super::sinks::Sinks;
use crate::config::Settings;
use crate::export::Status;
use crate::http::{Counts, Refused};
use crate::model::choice::EventChoice;
use crate::pipeline::{Progress, WindowDone};
use crate::store;
use crate::telemetry::{Agent, Metric};

/// What the user side may lose; the kernel side's names are those of its counters.
const LOSSES: &[&str] = &[
    "blocks_lost_open_table_full",
    "blocks_lost_skipped_table_full",
    "blocks_lost_with_windows",
    "blocks_lost_without_begin",
    "mappings_lost_binary_table_full",
    "mappings_lost_limit",
    "samples_lost_with_windows",
    "sideband_records_lost",
    "windows_lost_not_encoded",
    "windows_lost_store_busy",
];

/// All numbers.
pub(super) struct Numbers {
    pub(super) agent: Agent,
    pub(super) recorder: Arc<Recorder>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) http: Arc<Counts>,
    pub(super) progress: watch::Receiver<Progress>,
}

impl Numbers {
    /// Shows what may happen at zero, so that the first of it is seen as a change.
    pub(super) fn expect(&self, settings: &Settings) {
        self.agent.expect_losses(Counter::ALL.iter().map(|counter| counter.name()));
        self.agent.expect_losses(LOSSES.iter().copied());
        self.agent.show_sinks(settings.sinks.iter().map(|sink| sink.name.as_str()));
        self.count_stacks(0, 0);
        self.count_reloads(true, 0);
        self.count_reloads(false, 0);
    }

    fn count_stacks(&self, samples: u64, blocks: u64) {
        self.agent.add_of(Metric::Samples, EventChoice::OnCpu.name(), samples);
        self.agent.add_of(Metric::Samples, EventChoice::OffCpu.name(), blocks);
    }

    /// Counts a reload of the configuration, taken or refused.
    pub(super) fn reloaded(&self, taken: bool) {
        self.count_reloads(taken, 1);
    }

    fn count_reloads(&self, taken: bool, n: u64) {
        let outcome = if taken { "taken" } else { "refused" };
        self.agent.add_of(Metric::Reloads, outcome, n);
    }

    /// Counts a window that was put into the store.
    pub(super) fn window(&self, window: &WindowDone) {
        let agent = &self.agent;
        self.count_stacks(window.samples, window.blocks);
        agent.add_losses(&window.losses);
        for (reason, count) in &window.truncated {
            agent.add_of(Metric::TruncatedStacks, reason, *count);
        }
        let unwinding = window.unwinding;
        agent.set(Metric::Processes, unwinding.processes as f64);
        agent.set(Metric::UnwindTables, unwinding.tables as f64);
        agent.set(Metric::UnwindMemory, unwinding.kernel_bytes as f64);
        agent.reach_of(Metric::CacheHits, "unwind_tables", unwinding.from_disk);
        agent.reach_of(Metric::CacheMisses, "unwind_tables", unwinding.made);
        agent.add(Metric::WindowSize, window.finished.profile.len() as u64);
        let late = since(window.finished.end_unix_ns());
        agent.set(Metric::WindowDelay, late);
    }

    /// Counts a window that found no room to wait for the disk.
    pub(super) fn window_lost(&self, window: &WindowDone) {
        tracing::error!("a window is lost: the disk is slow, and too many wait for it");
        self.agent.add_losses(&window.losses);
        let of = |name, n| self.agent.add_of(Metric::TurnedAway, name, n);
        of("windows_lost_store_busy", 1);
        of("samples_lost_with_windows", window.samples);
        of("blocks_lost_with_windows", window.blocks);
    }

    /// The exposition.
    pub(super) fn render(&self) -> String {
        let agent = &self.agent;
        let store = self.recorder.store().status();
        self.read_store(&store);
        let sinks = self.sinks.statuses();
        self.agent.show_sinks(sinks.iter().map(|sink| sink.name.as_str()));
        sinks.iter().for_each(|status| self.read_sink(status, &store));
        self.read_steered();
        agent.reach(Metric::Requests, self.http.requests());
        for why in Refused::ALL {
            agent.reach_of(Metric::RequestsRefused, why.name(), self.http.refused(why));
        }
        agent.render()
    }

    /// What keeps the agent from being ready.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let attached = self.progress.borrow().attached;
        if attached { Vec::new() } else { vec!["the kernel side is not attached yet".to_owned()] }
    }

    /// What the agent takes, and how it answers to that.
    fn read_steered(&self) {
        let agent = &self.agent;
        let steered = self.progress.borrow().steered.clone();
        agent.reach_seconds(Metric::BpfTime, steered.bpf_ns as f64 / 1e9);
        agent.set_of(Metric::BudgetUsed, "cpu", steered.cpu_used);
        agent.set_of(Metric::BudgetUsed, "memory", steered.memory_used);
        agent.set(Metric::BudgetLevel, steered.level as f64);
        agent.set(Metric::Frequency, f64::from(steered.frequency));
        agent.set(Metric::MinBlock, steered.min_block.as_secs_f64());
        agent.reach(Metric::Bursts, steered.bursts);
    }

    fn read_store(&self, status: &store::Status) {
        let agent = &self.agent;
        let counters = &status.counters;
        agent.reach(Metric::WindowsWritten, counters.written);
        agent.reach(Metric::WindowsFailed, counters.write_errors);
        agent.reach(Metric::WindowsLost, counters.dropped);
        agent.reach(Metric::StoreEvicted, counters.evicted);
        agent.set(Metric::StoreSize, status.bytes as f64);
        agent.set(Metric::StoreWindows, status.windows as f64);
        agent.set(Metric::StoreOldest, status.oldest_unix_ns.map_or(0.0, since));
        agent.set(Metric::StoreDegraded, f64::from(u8::from(status.degraded.is_some())));
    }

    fn read_sink(&self, status: &Status, store: &store::Status) {
        let sink = status.name.as_str();
        // The cursor of a sink that a reload took away stays in the store for a while.
        let cursor = store.sinks.get(sink).copied().unwrap_or_default();
        let oldest = cursor.oldest_pending_unix_ns.map_or(0.0, since);
        self.agent.reach_of(Metric::StoreEvictedUnshipped, sink, cursor.evicted_unshipped);
        self.agent.set_of(Metric::SinkPending, sink, cursor.pending as f64);
        self.agent.set_of(Metric::SinkOldest, sink, oldest);
        for (metric, total) in [
            (Metric::SinkShipped, status.shipped),
            (Metric::SinkShippedSize, status.bytes),
            (Metric::SinkRequests, status.requests),
            (Metric::SinkRetried, status.retried),
            (Metric::SinkRefused, status.refused.saturating_sub(status.too_old)),
            (Metric::SinkExpired, status.too_old),
            (Metric::SinkSentTwice, status.sent_again),
        ] {
            self.agent.reach_of(metric, sink, total);
        }
        self.agent.set_of(Metric::SinkInFlight, sink, status.in_flight as f64);
    }
}

/// Time since a moment (Unix time, ns), seconds.
fn since(unix_ns: u64) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    now.saturating_sub(unix_ns) as f64 / 1e9
}
