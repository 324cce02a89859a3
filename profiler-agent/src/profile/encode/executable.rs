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
/// with the name of the process is taken, else the outermost that is no shared library, else any.
pub(super) fn of_hottest_process(window: &Window) -> Option<u32> {
    let was_on_cpu = window.total(true).ns > 0;
    let counts = |s: &WindowSample<'_>| (s.activity == Activity::OnCpu) == was_on_cpu;
    let mut processes: HashMap<u32, u64> = HashMap::new();
    for sample in window.samples().filter(counts) {
        if files(&sample).next().is_some() {
            *processes.entry(sample.thread.pid).or_default() += sample.tally.ns;
        }
    }
    // The lower of two equal numbers, here and below, so that equal recordings give equal profiles.
    let (hottest, _) = processes.iter().max_by_key(|(pid, ns)| (**ns, Reverse(**pid)))?;
    let mut candidates: HashMap<u32, (Rank, u64)> = HashMap::new();
    for sample in window.samples().filter(|s| s.thread.pid == *hottest) {
        for (binary, rank) in ranked(&sample) {
            let (best, ns) = candidates.entry(binary.id).or_insert((rank, 0));
            *best = rank.max(*best);
            *ns += sample.tally.ns;
        }
    }
    let (id, _) = candidates.iter().max_by_key(|(id, score)| (**score, Reverse(**id)))?;
    Some(*id)
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

/// Real files in a stack, innermost first.
fn files<'a>(sample: &WindowSample<'a>) -> impl Iterator<Item = &'a Binary> + use<'a> {
    sample.stack.iter().filter_map(|frame| match frame {
        Frame::Native { binary, .. } if binary.kind != BinaryKind::Vdso => Some(binary.as_ref()),
        _ => None,
    })
}
