//! `run`: the agent. It profiles the host around the clock, keeps every window, ships it, and answers.
//!
//! ```text
//! config → pipeline::run → [`recorder`] → store ─→ sinks
//!                                                       └───→ [`answers`] → http
//! ```
//!
//! [`recorder`] takes each window and puts it into the store before it goes anywhere else; [`signals`]
//! says when it is over. The end has an order: the pipeline ends its last window, the store has it,
//! sinks get five seconds, and what listens is closed.

mod answers;
mod endpoint;
mod metrics;
mod recorder;
mod signals;
mod sinks;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

use self::answers::Desk;
use self::endpoint::Endpoint;
use self::metrics::Numbers;
use self::recorder::Recorder;
use self::signals::{Signals, Wish};
use self::sinks::Sinks;
use super::config::ConfigArgs;
use crate::config::Settings;
use crate::config::settings::{Log, LogLevel};
use crate::http::Counts;
use crate::pipeline::{self, Control, Progress, RecordError, WindowDone};
use crate::telemetry::{self, log::Form};

const EXAMPLES: &str = "\
Examples:
  profiler-agent run --config /etc/profiler-agent.toml
  profiler-agent run --set store.path=/tmp/store --set http.socket=/tmp/agent.sock";

/// Windows that wait for a slow disk, at most: ten minutes of ten seconds each.
const WAITING: usize = 60;

/// So long sinks have to ship the last windows when the agent ends.
const GRACE: Duration = Duration::from_secs(5);

/// Profile the host around the clock: keep every window, ship it, and answer questions
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the agent until it is told to end.
///
/// # Errors
/// For the user: what cannot be done, and the way out.
pub fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    log_as(&config.settings.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("threads cannot be started; raise the limit of processes (ulimit -u)")?;
    let ended = runtime.block_on(Agent::run(config.settings));
    // What still blocks is of no use any more.
    runtime.shutdown_background();
    ended
}

/// Logs as the settings say.
fn log_as(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    telemetry::log::change(if log.json { Form::Json } else { Form::Text }, level);
}

/// The agent at work.
struct Agent {
    recorder: Arc<Recorder>,
    sinks: Arc<Sinks>,
    pipeline: JoinHandle<Result<(), RecordError>>,
    writer: JoinHandle<()>,
    stop: watch::Sender<bool>,
    progress: watch::Receiver<Progress>,
    endpoint: Option<Endpoint>,
}

impl Agent {
    async fn run(settings: Settings) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::take()?;
        let mut agent = Self::start(&settings).await?;
        let ended = agent.watch(&mut signals).await;
        let stopped = tokio::select! {
            stopped = agent.stop(ended.is_none()) => stopped,
            code = signals.again() => std::process::exit(code),
        };
        match ended {
            Some(ended) => ended.map(|()| ExitCode::SUCCESS),
            None => stopped.map(|()| ExitCode::SUCCESS),
        }
    }

    /// Opens what can be refused, and starts the pipeline.
    async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let line = settings.line();
        let recorder = Arc::new(Recorder::open(settings)?);
        let sinks = Arc::new(Sinks::start(settings, &recorder)?);
        let (stop, stopped) = watch::channel(false);
        let (shown, progress) = watch::channel(Progress::default());
        let (mut control, handle) = Control::new(stopped, shown);
        let counts = Arc::<Counts>::default();
        let numbers = Arc::new(Numbers {
            agent: telemetry::Agent::default(),
            recorder: Arc::clone(&recorder),
            sinks: Arc::clone(&sinks),
            http: Arc::clone(&counts),
            progress: progress.clone(),
        });
        numbers.expect(settings);
        let desk = Desk { recorder: Arc::clone(&recorder), handle, numbers: Arc::clone(&numbers) };
        let endpoint = Endpoint::open(&settings.http, Arc::new(desk), counts).await?;
        let (to_writer, windows) = sync_channel(WAITING);
        let writer = tokio::task::spawn_blocking({
            let (recorder, numbers) = (Arc::clone(&recorder), Arc::clone(&numbers));
            move || write(&recorder, &numbers, windows)
        });
        let pipeline = tokio::task::spawn_blocking(move || {
            pipeline::run(&line, &mut control, |window| {
                if to_writer.try_send(window).is_err() {
                    numbers.window_lost();
                }
            })
        });
        Ok(Self { recorder, sinks, pipeline, writer, stop, progress, endpoint: Some(endpoint) })
    }

    /// Waits until it is over: `None` where it was told to end, else how the pipeline ended.
    async fn watch(&mut self, signals: &mut Signals) -> Option<anyhow::Result<()>> {
        let mut tick = tokio::time::interval(recorder::TEND);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ready = false;
        let mut newest = self.recorder.newest();
        loop {
            tokio::select! {
                ended = &mut self.pipeline => return Some(flat(ended)),
                wish = signals.next() => match wish {
                    Wish::End => return None,
                },
                _ = tick.tick() => {
                    self.recorder.tend();
                    telemetry::log::tell_repeats();
                }
                _ = newest.changed() => self.sinks.wake(),
                attached = self.progress.wait_for(|p| p.attached), if !ready => {
                    // Where it never is, the pipeline tells why.
                    ready = attached.is_ok();
                    if ready {
                        tracing::info!("the agent profiles this host");
                    }
                }
            }
        }
    }

    /// Ends everything, in its order.
    async fn stop(&mut self, pipeline_runs: bool) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let ended = if pipeline_runs { flat((&mut self.pipeline).await) } else { Ok(()) };
        if timeout(GRACE, &mut self.writer).await.is_err() {
            tracing::error!("the disk does not answer: the last windows are not on it");
        }
        self.sinks.wake();
        self.sinks.stop(GRACE).await;
        if let Some(endpoint) = self.endpoint.take() {
            endpoint.close().await;
        }
        self.recorder.log_end();
        ended
    }
}

/// Puts windows into the store, in their order, until there are no more.
fn write(recorder: &Recorder, numbers: &Numbers, windows: Receiver<WindowDone>) {
    for window in windows {
        recorder.take(&window);
        numbers.window(&window);
    }
}

/// How the pipeline ended, for the user.
fn flat(ended: Result<Result<(), RecordError>, tokio::task::JoinError>) -> anyhow::Result<()> {
    match ended {
        Ok(ended) => Ok(ended?),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(error.into()),
        },
    }
}
