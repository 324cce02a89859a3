//! `run`: the agent. It profiles the host around the clock, keeps every window, ships it, and answers.
//!
//! ```text
//! config → pipeline::run → [`recorder`] → store ─→ sinks
//!                                                       └───→ [`answers`] → http
//! ```
//!
//! [`recorder`] takes each window and puts it into the store before it goes anywhere else; [`signals`]
//! says when it is over. The end has an order and takes ten seconds at most: the pipeline ends its last
//! window, the store has it, sinks get five seconds, and what listens is closed.

mod answers;
mod endpoint;
mod metrics;
mod notify;
mod recorder;
mod reload;
mod signals;
mod sinks;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use self::answers::Desk;
use self::endpoint::Endpoint;
use self::metrics::Numbers;
use self::notify::Notifier;
use self::recorder::Recorder;
use self::reload::{Reload, Stages};
use self::signals::{Signals, Wish};
use self::sinks::Sinks;
use super::config::ConfigArgs;
use crate::config::Settings;
use crate::http::Counts;
use crate::kernel::session::Session;
use crate::pipeline::{self, BurstWish, Control, Handle, Progress, RecordError, WindowDone};
use crate::telemetry;

const EXAMPLES: &str = "\
Examples:
  profiler-agent run --config /etc/profiler-agent.toml
  profiler-agent run --set store.path=/tmp/store --set http.socket=/tmp/agent.sock";

/// A thread that has had nothing to block for this long ends. With the usual ten seconds, all that were ever needed
/// at once would stay: there is something to do each few seconds, and they take turns.
const IDLE: Duration = Duration::from_secs(2);

/// Windows that wait for a slow disk, at most: ten minutes of ten seconds each.
const WAITING: usize = 60;

/// So long sinks have to ship the last windows when the agent ends.
const GRACE: Duration = Duration::from_secs(5);

/// So long the whole end may take. What is left of it beside [`GRACE`] is the last window's.
const ENDING: Duration = Duration::from_secs(10);

/// So long one waits for what the pipeline has to say, when its last window is in the store.
const LAST_WORD: Duration = Duration::from_millis(500);

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
    let (form, level) = config.settings.log_form();
    telemetry::log::change(form, level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_keep_alive(IDLE)
        .thread_name("serve")
        .enable_all()
        .build()
        .context("threads cannot be started; raise the limit of processes (ulimit -u)")?;
    let ended = runtime.block_on(Agent::run(args.config.clone(), config.settings));
    // What still blocks is of no use any more.
    runtime.shutdown_background();
    ended
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
    handle: Handle,
    numbers: Arc<Numbers>,
    /// What a burst is when nobody says.
    burst: watch::Sender<BurstWish>,
    reload: Reload,
    notifier: Notifier,
}

impl Agent {
    async fn run(config: ConfigArgs, settings: Settings) -> anyhow::Result<ExitCode> {
        let mut signals = Signals::take()?;
        let mut agent = Self::start(config, settings).await?;
        let ended = agent.watch(&mut signals).await;
        agent.notifier.stopping();
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
    async fn start(args: ConfigArgs, settings: Settings) -> anyhow::Result<Self> {
        // First: whoever lacks the right to profile lacks others too, and this is what to tell.
        Session::check(&settings.plan())?;
        let in_force = settings.clone();
        let settings = &settings;
        let line = settings.line();
        let notifier = Notifier::new(settings.window_length);
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
        let (burst, as_configured) = watch::channel(settings.default_burst());
        let desk = Desk {
            recorder: Arc::clone(&recorder),
            handle: handle.clone(),
            numbers: Arc::clone(&numbers),
            burst: as_configured,
        };
        let endpoint = Endpoint::open(&settings.http, Arc::new(desk), counts).await?;
        let (to_writer, windows) = sync_channel(WAITING);
        let writer = tokio::task::spawn_blocking({
            let (recorder, numbers) = (Arc::clone(&recorder), Arc::clone(&numbers));
            move || write(&recorder, &numbers, windows)
        });
        let pipeline = tokio::task::spawn_blocking({
            let numbers = Arc::clone(&numbers);
            move || {
                pipeline::run(&line, &mut control, |window| {
                    if let Err(TrySendError::Full(window) | TrySendError::Disconnected(window)) =
                        to_writer.try_send(window)
                    {
                        numbers.window_lost(&window);
                    }
                })
            }
        });
        Ok(Self {
            recorder,
            sinks,
            pipeline,
            writer,
            stop,
            progress,
            endpoint: Some(endpoint),
            handle,
            numbers,
            burst,
            reload: Reload::new(args, in_force),
            notifier,
        })
    }

    /// Waits until it is over: `None` where it was told to end, else how the pipeline ended.
    async fn watch(&mut self, signals: &mut Signals) -> Option<anyhow::Result<()>> {
        let mut tick = tokio::time::interval(recorder::TEND);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = tokio::time::interval(self.notifier.interval());
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut attaching = self.progress.clone();
        let mut ready = false;
        let mut newest = self.recorder.newest();
        loop {
            tokio::select! {
                ended = &mut self.pipeline => return Some(flat(ended)),
                wish = signals.next() => match wish {
                    Wish::End => return None,
                    Wish::Reload => self.reload().await,
                    Wish::Burst => self.burst().await,
                },
                _ = beat.tick() => {
                    let (windows, _) = *self.recorder.newest().borrow();
                    let rounds = self.progress.borrow().rounds;
                    self.notifier.beat(rounds, windows);
                }
                _ = tick.tick() => {
                    self.recorder.tend();
                    telemetry::log::tell_repeats();
                }
                _ = newest.changed() => self.sinks.wake(),
                attached = attaching.wait_for(|p| p.attached), if !ready => {
                    // Where it never is, the pipeline tells why.
                    ready = attached.is_ok();
                    if ready {
                        tracing::info!("the agent profiles this host");
                        self.notifier.ready();
                    }
                }
            }
        }
    }

    /// Reads the configuration again.
    async fn reload(&mut self) {
        let Self { handle, recorder, sinks, burst, reload, notifier, .. } = self;
        notifier.reloading();
        let stages = Stages { handle, recorder, sinks, burst, grace: GRACE };
        let taken = reload.reload(&stages).await;
        self.numbers.reloaded(taken);
        notifier.ready();
    }

    /// Samples faster for a while, as configured.
    async fn burst(&self) {
        let wish = self.burst.borrow().clone();
        if let Err(error) = self.handle.burst(wish).await {
            tracing::error!("no burst: {error}");
        }
    }

    /// Ends everything, in its order and in [`ENDING`].
    async fn stop(&mut self, pipeline_runs: bool) -> anyhow::Result<()> {
        let end = Instant::now() + ENDING;
        self.stop.send_replace(true);
        // The writer is the line's last stage: when it is through, the last window is in the store, and
        // what the stages before it may still be at is of no use any more.
        let mut stored = timeout_at(end - GRACE, &mut self.writer).await.is_ok();
        self.sinks.wake();
        let endpoint = self.endpoint.take();
        let closing = async {
            if let Some(endpoint) = endpoint {
                endpoint.close().await;
            }
        };
        tokio::join!(self.sinks.stop(GRACE), closing);
        stored = stored || timeout_at(end, &mut self.writer).await.is_ok();
        if !stored {
            tracing::error!("the last windows are not on the disk: it does not answer in time");
        }
        self.recorder.log_end();
        if !pipeline_runs {
            return Ok(());
        }
        // Where it is not through, its threads end with the process.
        timeout(LAST_WORD, &mut self.pipeline).await.map_or(Ok(()), flat)
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
