//! Which file is the main executable of a service: readers take mapping 1 for it.

use std::collections::HashMap;

use ahash::RandomState;
use profiler_proto::pprof::Sample;

use super::source::Source;

/// How much a file looks like the executable of its process, and the time in its stacks.
#[derive(Default)]
pub(super) struct Votes(HashMap<u64, (Rank, i64), RandomState>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    #[default]
    Library,
    Program,
    NamedLikeProcess,
}

impl Votes {
    /// Takes the outermost file of a stack that is no library, or better one with the name of the
    /// process.
    pub(super) fn see(&mut self, source: &Source<'_>, sample: &Sample, stack: &[u64], value: i64) {
        let comm = source.comm(sample).unwrap_or_default();
        let mut before = None;
        let files = stack.iter().filter_map(|id| {
            let mapping = source.location(*id)?.mapping_id;
            // Of a run of frames in one file, one has all that there is to see.
            if before.replace(mapping) == Some(mapping) {
                return None;
            }
            let mapping = source.mapping(mapping)?;
            let path = source.text(mapping.filename);
            let is_file = !path.starts_with('[');
            is_file.then(|| (mapping.id, rank(path, comm)))
        });
        // Of equal ranks, the last: the outermost.
        let Some((mapping, rank)) = files.max_by_key(|(_, rank)| *rank) else { return };
        let (best, time) = self.0.entry(mapping).or_default();
        *best = rank.max(*best);
        *time = time.saturating_add(value);
    }

    /// Id of its mapping. The lower id of two that are alike, so that a retry finds the same.
    pub(super) fn winner(&self) -> Option<u64> {
        let best =
            self.0.iter().max_by_key(|(id, (rank, time))| (*rank, *time, std::cmp::Reverse(**id)));
        best.map(|(id, _)| *id)
    }
}

/// The kernel keeps 15 bytes of a process's name.
fn rank(path: &str, comm: &str) -> Rank {
    let name = path.rsplit('/').next().unwrap_or(path);
    if !comm.is_empty() && (name == comm || comm.len() >= 15 && name.starts_with(comm)) {
        Rank::NamedLikeProcess
    } else if name.ends_with(".so") || name.contains(".so.") {
        Rank::Library
    } else {
        Rank::Program
    }
}
