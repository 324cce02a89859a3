//! The task against a backend that does as it is told, and a store in memory.

mod failures;
mod ordinary;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::export::backend::{LeftOut, Part, Prepared};
use crate::export::outcome::{Outcome, Sent};
use crate::export::source::{Backlog, SourceError};
use crate::model::finished::Finished;

const SECOND: u64 = 1_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// A store in memory. What it holds is keyed by the number of the window.
#[derive(Default)]
struct Store(Mutex<Windows>);

#[derive(Default)]
struct Windows {
    pending: BTreeMap<u64, Finished>,
    delivered: Vec<u64>,
    refused: Vec<(u64, String)>,
    read_only: bool,
}

impl Store {
    fn put(&self, id: u64) {
        let window = Finished {
            start_unix_ns: id * 10 * SECOND,
            duration_ns: 10 * SECOND,
            profile: Arc::from(id.to_le_bytes()),
        };
        self.0.lock().unwrap().pending.insert(id, window);
    }

    fn all_delivered(&self) -> Vec<u64> {
        self.0.lock().unwrap().delivered.clone()
    }

    fn all_refused(&self) -> Vec<(u64, String)> {
        self.0.lock().unwrap().refused.clone()
    }

    fn is_settled(&self) -> bool {
        self.0.lock().unwrap().pending.is_empty()
    }
}

impl Source for Arc<Store> {
    fn pending(&self, limit: usize) -> Result<Vec<PendingWindow>, SourceError> {
        let windows = self.0.lock().unwrap();
        let newest_first = windows.pending.iter().rev().take(limit);
        Ok(newest_first
            .map(|(id, window)| PendingWindow {
                id: *id,
                start_unix_ns: window.start_unix_ns,
                end_unix_ns: window.end_unix_ns(),
            })
            .collect())
    }

    fn backlog(&self) -> Result<Backlog, SourceError> {
        let windows = self.0.lock().unwrap();
        Ok(Backlog {
            windows: windows.pending.len() as u64,
            oldest_end_unix_ns: windows.pending.values().map(Finished::end_unix_ns).min(),
        })
    }

    fn window(&self, id: u64) -> Result<Option<Finished>, SourceError> {
        Ok(self.0.lock().unwrap().pending.get(&id).cloned())
    }

    fn delivered(&self, id: u64) -> Result<(), SourceError> {
        let mut windows = self.0.lock().unwrap();
        if windows.read_only {
            return Err("read-only".into());
        }
        windows.pending.remove(&id);
        windows.delivered.push(id);
        Ok(())
    }

    fn refused(&self, id: u64, reason: &str) -> Result<(), SourceError> {
        let mut windows = self.0.lock().unwrap();
        windows.pending.remove(&id);
        windows.refused.push((id, reason.to_owned()));
        Ok(())
    }
}

/// What is done with a part: its window and its number are given.
type Answer = dyn Fn(u64, u64) -> Option<Outcome> + Send + Sync;

/// Three parts a window. `None` from the script: never answered.
struct Scripted {
    script: Arc<Answer>,
    log: Arc<Mutex<Vec<(u64, u64)>>>,
    credentials: Arc<AtomicU64>,
}

impl Backend for Scripted {
    type Part = (u64, u64);

    fn prepare(&self, window: &Finished) -> Result<Prepared<Self::Part>, String> {
        let id = window.start_unix_ns / SECOND / 10;
        let parts = (0..3).map(|n| Part { body: (id, n), bytes: 10 }).collect();
        Ok(Prepared { parts, left_out: LeftOut { samples: 1, ..LeftOut::default() } })
    }

    async fn send(&self, part: &Part<Self::Part>, deadline: Duration) -> Outcome {
        self.log.lock().unwrap().push(part.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
        match (self.script)(part.body.0, part.body.1) {
            Some(outcome) => outcome,
            None => {
                tokio::time::sleep(deadline).await;
                lost("no answer")
            }
        }
    }

    fn credentials(&self) -> u64 {
        self.credentials.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> usize {
        4
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(10)
    }
}

fn retry(reason: &str, sent: Sent) -> Outcome {
    Outcome::Retry { reason: reason.to_owned(), after: None, sent }
}

fn lost(reason: &str) -> Outcome {
    retry(reason, Sent::AnswerLost)
}

/// A sink at work on a simulated clock: time passes when all wait.
struct Rig {
    store: Arc<Store>,
    shared: Arc<Shared>,
    log: Arc<Mutex<Vec<(u64, u64)>>>,
    credentials: Arc<AtomicU64>,
    wake: Arc<Notify>,
    stop: watch::Sender<Option<Instant>>,
    task: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn new(script: impl Fn(u64, u64) -> Option<Outcome> + Send + Sync + 'static) -> Self {
        Self::at(1000, script)
    }

    fn at(now: u64, script: impl Fn(u64, u64) -> Option<Outcome> + Send + Sync + 'static) -> Self {
        let store = Arc::new(Store::default());
        let shared = Arc::new(Shared::new("test", "scripted"));
        let (log, credentials) = (Arc::default(), Arc::<AtomicU64>::default());
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(None);
        let backend = Scripted {
            script: Arc::new(script),
            log: Arc::clone(&log),
            credentials: Arc::clone(&credentials),
        };
        let environment =
            Environment { now: Arc::new(move || now * SECOND), ..Environment::new("h") };
        let shipper = Shipper::new(
            backend,
            Arc::new(Arc::clone(&store)),
            Arc::clone(&shared),
            environment,
            Arc::clone(&wake),
            Duration::from_secs(3600),
        );
        let task = tokio::spawn(shipper.run(stopped));
        Self { store, shared, log, credentials, wake, stop, task }
    }

    fn put(&self, ids: impl IntoIterator<Item = u64>) {
        ids.into_iter().for_each(|id| self.store.put(id));
        self.wake.notify_one();
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition(self) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.shared.read());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_settled(&self) {
        self.until("all windows settled", |rig| rig.store.is_settled()).await;
    }

    /// How often each part was sent.
    fn sent(&self) -> HashMap<(u64, u64), usize> {
        let mut sent = HashMap::new();
        self.log.lock().unwrap().iter().for_each(|part| *sent.entry(*part).or_default() += 1);
        sent
    }
}
