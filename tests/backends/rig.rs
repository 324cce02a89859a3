//! A store in memory and a sink on it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use profiler_agent::export::{
    Backlog, Environment, PendingWindow, Remote, Sink, SinkConfig, SinkKind, Source, SourceError,
    Status,
};
use profiler_agent::model::finished::Finished;
use profiler_tests::backends::Received;
use profiler_tests::backends::windows::{self, Known, LENGTH, Values};
use tokio::time::Instant;

/// When the first window begins (Unix time, ns).
pub const START: u64 = 1_800_000_000 * windows::SECOND;

/// A condition is waited for so long, since the machine may be busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Windows, as one sink sees them.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<Windows>>);

#[derive(Default)]
pub struct Windows {
    pending: BTreeMap<u64, Finished>,
    /// In the order of their being shipped.
    pub delivered: Vec<u64>,
    pub refused: Vec<(u64, String)>,
}

impl Store {
    pub fn windows(&self) -> MutexGuard<'_, Windows> {
        self.0.lock().unwrap()
    }

    pub fn put(&self, id: u64, known: &Known) {
        let finished = Finished {
            start_unix_ns: known.start,
            duration_ns: LENGTH,
            profile: known.bytes.as_slice().into(),
        };
        self.windows().pending.insert(id, finished);
    }

    pub fn is_settled(&self) -> bool {
        self.windows().pending.is_empty()
    }
}

impl Source for Store {
    fn pending(&self, limit: usize) -> Result<Vec<PendingWindow>, SourceError> {
        let windows = self.windows();
        let newest_first = windows.pending.iter().rev().take(limit);
        let pending = newest_first.map(|(id, window)| PendingWindow {
            id: *id,
            start_unix_ns: window.start_unix_ns,
            end_unix_ns: window.end_unix_ns(),
        });
        Ok(pending.collect())
    }

    fn backlog(&self) -> Result<Backlog, SourceError> {
        let windows = self.windows();
        Ok(Backlog {
            windows: windows.pending.len() as u64,
            oldest_end_unix_ns: windows.pending.values().map(Finished::end_unix_ns).min(),
        })
    }

    fn window(&self, id: u64) -> Result<Option<Finished>, SourceError> {
        Ok(self.windows().pending.get(&id).cloned())
    }

    fn delivered(&self, id: u64) -> Result<(), SourceError> {
        let mut windows = self.windows();
        windows.pending.remove(&id);
        windows.delivered.push(id);
        Ok(())
    }

    fn refused(&self, id: u64, reason: &str) -> Result<(), SourceError> {
        let mut windows = self.windows();
        windows.pending.remove(&id);
        windows.refused.push((id, reason.to_owned()));
        Ok(())
    }
}

/// A sink on a store, with a clock of its own.
pub struct Rig {
    pub store: Store,
    pub sink: Sink,
    /// Windows that were put.
    put: AtomicU64,
    /// Unix time, ns.
    pub clock: Arc<AtomicU64>,
}

/// A clock that stands a minute after the first window.
pub fn clock() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(START + 60 * windows::SECOND))
}

pub fn reading(clock: &Arc<AtomicU64>) -> Arc<dyn Fn() -> u64 + Send + Sync> {
    let clock = Arc::clone(clock);
    Arc::new(move || clock.load(Ordering::Relaxed))
}

impl Rig {
    pub fn start(kind: SinkKind) -> Self {
        let clock = clock();
        let environment = Environment { now: reading(&clock), ..Environment::new("node-1") };
        Self::with(kind, environment, clock)
    }

    /// The sink of a configuration.
    pub fn of(config: &SinkConfig) -> Self {
        let clock = clock();
        let environment = Environment { now: reading(&clock), ..Environment::new("node-1") };
        Self::made(config, &environment, clock)
    }

    pub fn with(kind: SinkKind, environment: Environment, clock: Arc<AtomicU64>) -> Self {
        let config = SinkConfig {
            name: "test".to_owned(),
            max_age: Duration::from_secs(3600),
            kind,
            labels: BTreeMap::from([("deployment.env".to_owned(), "prod".to_owned())]),
        };
        Self::made(&config, &environment, clock)
    }

    fn made(config: &SinkConfig, environment: &Environment, clock: Arc<AtomicU64>) -> Self {
        let store = Store::default();
        let sink = Sink::start(config, store.clone(), environment).unwrap();
        Self { store, sink, put: AtomicU64::new(0), clock }
    }

    pub fn put(&self, id: u64, known: &Known) {
        self.store.put(id, known);
        self.put.fetch_add(1, Ordering::Relaxed);
        self.sink.wake();
    }

    pub fn status(&self) -> Status {
        self.sink.status()
    }

    /// Waits for a condition; how long it took.
    pub async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < LIMIT, "waited for {what}: {:#?}", self.status());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    pub async fn until_settled(&self) -> Duration {
        let is_counted = |rig: &Self| {
            let status = rig.status();
            status.shipped + status.refused == rig.put.load(Ordering::Relaxed)
        };
        self.until("all windows to be settled", |rig| rig.store.is_settled() && is_counted(rig))
            .await
    }
}

/// A small window: the one with this number.
pub fn small(number: u64) -> Known {
    windows::window(START + number * LENGTH, 20).unwrap()
}

pub fn remote(address: impl std::fmt::Display) -> Remote {
    Remote::new(format!("http://{address}"), 8)
}

/// What came, as what went in: by service and kind of time, all parts together. Numbers of samples
/// become times.
pub fn values_of(received: &[Received]) -> Values {
    let mut values = Values::new();
    for one in received {
        let (_, ty, _) = one.identity();
        let (kind, factor) = match ty.as_str() {
            "cpu" => ("cpu", 1),
            "samples" => ("cpu", one.profile.period),
            "off_cpu" => ("off_cpu", 1),
            other => panic!("profiles of {other:?}"),
        };
        let all = values.entry((one.service().to_owned(), kind)).or_default();
        for (stack, value) in windows::stacks(&one.profile).unwrap() {
            *all.entry(stack).or_default() += value * factor;
        }
    }
    values
}
