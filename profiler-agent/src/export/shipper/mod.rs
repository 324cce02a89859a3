//! The task of one sink: which window is shipped when, what is tried again, what is given up.
//!
//! The newest window goes first and never waits for the backlog: it has a place, and requests, of its
//! own. While the backend fails ([`health`]), windows are tried one by one; what the backend already
//! has of a window is not sent again ([`memory`]).

mod health;
mod memory;
mod pace;
#[cfg(test)]
mod tests;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::backend::Backend;
use super::environment::Environment;
use super::source::{PendingWindow, Source};
use super::status::Shared;
use health::Health;
use memory::{Memory, Progress, Settled};
use pace::{Pace, Patience};
use work::{Context, Done, End, Failure, Job, ask, is_hopeless, ship};

/// The store is looked at so often, also when nobody calls.
const TICK: Duration = Duration::from_secs(1);

/// Windows of the backlog that are on their way at once.
const BACKLOG: usize = 2;

/// Windows that are tried at once while the backend fails. All but one of them hang.
const TRIALS: usize = 4;

/// Windows that are given up for their age before something else is looked at.
const TOO_OLD_AT_ONCE: usize = 16;

/// What to do next.
enum Choice {
    Begin(PendingWindow),
    Wait(Instant),
}

/// The end of a sink: `None` while it goes on, then the instant at which it has to be done.
pub(super) type Stop = watch::Receiver<Option<Instant>>;

/// The state of the task.
pub(super) struct Shipper<B> {
    context: Arc<Context<B>>,
    max_age: Duration,
    health: Health,
    memory: Memory,
    /// Windows on their way.
    busy: BTreeMap<u64, PendingWindow>,
    work: JoinSet<Done>,
    /// Windows that are through.
    passed: u64,
    /// Set when there was nothing left to do at the last look.
    idle: bool,
}

impl<B: Backend> Shipper<B> {
    pub(super) fn new(
        backend: B,
        source: Arc<dyn Source>,
        shared: Arc<Shared>,
        environment: Environment,
        wake: Arc<Notify>,
        max_age: Duration,
    ) -> Self {
        let in_flight = backend.in_flight().max(1);
        let kept_free = (in_flight / 4).max(1);
        let context = Context {
            pace: Mutex::new(Pace::new(backend.timeout())),
            backend,
            source,
            shared,
            environment,
            delivered: AtomicU64::new(0),
            wake,
            permits: Semaphore::new(in_flight),
            backlog_permits: Semaphore::new(in_flight.saturating_sub(kept_free).max(1)),
        };
        Self {
            context: Arc::new(context),
            max_age,
            health: Health::new(),
            memory: Memory::default(),
            busy: BTreeMap::new(),
            work: JoinSet::new(),
            passed: 0,
            idle: false,
        }
    }

    /// Ships until it is told to stop, and then until all is shipped or the time is up.
    pub(super) async fn run(mut self, mut stop: Stop) {
        let wake = Arc::clone(&self.context.wake);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let next = self.fill().await;
            let end = *stop.borrow_and_update();
            if end.is_some_and(|end| self.is_drained() || Instant::now() >= end) {
                break;
            }
            tokio::select! {
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.finish(done).await,
                    Err(error) => self.complain(format!("a task of the sink ended: {error}")),
                },
                () = wake.notified() => {}
                () = tokio::time::sleep_until(next) => {}
                () = sleep_until_some(end) => {}
                _ = tick.tick() => self.look_around().await,
                // Whoever holds the other end has gone: so do we.
                changed = stop.changed() => if changed.is_err() { break },
            }
            self.health.delivered(self.context.delivered.load(Ordering::Relaxed));
            self.show();
        }
        self.look_around().await;
    }

    fn is_drained(&self) -> bool {
        self.idle && self.busy.is_empty()
    }

    /// Begins as many windows as may be begun; when to look again.
    async fn fill(&mut self) -> Instant {
        let mut too_old = 0;
        loop {
            let now = Instant::now();
            self.health.see_credentials(now, self.context.backend.credentials());
            let next = self.health.next(now);
            if next > now {
                return next;
            }
            let window = match self.choose(now).await {
                Choice::Begin(window) => window,
                Choice::Wait(until) => return until,
            };
            if let Some(settled) = self.memory.get(window.id).and_then(|p| p.settled.clone()) {
                self.settle(window.id, settled).await;
            } else if self.is_too_old(&window) {
                if too_old == TOO_OLD_AT_ONCE {
                    return now;
                }
                too_old += 1;
                self.give_up_for_age(window.id).await;
            } else {
                self.begin(window, now);
            }
        }
    }

    /// The window to begin now: the newest, if there is room for it.
    async fn choose(&mut self, now: Instant) -> Choice {
        let limit = self.busy.len() + self.memory.len() + 1;
        let pending = match ask(&self.context, move |source| source.pending(limit)).await {
            Ok(pending) => pending,
            Err(error) => {
                self.complain(format!("the store cannot be read: {error}"));
                return Choice::Wait(now + TICK);
            }
        };
        self.idle = pending.is_empty();
        if pending.len() < limit {
            self.memory.retain(|id| pending.iter().any(|w| w.id == id));
        }
        let not_before = |w: &PendingWindow| self.memory.get(w.id).and_then(|p| p.not_before);
        let not_busy = pending.iter().filter(|w| !self.busy.contains_key(&w.id));
        let (free, later): (Vec<_>, Vec<_>) =
            not_busy.partition(|w| not_before(w).is_none_or(|due| due <= now));
        let chosen = if self.health.is_failing() {
            // Not the one again that may be to blame, as long as there are others.
            let strikes = |w: &&&PendingWindow| self.memory.get(w.id).map_or(0, |p| p.strikes);
            free.iter().min_by_key(strikes).filter(|_| self.busy.len() < TRIALS)
        } else {
            let room = |w: &&&PendingWindow| BACKLOG + usize::from(!self.is_backlog(w));
            free.first().filter(|w| self.busy.len() < room(w))
        };
        match chosen {
            Some(window) => Choice::Begin(**window),
            None => {
                let soonest = later.into_iter().filter_map(not_before).min();
                Choice::Wait(soonest.unwrap_or(now + TICK).min(now + TICK))
            }
        }
    }

    async fn give_up_for_age(&mut self, id: u64) {
        self.context.shared.update(|status| status.too_old += 1);
        let age = humantime::format_duration(self.max_age);
        self.settle(id, Settled::Refused(format!("it is older than {age}"))).await;
    }

    /// Whether a newer window is on its way.
    fn is_backlog(&self, window: &PendingWindow) -> bool {
        self.busy.values().any(|other| other.start_unix_ns > window.start_unix_ns)
    }

    fn is_too_old(&self, window: &PendingWindow) -> bool {
        let age = (self.context.environment.now)().saturating_sub(window.end_unix_ns);
        u128::from(age) > self.max_age.as_nanos()
    }

    fn begin(&mut self, window: PendingWindow, now: Instant) {
        let job = Job {
            window,
            progress: self.memory.take(window.id),
            patience: self.patience(),
            backlog: self.is_backlog(&window),
        };
        self.health.began(now);
        self.busy.insert(window.id, window);
        self.work.spawn(ship(Arc::clone(&self.context), job));
    }

    /// Of the tries of a backend that fails, each fourth is patient, if others are under way.
    fn patience(&self) -> Patience {
        match self.health.tries() {
            None => Patience::Usual,
            Some(tries) if tries % 4 == 3 && !self.busy.is_empty() => Patience::Whole,
            Some(_) => Patience::Quick,
        }
    }

    async fn finish(&mut self, done: Done) {
        let Done { window, mut progress, end } = done;
        self.busy.remove(&window.id);
        match end {
            End::Delivered => {
                self.passed += 1;
                self.settle(window.id, Settled::Delivered).await;
            }
            End::Refused(reason) => {
                self.complain(format!("a window was refused: {reason}"));
                self.settle(window.id, Settled::Refused(reason)).await;
            }
            End::Gone => self.context.shared.update(|status| status.gone += 1),
            End::Unreadable(error) => {
                self.complain(format!("the store cannot be read: {error}"));
                progress.not_before = Some(Instant::now() + TICK);
                self.memory.keep(window.id, progress);
            }
            End::Failed(failure) => self.fail(window, progress, failure).await,
        }
    }

    async fn fail(&mut self, window: PendingWindow, mut progress: Progress, failure: Failure) {
        let now = Instant::now();
        let delivered = self.context.delivered.load(Ordering::Relaxed);
        if failure.hold {
            self.health.held(now, delivered, self.context.backend.credentials());
        } else {
            self.health.failed(now, delivered, failure.after);
        }
        if failure.sent {
            progress.strike(self.passed);
        }
        self.complain(failure.reason);
        if is_hopeless(&progress) {
            let reason = "it failed again and again, while others passed".to_owned();
            self.settle(window.id, Settled::Refused(reason)).await;
        } else {
            self.context.shared.update(|status| status.retried += 1);
            self.memory.keep(window.id, progress);
        }
    }

    /// Tells the store how a window ended; where it cannot write, again later.
    async fn settle(&mut self, id: u64, settled: Settled) {
        let told = settled.clone();
        let answer = ask(&self.context, move |source| match &told {
            Settled::Delivered => source.delivered(id),
            Settled::Refused(reason) => source.refused(id, reason),
        });
        match answer.await {
            Ok(()) => self.context.shared.update(|status| match settled {
                Settled::Delivered => status.shipped += 1,
                Settled::Refused(_) => status.refused += 1,
            }),
            Err(error) => {
                self.complain(format!("the store cannot be written: {error}"));
                let not_before = Some(Instant::now() + TICK);
                let settled = Some(settled);
                self.memory.keep(id, Progress { settled, not_before, ..Progress::default() });
            }
        }
    }

    /// Looks at the whole backlog, for the gauges, and forgets what is not pending any more.
    async fn look_around(&mut self) {
        let Ok(backlog) = ask(&self.context, |source| source.backlog()).await else { return };
        let now = (self.context.environment.now)();
        self.context.shared.update(|status| {
            status.pending = backlog.windows;
            let age = |end: u64| Duration::from_nanos(now.saturating_sub(end));
            status.oldest_pending = backlog.oldest_end_unix_ns.map(age);
        });
        if backlog.windows == 0 && self.busy.is_empty() {
            self.memory = Memory::default();
        }
    }

    fn show(&self) {
        let failing = self.health.is_failing();
        self.context.shared.update(|status| status.failing = failing);
    }

    fn complain(&self, what: String) {
        self.context.shared.update(|status| status.last_error = Some(what));
    }
}

async fn sleep_until_some(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}
