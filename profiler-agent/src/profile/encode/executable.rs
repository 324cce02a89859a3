//! Which file is the main executable of a recording: readers take mapping 1 for it.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::model::frame::{Binary, BinaryKind, Frame};
use crate::model::observation::Activity;
use crate::profile::window::{Window, WindowSample};

/// The executable of the process with the most time on the CPU; where nothing was on it, of the one
/// with the most blocked time. `None` where no process has a file among its frames.
///
/// A window does not know which file a process was started from. Of the files in its stacks, the one
/// with the name of the process is taken, else the outermost that is no shared library. A process
/// whose stacks show libraries only, since they are cut, gives way to the next.
pub(super) fn of_hottest_process(window: &Window) -> Option<u32> {
    let was_on_cpu = window.on_cpu().ns > 0;
    let mut processes: HashMap<u32, Process> = HashMap::new();
    for sample in window.samples() {
        for (binary, rank) in ranked(&sample) {
            let process = processes.entry(sample.thread.pid).or_default();
            let (best, ns) = process.files.entry(binary.id).or_insert((rank, 0));
            *best = rank.max(*best);
            *ns += sample.tally.ns;
        }
        if (sample.activity == Activity::OnCpu) == was_on_cpu
            && let Some(process) = processes.get_mut(&sample.thread.pid)
        {
            process.ns += sample.tally.ns;
        }
    }
    let candidates = processes.iter().filter_map(|(pid, process)| {
        let (id, rank) = process.executable()?;
        Some((rank > Rank::Library, process.ns, Reverse(*pid), id))
    });
    candidates.max().map(|(.., id)| id)
}

/// A process, with its files as candidates.
#[derive(Default)]
struct Process {
    /// Time of the kind that decides.
    ns: u64,
    /// By number: how much each looks like the executable, and the time in its stacks.
    files: HashMap<u32, (Rank, u64)>,
}

impl Process {
    fn executable(&self) -> Option<(u32, Rank)> {
        // The lower of two equal numbers, so that equal recordings give equal profiles.
        let best = self.files.iter().max_by_key(|(id, score)| (**score, Reverse(**id)))?;
        Some((*best.0, best.1.0))
    }
}

/// How much a file looks like the executable of its process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Library,
    Program,
    OutermostProgram,
    NamedLikeProcess,
}

fn ranked<'a>(sample: &WindowSample<'a>) -> Vec<(&'a Binary, Rank)> {
    let outermost = files(sample).filter(|binary| !is_library(binary)).last().map(|b| b.id);
    let comm = sample.thread.process.as_ref();
    let rank = |binary: &Binary| {
        if is_named_like(binary, comm) {
            Rank::NamedLikeProcess
        } else if is_library(binary) {
            Rank::Library
        } else if outermost == Some(binary.id) {
            Rank::OutermostProgram
        } else {
            Rank::Program
        }
    };
    files(sample).map(|binary| (binary, rank(binary))).collect()
}

/// The kernel keeps 15 bytes of a process's name.
fn is_named_like(binary: &Binary, comm: &str) -> bool {
    let name = binary.file_name();
    !comm.is_empty() && (name == comm || comm.len() >= 15 && name.starts_with(comm))
}

fn is_library(binary: &Binary) -> bool {
    let name = binary.file_name();
    name.ends_with(".so") || name.contains(".so.")
}

/// Real files in a stack, innermost first; one that calls itself is named once for it.
fn files<'a>(sample: &WindowSample<'a>) -> impl Iterator<Item = &'a Binary> + use<'a> {
    let mut last = None;
    sample.stack.iter().filter_map(move |frame| match frame {
        Frame::Native { binary, .. } if binary.kind != BinaryKind::Vdso => {
            (last.replace(binary.id) != Some(binary.id)).then_some(binary.as_ref())
        }
        _ => None,
    })
}
