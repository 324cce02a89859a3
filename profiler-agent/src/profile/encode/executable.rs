//! Which file is the main executable of a recording: readers take mapping 1 for it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::frame::{Binary, BinaryKind, Frame};
use crate::profile::window::{Window, WindowSample};

/// The executable of the process with the most time on the CPU; where nothing was on it, of the one
/// with the most blocked time. `None` where no process has a file among its frames.
///
/// A window does not know which file a process was started from. Of the files in its stacks, the one
/// with the name of the process is taken, else the outermost that is no shared library, else any.
pub(super) fn of_hottest_process(window: &Window) -> Option<u32> {
    let on_cpu = window.total(true).ns > 0;
    let counted =
        |s: &WindowSample<'_>| (s.activity == crate::model::observation::Activity::OnCpu) == on_cpu;
    let mut processes: HashMap<u32, u64> = HashMap::new();
    for sample in window.samples().filter(counted) {
        if outermost_file(&sample).is_some() {
            *processes.entry(sample.thread.pid).or_default() += sample.tally.ns;
        }
    }
    // The lower pid of two equal ones, so that equal recordings give equal profiles.
    let hottest = processes.iter().max_by_key(|(pid, ns)| (**ns, std::cmp::Reverse(**pid)))?.0;
    let mut candidates: HashMap<u32, (Rank, u64)> = HashMap::new();
    for sample in window.samples().filter(|s| s.thread.pid == *hottest) {
        for binary in files(&sample) {
            let rank = rank(binary, &sample);
            let best = candidates.entry(binary.id).or_insert((rank, 0));
            best.0 = best.0.max(rank);
            best.1 += sample.tally.ns;
        }
    }
    let best = candidates.iter().max_by_key(|(id, score)| (**score, std::cmp::Reverse(**id)))?;
    Some(*best.0)
}

/// How much a file looks like the executable of its process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Library,
    Program,
    OutermostProgram,
    NamedLikeProcess,
}

fn rank(binary: &Binary, sample: &WindowSample<'_>) -> Rank {
    let name = binary.file_name();
    let is_library = name.contains(".so") || name.starts_with("ld-");
    // The kernel keeps 15 bytes of a process's name.
    let comm = sample.thread.process.as_ref();
    if !comm.is_empty() && (name == comm || comm.len() >= 15 && name.starts_with(comm)) {
        Rank::NamedLikeProcess
    } else if is_library {
        Rank::Library
    } else if outermost_file(sample).is_some_and(|b| b.id == binary.id) {
        Rank::OutermostProgram
    } else {
        Rank::Program
    }
}

fn outermost_file<'a>(sample: &WindowSample<'a>) -> Option<&'a Arc<Binary>> {
    files(sample).last()
}

/// Real files in a stack, innermost first.
fn files<'a>(
    sample: &WindowSample<'a>,
) -> impl DoubleEndedIterator<Item = &'a Arc<Binary>> + use<'a> {
    sample.stack.iter().filter_map(|frame| match frame {
        Frame::Native { binary, .. } => (binary.kind != BinaryKind::Vdso).then_some(binary),
        _ => None,
    })
}
