//! The preparation line's threads: one that keeps the kernel's tables to what processes map, and goes on
//! with stacks that had to wait for them; and those that read the binaries for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use super::heat::Touched;
use super::inbox::Inbox;
use super::reading::{Queue, Reader};
use super::{Config, shares};
use crate::kernel::system::run_soon;
use crate::model::losses::Losses;
use crate::model::space::{Finished, SpaceChange, Unfinished};
use crate::model::tables::KernelTables;
use crate::runtime::native::keeper::Keeper;
use crate::runtime::native::{Cache, CacheCounts};

/// So long the end of a recording waits for the stacks that wait for tables.
const LAST_STACKS: Duration = Duration::from_secs(1);

/// How often it is looked at what there is.
const LOOK: Duration = Duration::from_secs(5);

/// What the collector and the threads share.
#[derive(Debug)]
pub struct Desk {
    begun: Instant,
    tables_bytes: u64,
    inbox: Inbox,
    queue: Queue,
    /// The directory of the cache cannot be used.
    cache_refused: bool,
    finished: Mutex<Vec<Finished>>,
    /// What was turned away so far.
    losses: Mutex<Losses>,
    /// What there was when it was last looked, and when that was.
    unwinding: Mutex<(Unwinding, Instant)>,
    /// All that was offered is in the kernel's tables.
    settled: Mutex<bool>,
    has_settled: Condvar,
}

/// What the line holds, for whoever watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwinding {
    /// Tables in the kernel's memory.
    pub tables: u64,
    /// What the kernel has given for them and for lists of mappings, bytes.
    pub kernel_bytes: u64,
    /// Processes that have a list.
    pub processes: u64,
    /// Tables that the cache on disk had.
    pub from_disk: u64,
    /// Tables that were made.
    pub made: u64,
}

/// The collector's hand on the line. Dropping it ends the threads.
pub struct Preparer<'scope> {
    desk: &'scope Desk,
    keeper: Option<ScopedJoinHandle<'scope, Losses>>,
}

impl Desk {
    /// With the budgets of this recording, its cache of tables, and where it looks for debug files.
    pub fn new(config: &Config) -> Self {
        let memory = shares::reading(config.unwind_memory);
        let whole = config.budget.map(|budget| budget.memory);
        let (cache, cache_refused) = match config.unwind_cache.clone().map(Cache::open) {
            None => (None, false),
            Some(Ok(cache)) => (Some(cache), false),
            Some(Err(error)) => {
                tracing::warn!("unwind tables are not kept on disk: {error}");
                (None, true)
            }
        };
        Self {
            begun: Instant::now(),
            tables_bytes: shares::tables(config.unwind_memory, whole),
            inbox: Inbox::default(),
            queue: Queue::new(memory, cache, &config.symbolize.debug_dirs),
            cache_refused,
            finished: Mutex::default(),
            losses: Mutex::default(),
            unwinding: Mutex::new((Unwinding::default(), Instant::now())),
            settled: Mutex::new(false),
            has_settled: Condvar::new(),
        }
    }

    /// What the readers, the cache and the keeper have turned away.
    fn losses(&self, kept: &Losses) -> Losses {
        let CacheCounts { refused, evicted, .. } = self.queue.cached();
        let mut losses = kept.clone();
        losses.add("unwind_tables_failed", self.queue.failed());
        losses.add("unwind_tables_not_read_budget", self.queue.too_large());
        losses.add("unwind_debug_files_failed", self.queue.debug_failed());
        losses.add("unwind_cache_refused", refused + u64::from(self.cache_refused));
        losses.add("unwind_cache_evicted", evicted);
        losses
    }

    /// What the line holds, some seconds ago at most.
    pub fn unwinding(&self) -> Unwinding {
        lock(&self.unwinding).0
    }

    /// Looks at what the keeper holds, now and then: processes are asked of the kernel one by one.
    fn look<K: KernelTables>(&self, keeper: &mut Keeper<K>, now: Instant) {
        let mut unwinding = lock(&self.unwinding);
        let (was, at) = *unwinding;
        if was != Unwinding::default() && now.saturating_duration_since(at) < LOOK {
            return;
        }
        let held = keeper.held(now);
        let CacheCounts { hits, misses, .. } = self.queue.cached();
        let new = Unwinding {
            tables: held.tables as u64,
            kernel_bytes: held.room.mapped,
            processes: held.processes as u64,
            from_disk: hits,
            made: misses,
        };
        *unwinding = (new, now);
    }

    fn settle(&self, settled: bool) {
        *lock(&self.settled) = settled;
        self.has_settled.notify_all();
    }
}

impl<'scope> Preparer<'scope> {
    /// Begins to keep these tables.
    ///
    /// # Errors
    /// Where the system has no more threads.
    pub fn start<'env, K: KernelTables + Send + 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        desk: &'scope Desk,
        tables: K,
    ) -> std::io::Result<Self> {
        let mut preparer = Self { desk, keeper: None };
        let Desk { inbox, queue, .. } = desk;
        for (name, reader) in [("read-small", Reader::Small), ("read-any", Reader::Any)] {
            Builder::new().name(name.to_owned()).spawn_scoped(scope, move || {
                queue.serve(reader, inbox);
            })?;
        }
        let keep = move || keep(Keeper::new(tables, desk.tables_bytes), desk);
        preparer.keeper =
            Some(Builder::new().name("prepare".to_owned()).spawn_scoped(scope, keep)?);
        Ok(preparer)
    }

    /// Offers changes: what cannot be taken now comes back.
    pub fn offer(&self, changes: Vec<SpaceChange>) -> Result<(), Vec<SpaceChange>> {
        self.desk.settle(false);
        self.desk.inbox.offer(changes)
    }

    /// Hands over a stack that waits for tables; where too many wait, it comes back.
    pub fn ask(&self, stack: Unfinished) -> Result<(), Unfinished> {
        self.desk.inbox.ask(stack)
    }

    /// Tells through which binaries stacks led.
    pub fn tell(&self, touched: Touched) {
        self.desk.inbox.tell(touched);
    }

    /// Stacks whose walk has come to an end since this was last asked.
    pub fn take_finished(&self) -> Vec<Finished> {
        std::mem::take(&mut *lock(&self.desk.finished))
    }

    /// What was turned away so far, a second ago at most.
    pub fn losses(&self) -> Losses {
        lock(&self.desk.losses).clone()
    }

    /// Waits until all that was offered is in the kernel's tables, but not longer than so.
    pub fn wait_until_settled(&self, patience: Duration) {
        let open = |settled: &mut bool| !*settled;
        let waited =
            self.desk.has_settled.wait_timeout_while(lock(&self.desk.settled), patience, open);
        drop(waited);
    }

    /// Ends the line; what it turned away, and the last stacks.
    pub fn finish(&mut self) -> (Losses, Vec<Finished>) {
        self.desk.inbox.close();
        let losses = match self.keeper.take().map(ScopedJoinHandle::join) {
            Some(Ok(losses)) => losses,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Losses::default(),
        };
        (losses, self.take_finished())
    }

    fn close(&self) {
        self.desk.inbox.close();
        self.desk.queue.close();
    }
}

impl Drop for Preparer<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The keeper's thread, until the inbox is closed.
fn keep<K: KernelTables>(mut keeper: Keeper<K>, desk: &Desk) -> Losses {
    run_soon();
    let mut end: Option<Instant> = None;
    let (mut was_told, mut is_ready) = (false, false);
    loop {
        let mail = desk.inbox.take(keeper.patience(), end.is_some());
        let now = Instant::now();
        was_told |= !mail.changes.is_empty();
        mail.changes.into_iter().for_each(|change| keeper.apply(change, now));
        let tables = mail.loaded.len();
        for loaded in mail.loaded {
            keeper.loaded(loaded.table, loaded.parts, now);
        }
        desk.inbox.placed(tables);
        keeper.warm(&mail.touched);
        mail.stacks.into_iter().for_each(|stack| keeper.hold(stack, now));
        keeper.settle(now);
        desk.queue.push(keeper.take_jobs());
        lock(&desk.finished).extend(keeper.take_finished());
        *lock(&desk.losses) = desk.losses(keeper.losses());
        desk.look(&mut keeper, now);
        if !keeper.is_waiting() {
            desk.settle(true);
            if was_told && !std::mem::replace(&mut is_ready, true) {
                let after_ms = desk.begun.elapsed().as_millis() as u64;
                tracing::info!(after_ms, "unwind tables of all processes are there");
            }
        }
        if mail.over {
            let end = *end.get_or_insert(now + LAST_STACKS);
            if !keeper.has_stacks() || end <= now {
                break;
            }
        }
    }
    desk.queue.close();
    let held = keeper.held(Instant::now());
    let CacheCounts { hits, misses, .. } = desk.queue.cached();
    tracing::info!(
        tables = held.tables,
        table_bytes = held.table_bytes,
        processes = held.processes,
        list_bytes = held.room.used.saturating_sub(held.table_bytes),
        mapped_bytes = held.room.mapped,
        own_bytes = held.own_bytes,
        from_disk = hits,
        made = misses,
        "unwind tables"
    );
    desk.losses(keeper.losses())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
