//! Takes each window as it is finished, and puts it into the store before it goes anywhere else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Settings;
use crate::pipeline::WindowDone;
use crate::store::Store;

/// A disk that failed is tried again so often.
pub(super) const TEND: Duration = Duration::from_secs(5);

/// The flight recorder at work.
#[derive(Debug)]
pub(super) struct Recorder {
    store: Store,
    /// Windows taken, and the end of the newest (Unix time, ns).
    newest: watch::Sender<(u64, u64)>,
    samples: AtomicU64,
}

impl Recorder {
    /// Opens the store.
    ///
    /// # Errors
    /// What no waiting mends: another agent has it, or its path is unfit.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let store = match settings.store() {
            Some(config) => {
                let (store, opening) = Store::open(&config)?;
                let windows = opening.windows;
                tracing::info!(path = %config.path.display(), windows, "the flight recorder is open");
                store
            }
            None => Store::in_memory(&names(settings)),
        };
        Ok(Self { store, newest: watch::Sender::new((0, 0)), samples: AtomicU64::new(0) })
    }

    /// Keeps a window. When this returns, it is on the disk, or the disk fails. Blocks for it.
    pub(super) fn take(&self, window: &WindowDone) {
        self.store.put(&window.finished);
        self.samples.fetch_add(window.samples, Ordering::Relaxed);
        let end = window.finished.end_unix_ns();
        self.newest.send_modify(|(windows, newest)| {
            *windows += 1;
            *newest = end;
        });
    }

    /// Keeps as much as these settings say from now on.
    ///
    /// # Errors
    /// Where that is too little.
    pub(super) fn set_limits(&self, settings: &Settings) -> anyhow::Result<()> {
        Ok(self.store.set_limits(settings.store.size, settings.store.age)?)
    }

    /// Keeps windows for the sinks of these settings from now on. Blocks for the disk.
    pub(super) fn set_sinks(&self, settings: &Settings) {
        self.store.set_sinks(&names(settings));
    }

    /// The store.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How many windows were taken, and when the newest ended (Unix time, ns); it tells of changes.
    pub(super) fn newest(&self) -> watch::Receiver<(u64, u64)> {
        self.newest.subscribe()
    }

    /// Tries again what the disk refused.
    pub(super) fn tend(self: &std::sync::Arc<Self>) {
        let recorder = std::sync::Arc::clone(self);
        tokio::task::spawn_blocking(move || recorder.store.tend());
    }

    /// Says what became of the windows.
    pub(super) fn log_end(&self) {
        let (windows, _) = *self.newest.borrow();
        let samples = self.samples.load(Ordering::Relaxed);
        tracing::info!(windows, samples, "the agent ends");
    }
}

fn names(settings: &Settings) -> Vec<String> {
    settings.sinks.iter().map(|sink| sink.name.clone()).collect()
}
