//! The sinks at work: each takes windows from the store by a view of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::recorder::Recorder;
use crate::config::Settings;
use crate::export::{
    Backlog, Environment, PendingWindow, Sink, SinkConfig, Source, SourceError, Status,
};

/// So much longer than its time a sink may take to end.
const MARGIN: Duration = Duration::from_millis(200);

/// All sinks that are configured.
pub(super) struct Sinks {
    environment: Environment,
    running: Mutex<Vec<(SinkConfig, Sink)>>,
}

impl Sinks {
    /// Starts those of the settings.
    ///
    /// # Errors
    /// Where a sink's configuration makes no sense; the text names it.
    pub(super) fn start(settings: &Settings, recorder: &Arc<Recorder>) -> anyhow::Result<Self> {
        let environment = Environment::new(crate::kernel::system::hostname()?);
        let sinks = Self { environment, running: Mutex::default() };
        for config in &settings.sinks {
            let sink = sinks.make(config, recorder)?;
            sinks.lock().push((config.clone(), sink));
        }
        Ok(sinks)
    }

    /// There is a new window.
    pub(super) fn wake(&self) {
        self.lock().iter().for_each(|(_, sink)| sink.wake());
    }

    /// How each does.
    pub(super) fn statuses(&self) -> Vec<Status> {
        self.lock().iter().map(|(_, sink)| sink.status()).collect()
    }

    /// Goes on with those of other settings: one whose configuration is the same is left alone.
    ///
    /// # Errors
    /// Where a new one makes no sense: then nothing was changed.
    pub(super) fn change(
        &self,
        settings: &Settings,
        recorder: &Arc<Recorder>,
        grace: Duration,
    ) -> anyhow::Result<()> {
        let wanted = &settings.sinks;
        let is_known = |config: &SinkConfig| self.lock().iter().any(|(known, _)| known == config);
        let new: Vec<SinkConfig> =
            wanted.iter().filter(|config| !is_known(config)).cloned().collect();
        let made = new.into_iter().map(|config| {
            let sink = self.make(&config, recorder)?;
            Ok((config, sink))
        });
        let made = made.collect::<anyhow::Result<Vec<_>>>()?;
        let mut running = self.lock();
        let before = std::mem::take(&mut *running);
        let (kept, gone): (Vec<_>, Vec<_>) =
            before.into_iter().partition(|(config, _)| wanted.contains(config));
        running.extend(kept);
        running.extend(made);
        for (_, sink) in gone {
            tokio::spawn(sink.stop(grace));
        }
        Ok(())
    }

    /// Lets all of them ship what is pending, for so long at most, and ends them.
    pub(super) async fn stop(&self, grace: Duration) {
        let running = std::mem::take(&mut *self.lock());
        let ending = running.into_iter().map(|(_, sink)| tokio::spawn(sink.stop(grace)));
        let ending: Vec<_> = ending.collect();
        // Sinks keep to it by themselves, unless the store does not answer them.
        let end = Instant::now() + grace + MARGIN;
        for sink in ending {
            if let Ok(Ok(status)) = timeout_at(end, sink).await {
                let Status { name, shipped, pending, .. } = status;
                tracing::info!(sink = name, shipped, pending, "a sink ends");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(SinkConfig, Sink)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, config: &SinkConfig, recorder: &Arc<Recorder>) -> anyhow::Result<Sink> {
        let view = View { recorder: Arc::clone(recorder), sink: config.name.clone() };
        Ok(Sink::start(config, view, &self.environment)?)
    }
}

/// The store as one sink sees it.
struct View {
    recorder: Arc<Recorder>,
    sink: String,
}

impl Source for View {
    fn pending(&self, limit: usize) -> Result<Vec<PendingWindow>, SourceError> {
        let pending = self.recorder.store().pending(&self.sink, limit);
        let window = |info: &crate::store::Info| PendingWindow {
            id: info.id,
            start_unix_ns: info.start_unix_ns,
            end_unix_ns: info.end_unix_ns(),
        };
        Ok(pending.iter().map(window).collect())
    }

    fn backlog(&self) -> Result<Backlog, SourceError> {
        let status = self.recorder.store().status();
        let Some(sink) = status.sinks.get(&self.sink) else { return Ok(Backlog::default()) };
        Ok(Backlog { windows: sink.pending, oldest_end_unix_ns: sink.oldest_pending_end_unix_ns })
    }

    fn window(&self, id: u64) -> Result<Option<crate::model::finished::Finished>, SourceError> {
        Ok(self.recorder.store().window(id)?)
    }

    fn delivered(&self, id: u64) -> Result<(), SourceError> {
        self.recorder.store().delivered(&self.sink, id);
        Ok(())
    }

    fn refused(&self, id: u64, reason: &str) -> Result<(), SourceError> {
        tracing::warn!(sink = self.sink, window = id, reason, "a window is not shipped");
        self.recorder.store().refused(&self.sink, id);
        Ok(())
    }
}
