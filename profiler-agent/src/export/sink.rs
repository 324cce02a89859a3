//! A sink at work: its task, and the handle to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backend::Backend;
use super::config::{SinkConfig, SinkKind};
use super::environment::Environment;
use super::files::Directory;
use super::labels::Labels;
use super::otlp::Otlp;
use super::parca::Parca;
use super::pyroscope::Pyroscope;
use super::shipper::Shipper;
use super::source::Source;
use super::status::{Shared, Status};

/// Why a sink cannot be made of its configuration.
#[derive(Debug, thiserror::Error)]
#[error("sink {name}: {reason}")]
pub struct SinkError {
    /// Name of the sink.
    pub name: String,
    /// What is wrong, and with which key.
    pub reason: String,
}

/// A sink at work. Its task ends when this is dropped.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    wake: Arc<Notify>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

impl Sink {
    /// Starts a sink, in the runtime that this is called in. Nothing is connected yet: a backend that
    /// is away is no error.
    ///
    /// # Errors
    /// Where the configuration makes no sense: an address that is none, a label that has no value.
    /// Files that it names are read later, and again and again.
    pub fn start(
        config: &SinkConfig,
        source: impl Source,
        environment: &Environment,
    ) -> Result<Self, SinkError> {
        let start = Start { config, source: Arc::new(source), environment };
        let failed = |reason| SinkError { name: config.name.clone(), reason };
        let labels = || Labels::new(&config.labels, &environment.host);
        match &config.kind {
            SinkKind::Files(files) => Ok(start.with(Directory::new(files.clone()))),
            SinkKind::Pyroscope(remote) => {
                let backend = labels().and_then(|l| Pyroscope::new(remote, l, environment));
                Ok(start.with(backend.map_err(failed)?))
            }
            SinkKind::Parca(remote) => {
                let backend = labels().and_then(|l| Parca::new(remote, l, environment));
                Ok(start.with(backend.map_err(failed)?))
            }
            SinkKind::Otlp(remote) => {
                let backend = Otlp::new(remote, &config.labels, environment);
                Ok(start.with(backend.map_err(failed)?))
            }
        }
    }

    /// There is a new window. (A sink that is not called looks once a second.)
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// How it does.
    pub fn status(&self) -> Status {
        self.shared.read()
    }

    /// Ships what is pending, for so long at most, and ends.
    pub async fn stop(self, grace: Duration) -> Status {
        // A task that has ended already is as good.
        let _ = self.stop.send(Some(Instant::now() + grace));
        let _ = self.task.await;
        self.shared.read()
    }
}

/// What a sink is started with.
struct Start<'a> {
    config: &'a SinkConfig,
    source: Arc<dyn Source>,
    environment: &'a Environment,
}

impl Start<'_> {
    fn with(self, backend: impl Backend) -> Sink {
        let shared = Arc::new(Shared::new(&self.config.name, self.config.kind.name()));
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(None);
        let shipper = Shipper::new(
            backend,
            self.source,
            Arc::clone(&shared),
            self.environment.clone(),
            Arc::clone(&wake),
            self.config.max_age,
        );
        let task = tokio::spawn(shipper.run(stopped));
        Sink { shared, wake, stop, task }
    }
}
