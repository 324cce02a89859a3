//! Folds samples into stacks, root first, with what the reader of a picture wants at the root.

use std::collections::HashMap;

use ahash::RandomState;
use indexmap::{IndexMap, IndexSet};
use profiler_common::thread::ThreadState;
use profiler_proto::pprof::Sample;

use super::measure::Measure;
use super::reader::{FrameKind, Reader};
use super::text_safe;
use super::{Options, Root, Time};
use crate::model::conventions::{NO_STACK, label};

/// A box of the picture: its text, harmless, and its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) kind: FrameKind,
}

/// Stacks with their values.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    cells: IndexSet<Cell, RandomState>,
    stacks: IndexMap<Vec<usize>, u64, RandomState>,
    /// Sum of all values.
    pub(super) total: u64,
}

impl Stacks {
    /// Each stack, root first, with its value; sorted, so that equal profiles give equal pictures.
    pub(super) fn sorted(&self) -> Vec<(Vec<&Cell>, u64)> {
        let cells = |numbers: &Vec<usize>| {
            numbers.iter().filter_map(|n| self.cells.get_index(*n)).collect::<Vec<_>>()
        };
        let mut stacks: Vec<_> = self.stacks.iter().map(|(s, value)| (cells(s), *value)).collect();
        stacks.sort_by(|(a, _), (b, _)| {
            a.iter().map(|c| (&c.text, c.kind)).cmp(b.iter().map(|c| (&c.text, c.kind)))
        });
        stacks
    }

    /// Every box that occurs.
    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter()
    }

    fn number(&mut self, text: String, kind: FrameKind) -> usize {
        self.cells.insert_full(Cell { text, kind }).0
    }
}

/// Folds the samples that the options want.
pub(super) fn fold(reader: &Reader<'_>, measures: &[Measure<'_>], options: &Options) -> Stacks {
    let mut stacks = Stacks::default();
    // Side by side under each thread is what both kinds of time are for.
    let default_root = if measures.len() > 1 { Root::Thread } else { Root::Host };
    let root = options.root.unwrap_or(default_root);
    // A frame is made harmless once, not each time that it comes.
    let mut numbers: HashMap<(&str, FrameKind), usize, RandomState> = HashMap::default();
    for sample in reader.profile.sample.iter().filter(|s| is_wanted(reader, s, options)) {
        for measure in measures {
            let value = measure.value(sample);
            if value == 0 {
                continue;
            }
            let branch = branch(reader, sample, measure, measures.len() > 1);
            let mut stack = roots(&mut stacks, reader, sample, root, branch);
            let depth = stack.len();
            for frame in reader.frames(sample) {
                let number = *numbers
                    .entry((frame.name, frame.kind))
                    .or_insert_with(|| stacks.number(text_safe::frame(frame.name), frame.kind));
                stack.push(number);
            }
            if stack.len() == depth {
                stack.push(stacks.number(NO_STACK.to_owned(), FrameKind::Marker));
            }
            if let Some(frames) = stack.get_mut(depth..) {
                frames.reverse();
            }
            let sum = stacks.stacks.entry(stack).or_default();
            *sum = sum.saturating_add(value);
            stacks.total = stacks.total.saturating_add(value);
        }
    }
    stacks
}

/// Whether the options want a sample.
pub(super) fn is_wanted(reader: &Reader<'_>, sample: &Sample, options: &Options) -> bool {
    options.pid.is_none_or(|pid| reader.number(sample, label::PID) == Some(i64::from(pid)))
}

/// The box that tells what the time was spent on: blocked time by state, and time on the CPU where
/// the two stand side by side.
fn branch(
    reader: &Reader<'_>,
    sample: &Sample,
    measure: &Measure<'_>,
    both: bool,
) -> Option<(&'static str, FrameKind)> {
    match measure.time? {
        Time::OnCpu => both.then_some(("on CPU", FrameKind::OnCpu)),
        Time::OffCpu => {
            let state = reader.label(sample, label::STATE);
            let known = ThreadState::ALL.iter().find(|s| s.name() == state);
            Some((known.map_or("off CPU", |s| describe(*s)), FrameKind::OffCpu))
        }
    }
}

fn describe(state: ThreadState) -> &'static str {
    match state {
        ThreadState::Runnable => "waiting for a CPU (runnable)",
        ThreadState::Sleeping => "blocked (sleeping)",
        ThreadState::Uninterruptible => "blocked (uninterruptible)",
        ThreadState::Stopped => "stopped",
    }
}

fn roots(
    stacks: &mut Stacks,
    reader: &Reader<'_>,
    sample: &Sample,
    root: Root,
    branch: Option<(&'static str, FrameKind)>,
) -> Vec<usize> {
    let process = reader.label(sample, label::COMM);
    let thread = reader.label(sample, label::THREAD);
    let pid = reader.number(sample, label::PID);
    let tid = reader.number(sample, label::TID);
    let mut cells = Vec::new();
    let branch = branch.map(|(text, kind)| (text.to_owned(), kind));
    match root {
        Root::Host => {
            cells.extend(branch);
            cells.extend(owner(process, None));
        }
        Root::Process => {
            cells.extend(owner(process, pid.map(|pid| format!("pid {pid}"))));
            cells.extend(branch);
        }
        Root::Thread => {
            cells.extend(owner(process, pid.map(|pid| format!("pid {pid}"))));
            cells.extend(owner(thread, tid.map(|tid| format!("tid {tid}"))));
            cells.extend(branch);
        }
    }
    cells.into_iter().map(|(text, kind)| stacks.number(text, kind)).collect()
}

/// A process or thread; nothing where a profile does not tell.
fn owner(name: &str, id: Option<String>) -> Option<(String, FrameKind)> {
    let text = match (name, id) {
        ("", None) => return None,
        ("", Some(id)) => id,
        (name, None) => text_safe::frame(name),
        (name, Some(id)) => format!("{} ({id})", text_safe::frame(name)),
    };
    Some((text, FrameKind::Owner))
}
