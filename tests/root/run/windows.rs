//! What windows are like that follow each other.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use profiler_proto::pprof::Profile;
use profiler_tests::daemon::Room;
use profiler_tests::{stacks, wait};

/// So far apart two neighbours may be: nothing, but for the clock's own steps.
const SEAM_NS: i64 = 2_000_000;

/// Unix time, ns.
pub fn now_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}

/// When a window ended.
pub fn end_of(window: &Profile) -> i64 {
    window.time_nanos + window.duration_nanos
}

/// The time between windows that no window has, ns; an overlap is an error.
#[track_caller]
pub fn gaps(windows: &[Profile]) -> Vec<i64> {
    let pairs = windows.windows(2).map(|pair| (end_of(&pair[0]), pair[1].time_nanos));
    let gaps: Vec<i64> = pairs.map(|(end, next)| next - end).collect();
    assert!(gaps.iter().all(|gap| *gap > -SEAM_NS), "windows overlap: {gaps:?}");
    gaps.into_iter().filter(|gap| *gap > SEAM_NS).collect()
}

/// Fails unless each gap between windows is told: as a window that found no room, in those after it.
#[track_caller]
pub fn assert_nothing_is_lost_silently(windows: &[Profile]) {
    let gaps = gaps(windows);
    let told: u64 = windows.iter().map(|w| count(w, "windows_lost_not_encoded")).sum();
    println!("{} windows, {} gaps, {told} told as lost", windows.len(), gaps.len());
    assert!(gaps.len() as u64 <= told, "{gaps:?} ns are missing, {told} windows are told as lost");
}

/// What a window counted of its agent: the comment `count.NAME: N`.
fn count(window: &Profile, name: &str) -> u64 {
    let text = |index: &i64| window.string_table.get(usize::try_from(*index).ok()?);
    let start = format!("count.{name}: ");
    let mut comments = window.comment.iter().filter_map(text);
    comments.find_map(|c| c.strip_prefix(&start)?.parse().ok()).unwrap_or_default()
}

/// Samples in a window of threads of this name.
pub fn samples_of(window: &Profile, comm: &str) -> u64 {
    let stacks = stacks::of(window);
    stacks.iter().filter(|stack| stack.label("comm") == comm).map(|s| s.value("samples")).sum()
}

/// Waits until the room's directory has so many windows.
pub fn wait_for(room: &Room, count: usize, limit: Duration) -> Result<Vec<Profile>> {
    let waited = wait::until(&format!("{count} windows"), limit, || {
        Ok(room.windows().ok().filter(|windows| windows.len() >= count))
    });
    waited.map_err(|error| error.context(room.log()))
}

/// Waits for a window that ended after this (Unix time, ns), and says how long ago it was.
pub fn wait_for_one_after(room: &Room, after_ns: i64, limit: Duration) -> Result<Vec<Profile>> {
    let waited = wait::until("a window after the fault", limit, || {
        let windows = room.windows().unwrap_or_default();
        let has = windows.iter().any(|window| window.time_nanos >= after_ns);
        Ok(has.then_some(windows))
    });
    waited.map_err(|error| error.context(room.log()))
}
