//! `record`: one window, as long as the recording.

use std::time::Duration;

use super::collector::{Cutting, Outlet, collect};
use super::control::Control;
use super::line::Closed;
use super::namer::{Named, Naming, offers};
use super::preparer::Desk;
use super::{Config, RecordError, join, spawn};
use crate::kernel::session::Facts;
use crate::model::losses::Losses;
use crate::model::names::Names;
use crate::profile::{Meta, Window};

/// A finished recording, or a finished window of one, not yet written in any format.
#[derive(Debug)]
pub struct Recording {
    /// What was counted.
    pub window: Window,
    /// What the frames are called.
    pub names: Names,
    /// How it was taken.
    pub facts: Facts,
    /// Processes that at least one stack belongs to.
    pub processes: usize,
    /// When it began (Unix time, ns).
    pub start_unix_ns: u64,
    /// How long it took.
    pub duration: Duration,
    /// Everything that was turned away.
    pub losses: Losses,
    /// One line each: what works less well than it could, and why.
    pub problems: Vec<String>,
}

impl Recording {
    /// A window with its names.
    pub(super) fn new(closed: Closed, named: Named) -> Self {
        let mut problems = closed.notes;
        problems.extend(named.problems);
        Self {
            names: named.names,
            problems,
            processes: closed.processes,
            start_unix_ns: closed.span.start_unix_ns,
            duration: closed.span.duration(),
            window: closed.window,
            facts: closed.facts,
            losses: closed.losses,
        }
    }

    /// What a profile says of it; `scope` is what was asked for.
    pub fn meta(&self, scope: String) -> Meta {
        let facts = &self.facts;
        Meta {
            kind: facts.event,
            time_nanos: self.start_unix_ns,
            duration_nanos: u64::try_from(self.duration.as_nanos()).unwrap_or(u64::MAX),
            period_ns: facts.period_ns,
            frequency: facts.frequency,
            clock: facts.clock.to_owned(),
            min_block_ns: facts.min_block_ns,
            host: facts.hostname.clone(),
            kernel: facts.kernel_release.clone(),
            arch: facts.arch.to_owned(),
            scope,
            executable: None,
            losses: self.losses.clone(),
            notes: self.problems.clone(),
        }
    }
}

/// Records until the duration is over or the control says stop. Blocks its thread.
///
/// # Errors
/// Where the kernel refuses something; the text names the way out.
pub fn record(config: &Config, control: &mut Control) -> Result<Recording, RecordError> {
    let desk = Desk::new(config);
    let naming = Naming::default();
    let mut last = Last(None);
    std::thread::scope(|scope| {
        let (offers, lists) = offers();
        let namer = spawn(scope, "name", || naming.serve(config.symbolize.clone(), lists))?;
        let (desk, last) = (&desk, &mut last);
        let work =
            move || collect(config, Cutting::default(), control, (scope, desk), offers, last);
        let collected = join(spawn(scope, "collect", work)?);
        join(namer);
        collected
    })?;
    let closed = last.0.ok_or(RecordError::Nothing)?;
    let named = naming.into_all();
    let losses = named.losses.clone();
    let mut recording = Recording::new(*closed, named);
    recording.losses.merge(&losses);
    Ok(recording)
}

/// Keeps the only window.
struct Last(Option<Box<Closed>>);

impl Outlet for Last {
    fn hand_over(&mut self, window: Closed) -> Result<(), Box<Closed>> {
        self.finish(window);
        Ok(())
    }

    fn finish(&mut self, window: Closed) {
        self.0 = Some(Box::new(window));
    }
}
