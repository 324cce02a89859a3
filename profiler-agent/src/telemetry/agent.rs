//! The handle that numbers are given to. Each call is an atomic operation, of a labelled metric a
//! look-up before it: cheap, and still nothing for each sample.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::metric::{Kind, Metric, PREFIX};
use super::{own, repeats};
use crate::model::conventions::comment;
use crate::model::losses::Losses;

/// The agent's metrics. Shared by reference; one per process.
#[derive(Debug)]
pub struct Agent {
    registry: Registry,
    series: Vec<Series>,
    started: Duration,
    /// Sinks that have series.
    sinks: Mutex<BTreeSet<String>>,
    /// Time in BPF programs (seconds) and stacks at the last look.
    last_bpf: Mutex<(f64, u64)>,
}

type Labels = Vec<(&'static str, String)>;
type Seconds = Counter<f64, AtomicU64>;
type Level = Gauge<f64, AtomicU64>;

/// What holds the numbers of one metric.
#[derive(Clone, Debug)]
enum Series {
    Count(Counter),
    Time(Seconds),
    Level(Level),
    Counts(Family<Labels, Counter>),
    Times(Family<Labels, Seconds>),
    Levels(Family<Labels, Level>),
}

impl Default for Agent {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "Version of the agent", Info::new(version));
        let series = Metric::ALL.iter().map(|metric| Series::register(*metric, &mut registry));
        let series = series.collect();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { registry, series, started, sinks: Mutex::default(), last_bpf: Mutex::default() }
    }
}

impl Agent {
    /// Adds to a counter.
    pub fn add(&self, metric: Metric, n: u64) {
        match self.series(metric) {
            Some(Series::Count(count)) => {
                count.inc_by(n);
            }
            _ => mistaken(metric),
        }
    }

    /// Sets a counter to what was counted elsewhere. It never goes back.
    pub fn reach(&self, metric: Metric, total: u64) {
        match self.series(metric) {
            Some(Series::Count(count)) => {
                count.inner().fetch_max(total, Ordering::Relaxed);
            }
            _ => mistaken(metric),
        }
    }

    /// Sets a counter of seconds, likewise.
    pub fn reach_seconds(&self, metric: Metric, total: f64) {
        match self.series(metric) {
            Some(Series::Time(time)) => reach(time, total),
            _ => mistaken(metric),
        }
    }

    /// Sets a gauge.
    pub fn set(&self, metric: Metric, value: f64) {
        match self.series(metric) {
            Some(Series::Level(level)) => {
                level.set(value);
            }
            _ => mistaken(metric),
        }
    }

    /// [`Self::add`] for one value of the metric's label.
    pub fn add_of(&self, metric: Metric, label: &str, n: u64) {
        match self.series(metric) {
            Some(Series::Counts(counts)) => {
                counts.get_or_create(&labels(metric, label)).inc_by(n);
            }
            _ => mistaken(metric),
        }
    }

    /// [`Self::reach`] for one value of the metric's label.
    pub fn reach_of(&self, metric: Metric, label: &str, total: u64) {
        match self.series(metric) {
            Some(Series::Counts(counts)) => {
                let count = counts.get_or_create(&labels(metric, label));
                count.inner().fetch_max(total, Ordering::Relaxed);
            }
            _ => mistaken(metric),
        }
    }

    /// [`Self::set`] for one value of the metric's label.
    pub fn set_of(&self, metric: Metric, label: &str, value: f64) {
        match self.series(metric) {
            Some(Series::Levels(levels)) => {
                levels.get_or_create(&labels(metric, label)).set(value);
            }
            _ => mistaken(metric),
        }
    }

    /// Adds the counts of one window, each under its own name.
    pub fn add_losses(&self, losses: &Losses) {
        for (name, n) in losses.iter() {
            let Some(Series::Times(times)) = self.series(Metric::TurnedAwayTime) else { return };
            if let Some(name) = name.strip_suffix("_ns") {
                let time = times.get_or_create(&labels(Metric::TurnedAwayTime, name));
                time.inc_by(n as f64 / 1e9);
                continue;
            }
            self.add_of(Metric::TurnedAway, name, n);
        }
    }

    /// Shows losses that may happen at zero, so that the first of them is seen as a change.
    pub fn expect_losses(&self, names: impl IntoIterator<Item = &'static str>) {
        for name in names.into_iter().filter(|name| comment::is_loss(name)) {
            self.add_of(Metric::TurnedAway, name, 0);
        }
    }

    /// Shows these sinks: a new one at zero, before anything was sent to it; and none of one that is not
    /// there any more.
    pub fn show_sinks<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let there: BTreeSet<String> = names.into_iter().map(str::to_owned).collect();
        let mut shown = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        shown.difference(&there).for_each(|gone| self.forget_sink(gone));
        there.difference(&shown).for_each(|new| self.expect_sink(new));
        *shown = there;
    }

    fn expect_sink(&self, sink: &str) {
        for metric in Metric::ALL.iter().copied().filter(|metric| metric.label() == "sink") {
            match metric.kind() {
                Kind::Counter => self.add_of(metric, sink, 0),
                Kind::Gauge => self.set_of(metric, sink, 0.0),
            }
        }
    }

    fn forget_sink(&self, sink: &str) {
        for metric in Metric::ALL.iter().copied().filter(|metric| metric.label() == "sink") {
            let labels = labels(metric, sink);
            match self.series(metric) {
                Some(Series::Counts(counts)) => counts.remove(&labels),
                Some(Series::Levels(levels)) => levels.remove(&labels),
                _ => false,
            };
        }
    }

    /// The exposition, with what the agent reads of itself now.
    pub fn render(&self) -> String {
        self.read_own();
        let mut text = String::new();
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing to a string does not fail; an exposition without its end is known to be cut.
            Err(std::fmt::Error) => String::new(),
        }
    }

    fn read_own(&self) {
        let own = own::read();
        self.reach_seconds(Metric::Cpu, own.cpu.as_secs_f64());
        self.set(Metric::Memory, own.resident_bytes as f64);
        self.set(Metric::OpenFiles, own.open_files as f64);
        self.set(Metric::Threads, own.threads as f64);
        self.set(Metric::StartTime, self.started.as_secs_f64());
        self.reach(Metric::LogRepeats, repeats::left_out());
        self.divide_bpf_time();
    }

    /// What a stack cost in BPF programs, of those that were taken since the last look.
    fn divide_bpf_time(&self) {
        let (Some(Series::Time(time)), Some(Series::Counts(stacks))) =
            (self.series(Metric::BpfTime), self.series(Metric::Samples))
        else {
            return;
        };
        let count = |event| stacks.get(&labels(Metric::Samples, event)).map_or(0, |c| c.get());
        let now = (time.get(), count("on-cpu").saturating_add(count("off-cpu")));
        let mut last = self.last_bpf.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = now.1.saturating_sub(last.1);
        if taken > 0 {
            self.set(Metric::BpfPerSample, (now.0 - last.0).max(0.0) / taken as f64);
            *last = now;
        }
    }

    fn series(&self, metric: Metric) -> Option<&Series> {
        self.series.get(metric as usize)
    }
}

impl Series {
    fn register(metric: Metric, registry: &mut Registry) -> Self {
        let labelled = !metric.label().is_empty();
        let series = match (metric.kind(), labelled, metric.unit()) {
            (Kind::Counter, false, "seconds") => Self::Time(Seconds::default()),
            (Kind::Counter, false, _) => Self::Count(Counter::default()),
            (Kind::Counter, true, "seconds") => Self::Times(Family::default()),
            (Kind::Counter, true, _) => Self::Counts(Family::default()),
            (Kind::Gauge, false, _) => Self::Level(Level::default()),
            (Kind::Gauge, true, _) => Self::Levels(Family::default()),
        };
        match series.clone() {
            Self::Count(it) => enter(registry, metric, it),
            Self::Time(it) => enter(registry, metric, it),
            Self::Level(it) => enter(registry, metric, it),
            Self::Counts(it) => enter(registry, metric, it),
            Self::Times(it) => enter(registry, metric, it),
            Self::Levels(it) => enter(registry, metric, it),
        }
        series
    }
}

fn enter(
    registry: &mut Registry,
    metric: Metric,
    series: impl prometheus_client::registry::Metric,
) {
    match metric.unit() {
        "" => registry.register(metric.name(), metric.help(), series),
        unit => {
            let unit = Unit::Other(unit.to_owned());
            registry.register_with_unit(metric.name(), metric.help(), unit, series);
        }
    }
}

/// The encoder writes a label as it is, so what the format gives a meaning is escaped here.
fn labels(metric: Metric, value: &str) -> Labels {
    let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    vec![(metric.label(), value)]
}

/// Two readers may come at once, the later reading first: a counter must not go back for that.
fn reach(time: &Seconds, total: f64) {
    let missing = total - time.get();
    if missing > 0.0 {
        time.inc_by(missing);
    }
}

/// A metric was used as what it is not. The list and the caller disagree: told to whoever tests.
fn mistaken(metric: Metric) {
    debug_assert!(false, "{metric:?} is not of the kind that it is used as");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, start: &str) -> Option<String> {
        let line = text.lines().find(|line| line.starts_with(start))?;
        line.rsplit_once(' ').map(|(_, value)| value.to_owned())
    }

    #[test]
    fn every_metric_is_shown_by_its_full_name() {
        let agent = Agent::default();
        for metric in Metric::ALL.iter().copied().filter(|metric| !metric.label().is_empty()) {
            match (metric.kind(), metric.unit()) {
                (Kind::Counter, "seconds") => {
                    let mut losses = Losses::default();
                    losses.add("some_ns", 1_500_000_000);
                    agent.add_losses(&losses);
                }
                (Kind::Counter, _) => agent.add_of(metric, "some", 1),
                (Kind::Gauge, _) => agent.set_of(metric, "some", 1.0),
            }
        }
        let text = agent.render();
        for metric in Metric::ALL {
            let series = match metric.label() {
                "" => metric.full_name(),
                label => format!("{}{{{label}=\"some\"}}", metric.full_name()),
            };
            assert!(line(&text, &series).is_some(), "{series} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("profiler_agent_build_info{version="));
        let time = "profiler_agent_turned_away_time_seconds_total{reason=\"some\"}";
        assert_eq!(line(&text, time).as_deref(), Some("1.5"));
    }

    #[test]
    fn losses_are_one_family() {
        let agent = Agent::default();
        agent.expect_losses(["samples_lost_ring_full", "filtered"]);
        let zero = agent.render();
        let lost = "profiler_agent_turned_away_total{reason=\"samples_lost_ring_full\"}";
        assert_eq!(line(&zero, lost).as_deref(), Some("0"));
        assert!(!zero.contains("reason=\"filtered\""));
        let mut losses = Losses::default();
        losses.add("samples_lost_ring_full", 3);
        agent.add_losses(&losses);
        agent.add_losses(&losses);
        let text = agent.render();
        assert_eq!(line(&text, lost).as_deref(), Some("6"));
    }

    #[test]
    fn a_sink_that_goes_takes_its_series_along() {
        let agent = Agent::default();
        agent.show_sinks(["parca", "archive"]);
        agent.add_of(Metric::SinkShipped, "parca", 4);
        let before = agent.render();
        let of_parca = before.matches("sink=\"parca\"").count();
        let expected = Metric::ALL.iter().filter(|metric| metric.label() == "sink").count();
        assert_eq!(of_parca, expected);
        agent.show_sinks(["archive"]);
        let after = agent.render();
        assert!(!after.contains("parca"));
        assert_eq!(after.matches("sink=\"archive\"").count(), expected);
    }

    #[test]
    fn counters_never_go_back() {
        let agent = Agent::default();
        agent.reach(Metric::Requests, 7);
        agent.reach(Metric::Requests, 5);
        agent.reach_seconds(Metric::BpfTime, 1.5);
        agent.reach_seconds(Metric::BpfTime, 0.5);
        let text = agent.render();
        assert_eq!(line(&text, "profiler_agent_http_requests_total").as_deref(), Some("7"));
        assert_eq!(line(&text, "profiler_agent_bpf_time_seconds_total").as_deref(), Some("1.5"));
        let cpu = line(&text, "profiler_agent_cpu_seconds_total").unwrap();
        assert!(cpu.parse::<f64>().unwrap() > 0.0);
    }

    #[test]
    fn bpf_time_is_divided_among_the_stacks_of_its_time() {
        let agent = Agent::default();
        let per_sample = |seconds, stacks| {
            agent.reach_seconds(Metric::BpfTime, seconds);
            agent.add_of(Metric::Samples, "on-cpu", stacks);
            line(&agent.render(), "profiler_agent_bpf_per_sample_seconds")
        };
        assert_eq!(per_sample(0.0, 0).as_deref(), Some("0.0"));
        assert_eq!(per_sample(1.0, 4).as_deref(), Some("0.25"));
        assert_eq!(per_sample(1.5, 4).as_deref(), Some("0.125"));
        assert_eq!(per_sample(1.5, 0).as_deref(), Some("0.125"));
    }

    #[test]
    fn a_hostile_label_stays_in_its_quotes() {
        let agent = Agent::default();
        agent.add_of(Metric::SinkShipped, "a\"b\\c\nd", 1);
        assert!(agent.render().contains(r#"{sink="a\"b\\c\nd"} 1"#));
    }
}
