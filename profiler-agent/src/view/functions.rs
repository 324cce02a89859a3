//! The functions of a profile with their time: what tables and the last lines of a recording show.

use std::collections::{HashMap, HashSet};

use ahash::RandomState;

use super::measure::Measure;
use super::reader::{FrameKind, FrameView, Reader};
use super::{Options, Time, stacks};

/// A function, as a table tells them apart: name and module.
pub(super) type FunctionKey<'a> = (&'a str, &'a str);

/// Value of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Of the function itself.
    pub(super) flat: u64,
    /// With all that it called; a recursive function counts once.
    pub(super) cumulative: u64,
}

/// Functions, those with the most of their own first, then by cumulative value and name; and the
/// total.
pub(super) fn sorted<'a>(
    reader: &Reader<'a>,
    measure: &Measure<'_>,
    options: &Options,
) -> (Vec<(FunctionKey<'a>, Weight)>, u64) {
    let mut functions: HashMap<FunctionKey<'a>, Weight, RandomState> = HashMap::default();
    let mut seen: HashSet<FunctionKey<'a>, RandomState> = HashSet::default();
    let mut total = 0u64;
    for sample in reader.profile.sample.iter().filter(|s| stacks::is_wanted(reader, s, options)) {
        let value = measure.value(sample);
        if value == 0 {
            continue;
        }
        total = total.saturating_add(value);
        seen.clear();
        let frames: Vec<_> = reader.frames(sample).collect();
        let own = own_frame(&frames, measure.time);
        for (depth, FrameView { name, module, .. }) in frames.into_iter().enumerate() {
            let weight = functions.entry((name, module)).or_default();
            if depth == own {
                weight.flat = weight.flat.saturating_add(value);
            }
            if seen.insert((name, module)) {
                weight.cumulative = weight.cumulative.saturating_add(value);
            }
        }
    }
    let mut functions: Vec<_> = functions.into_iter().collect();
    functions.sort_by(|(a, x), (b, y)| {
        (y.flat, y.cumulative).cmp(&(x.flat, x.cumulative)).then_with(|| a.cmp(b))
    });
    (functions, total)
}

/// The frame that a sample is counted to as its own: the innermost. Blocked time would then all be
/// the scheduler's (or of the program that traces it), so it is counted to what called into the
/// kernel, or, of a kernel thread, into the scheduler.
fn own_frame(frames: &[FrameView<'_>], time: Option<Time>) -> usize {
    if time != Some(Time::OffCpu) {
        return 0;
    }
    let code = |f: &FrameView<'_>| f.kind != FrameKind::Kernel && f.kind != FrameKind::Marker;
    let waiting = |f: &FrameView<'_>| f.name.contains("sched") || f.name.starts_with("bpf_");
    let caller = frames.iter().position(code);
    caller.or_else(|| frames.iter().position(|f| !waiting(f))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use FrameKind::{Kernel, Marker, Native};

    #[test]
    fn blocked_time_belongs_to_who_waits() {
        let frame = |name, kind| FrameView { name, module: "", kind };
        let user = [
            frame("__schedule", Kernel),
            frame("do_nanosleep", Kernel),
            frame("nanosleep", Native),
            frame("main", Native),
        ];
        let thread = [
            frame("bpf_trace_run4", Kernel),
            frame("__schedule", Kernel),
            frame("schedule_timeout", Kernel),
            frame("kswapd", Kernel),
            frame("kthread", Kernel),
        ];
        let cut = [frame("__schedule", Kernel), frame("[truncated]", Marker)];
        assert_eq!(own_frame(&user, Some(Time::OffCpu)), 2);
        assert_eq!(own_frame(&user, Some(Time::OnCpu)), 0);
        assert_eq!(own_frame(&user, None), 0);
        assert_eq!(own_frame(&thread, Some(Time::OffCpu)), 3);
        assert_eq!(own_frame(&cut, Some(Time::OffCpu)), 1);
        assert_eq!(own_frame(&[], Some(Time::OffCpu)), 0);
    }
}
