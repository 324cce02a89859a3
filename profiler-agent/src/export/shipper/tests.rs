//! The task against a backend that does as it is told, and a store in memory.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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

#[tokio::test(start_paused = true)]
async fn each_part_of_each_window_is_sent_once() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=20);
    rig.until_settled().await;
    assert_eq!(rig.sent().len(), 60);
    assert!(rig.sent().values().all(|n| *n == 1));
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.requests, status.bytes), (20, 60, 600));
    assert_eq!((status.retried, status.refused, status.sent_again), (0, 0, 0));
    assert_eq!((status.dropped_samples, status.in_flight), (20, 0));
    assert!(rig.store.all_delivered()[..3].contains(&20), "the newest goes first");
}

#[tokio::test(start_paused = true)]
async fn parts_that_the_backend_has_are_not_sent_again() {
    let failed = Mutex::new(VecDeque::from([(1, 2), (1, 2)]));
    let rig = Rig::new(move |window, part| {
        let mut failed = failed.lock().unwrap();
        if failed.front() == Some(&(window, part)) {
            failed.pop_front();
            return Some(retry("busy", Sent::Answered));
        }
        Some(Outcome::Delivered)
    });
    rig.put([1]);
    rig.until_settled().await;
    let sent = rig.sent();
    assert_eq!((sent[&(1, 0)], sent[&(1, 1)], sent[&(1, 2)]), (1, 1, 3));
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.retried, status.sent_again), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_counted_when_its_part_is_sent_again() {
    let first = Mutex::new(true);
    let rig = Rig::new(move |_, part| {
        let is_first = part == 1 && std::mem::take(&mut *first.lock().unwrap());
        if is_first { None } else { Some(Outcome::Delivered) }
    });
    rig.put([1]);
    rig.until_settled().await;
    assert_eq!(rig.sent()[&(1, 1)], 2);
    assert_eq!(rig.shared.read().sent_again, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_does_not_keep_the_rest() {
    let rig = Rig::new(|window, part| {
        let bad = window == 2 && part == 0;
        let reason = "too long".to_owned();
        Some(if bad { Outcome::Final { reason } } else { Outcome::Delivered })
    });
    rig.put(1..=3);
    rig.until_settled().await;
    assert!(rig.sent().values().all(|n| *n == 1) && rig.sent().len() == 9);
    assert_eq!(rig.store.all_refused(), [(2, "too long".to_owned())]);
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.refused, status.refused_parts), (2, 1, 1));
}

/// Says of each window whether it fails, while there is an outage.
fn outage(sent: Sent) -> (Arc<AtomicBool>, Rig) {
    let away = Arc::new(AtomicBool::new(true));
    let is_away = Arc::clone(&away);
    let rig = Rig::new(move |_, _| {
        let away = is_away.load(Ordering::Relaxed);
        Some(if away { retry("away", sent) } else { Outcome::Delivered })
    });
    (away, rig)
}

#[tokio::test(start_paused = true)]
async fn no_window_is_given_up_in_an_outage_of_any_length() {
    for sent in [Sent::No, Sent::Answered, Sent::AnswerLost] {
        let (away, rig) = outage(sent);
        for id in 1..=60 {
            rig.put([id]);
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(rig.shared.read().failing);
        let tries = rig.log.lock().unwrap().len();
        assert!((100..1200).contains(&tries), "{tries} tries in 10 minutes");
        away.store(false, Ordering::Relaxed);
        let back = Instant::now();
        rig.until("a first window", |rig| !rig.store.all_delivered().is_empty()).await;
        assert!(back.elapsed() <= Duration::from_secs(5));
        rig.until_settled().await;
        assert_eq!(rig.store.all_refused(), []);
        let status = rig.shared.read();
        assert_eq!((status.shipped, status.failing), (60, false));
        assert_eq!(status.sent_again > 0, sent == Sent::AnswerLost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_takes_the_backend_down_is_given_up_and_holds_up_no_other() {
    let rig =
        Rig::new(|window, _| Some(if window == 7 { lost("reset") } else { Outcome::Delivered }));
    rig.put(1..=9);
    for id in 10..=60 {
        tokio::time::sleep(Duration::from_secs(10)).await;
        rig.put([id]);
    }
    rig.until_settled().await;
    assert_eq!(rig.store.all_refused().len(), 1);
    assert_eq!(rig.store.all_refused()[0].0, 7);
    assert_eq!(rig.shared.read().shipped, 59);
}

#[tokio::test(start_paused = true)]
async fn a_try_that_hangs_does_not_hold_up_the_next() {
    let hang = Arc::new(AtomicBool::new(true));
    let is_hanging = Arc::clone(&hang);
    let rig =
        Rig::new(move |_, _| (!is_hanging.load(Ordering::Relaxed)).then_some(Outcome::Delivered));
    rig.put(1..=30);
    // Long enough that each try gets the whole timeout.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(rig.shared.read().in_flight <= 4);
    hang.store(false, Ordering::Relaxed);
    let back = Instant::now();
    rig.until("a first window", |rig| !rig.store.all_delivered().is_empty()).await;
    assert!(back.elapsed() <= Duration::from_secs(5), "{:?}", back.elapsed());
    rig.until_settled().await;
}

#[tokio::test(start_paused = true)]
async fn the_newest_does_not_wait_for_the_backlog() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=50);
    rig.until("a few windows", |rig| rig.store.all_delivered().len() >= 3).await;
    rig.put([90]);
    rig.until("the newest", |rig| rig.store.all_delivered().contains(&90)).await;
    let delivered = rig.store.all_delivered();
    let place = delivered.iter().position(|id| *id == 90).unwrap();
    assert!(place <= 12, "the newest was number {place} of {delivered:?}");
    rig.until_settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_take_us_is_left_alone_until_credentials_change() {
    let good = Arc::new(AtomicBool::new(false));
    let is_good = Arc::clone(&good);
    let rig = Rig::new(move |_, _| {
        let reason = "no such token".to_owned();
        let good = is_good.load(Ordering::Relaxed);
        Some(if good { Outcome::Delivered } else { Outcome::Hold { reason } })
    });
    rig.put(1..=5);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let tries = rig.log.lock().unwrap().len();
    assert!(tries <= 12, "{tries} tries in two minutes");
    assert_eq!(rig.store.all_refused(), []);
    good.store(true, Ordering::Relaxed);
    rig.credentials.store(1, Ordering::Relaxed);
    let changed = Instant::now();
    rig.until_settled().await;
    assert!(changed.elapsed() <= Duration::from_secs(5));
    assert_eq!(rig.shared.read().shipped, 5);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_backend_asks_for_is_kept() {
    let first = Mutex::new(true);
    let rig = Rig::new(move |_, _| {
        let asked = std::mem::take(&mut *first.lock().unwrap());
        let after = Some(Duration::from_secs(40));
        let reason = "slow down".to_owned();
        Some(if asked {
            Outcome::Retry { reason, after, sent: Sent::Answered }
        } else {
            Outcome::Delivered
        })
    });
    rig.put([1]);
    let begun = Instant::now();
    rig.until_settled().await;
    assert!(begun.elapsed() >= Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn windows_that_are_too_old_are_given_up() {
    let rig = Rig::at(4200, |_, _| Some(Outcome::Delivered));
    // Each ends 10 s times one more than its number after the epoch; an hour is the limit.
    rig.put(0..=99);
    rig.until_settled().await;
    let status = rig.shared.read();
    assert_eq!((status.shipped, status.refused, status.too_old), (41, 59, 59));
    assert!(rig.store.all_refused().iter().all(|(id, _)| *id < 59));
}

#[tokio::test(start_paused = true)]
async fn what_was_shipped_is_not_shipped_again_while_the_store_cannot_be_written() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.store.0.lock().unwrap().read_only = true;
    rig.put(1..=5);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.shared.read().shipped, 0);
    rig.store.0.lock().unwrap().read_only = false;
    rig.until_settled().await;
    assert!(rig.sent().values().all(|n| *n == 1), "{:?}", rig.sent());
    assert_eq!(rig.shared.read().shipped, 5);
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_is_pending_is_shipped_as_long_as_there_is_time() {
    let rig = Rig::new(|_, _| Some(Outcome::Delivered));
    rig.put(1..=30);
    rig.stop.send(Some(Instant::now() + Duration::from_secs(5))).unwrap();
    rig.task.await.unwrap();
    assert_eq!(rig.store.all_delivered().len(), 30);

    let rig = Rig::new(|_, _| None);
    rig.put(1..=3);
    let told = Instant::now();
    rig.stop.send(Some(told + Duration::from_secs(5))).unwrap();
    rig.task.await.unwrap();
    assert!(told.elapsed() <= Duration::from_secs(6));
    assert_eq!(rig.shared.read().in_flight, 0);
}
