//! What a recording is told while it runs.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::Progress;
use super::burst::{BurstRefused, BurstWish};
use super::governor::Budget;
use crate::kernel::control::Processes;
use crate::model::rates::Rates;
use crate::process::service::Rules;

/// A wish. Whoever asked for a cut is told when the window after it begins (Unix time, ns).
#[derive(Debug)]
pub(super) enum Command {
    /// End the window now, and begin the next.
    Cut(oneshot::Sender<u64>),
    /// More samples for a while.
    Burst(BurstWish, oneshot::Sender<Result<(u32, Duration), BurstRefused>>),
    /// Record this much, of these processes, within this budget, from now on.
    Configure(Box<Recorded>, oneshot::Sender<Result<(), String>>),
    /// Name services so from now on.
    Services(Services),
}

/// How services are named, and which are not wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// What names them.
    pub rules: Rules,
    /// Patterns of the names of services that are left out.
    pub excluded: Vec<String>,
}

/// What of a recording can be configured while it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// How much.
    pub rates: Rates,
    /// Of which processes, as far as their number says.
    pub processes: Processes,
    /// What the agent may take.
    pub budget: Option<Budget>,
}

/// The recording's end: what it obeys, and where it tells how it does.
#[derive(Debug)]
pub struct Control {
    pub(super) stop: watch::Receiver<bool>,
    pub(super) commands: Receiver<Command>,
    pub(super) progress: watch::Sender<Progress>,
}

/// The other end, for as many as have a wish.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: Sender<Command>,
}

/// The recording has ended: nobody obeys any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording has ended")]
pub struct Ended;

impl Control {
    /// Both ends. The recording ends when `stop` becomes true.
    pub fn new(stop: watch::Receiver<bool>, progress: watch::Sender<Progress>) -> (Self, Handle) {
        let (sender, commands) = channel();
        (Self { stop, commands, progress }, Handle { commands: sender })
    }
}

impl Handle {
    /// Ends the running window about now, so that what follows is a window of its own. Answers when the
    /// next one begins (Unix time, ns), before this one is handed over. Several that ask at once share one end.
    ///
    /// # Errors
    /// Where the recording has ended.
    pub async fn cut(&self) -> Result<u64, Ended> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Cut(answer))?;
        answered.await.map_err(|_| Ended)
    }

    /// More samples for a while, by itself over. Answers how many there are a second and CPU, and for how
    /// long from now: a burst that is on already is extended.
    ///
    /// # Errors
    /// Where that cannot be sampled; the text says why.
    pub async fn burst(&self, wish: BurstWish) -> Result<(u32, Duration), BurstRefused> {
        let (answer, answered) = oneshot::channel();
        let ended = |_| BurstRefused::Kernel(Ended.to_string());
        self.send(Command::Burst(wish, answer)).map_err(ended)?;
        answered.await.map_err(|_| ended(Ended))?
    }

    /// Records this much from now on. Windows, stacks and threads stay as they are.
    ///
    /// # Errors
    /// Where the kernel refuses; the text says why.
    pub async fn configure(&self, recorded: Recorded) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let ended = |_| Ended.to_string();
        self.send(Command::Configure(Box::new(recorded), answer)).map_err(ended)?;
        answered.await.map_err(|_| ended(Ended))?
    }

    /// Names services otherwise, for what is sampled from now on.
    ///
    /// # Errors
    /// Where the recording has ended.
    pub fn name_services(&self, services: Services) -> Result<(), Ended> {
        self.send(Command::Services(services))
    }

    fn send(&self, command: Command) -> Result<(), Ended> {
        self.commands.send(command).map_err(|_| Ended)
    }
}
