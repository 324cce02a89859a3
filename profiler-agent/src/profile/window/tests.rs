//! Sums, bounds and shares.

use profiler_common::thread::ThreadState::{Runnable, Sleeping};

use super::*;
use crate::profile::testing::{kernel_stack, off_cpu, on_cpu, thread};

fn lines(window: &Window) -> Vec<(u32, Activity, Stack, u64, u64)> {
    let line = |s: WindowSample<'_>| {
        (s.thread.tid, s.activity, Arc::clone(s.stack), s.tally.count, s.tally.ns)
    };
    window.samples().map(line).collect()
}

fn marker(marker: Marker) -> Stack {
    marker_stack(marker)
}

#[test]
fn equal_observations_are_one_line() {
    let mut window = Window::new(Limits::default());
    let (a, b) = (thread(1, 1, "a"), thread(2, 2, "b"));
    let stack = || kernel_stack([1, 2]);
    for observation in [
        on_cpu(&a, &stack(), 1),
        on_cpu(&thread(1, 1, "a"), &stack(), 2),
        on_cpu(&b, &stack(), 1),
        off_cpu(&a, &stack(), Sleeping, 5),
        off_cpu(&a, &stack(), Runnable, 6),
        on_cpu(&a, &kernel_stack([1]), 1),
        Observation { ns: 0, ..on_cpu(&a, &kernel_stack([9]), 0) },
    ] {
        window.add(observation);
    }
    let lines = lines(&window);
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], (1, Activity::OnCpu, stack(), 3, 30));
    assert_eq!(window.on_cpu(), Tally { count: 5, ns: 50 });
    assert_eq!(window.off_cpu(), Tally { count: 2, ns: 11 });
    assert!(window.losses().iter().next().is_none());
}

#[test]
fn a_frame_is_handed_out_once() {
    let mut window = Window::new(Limits::default());
    let a = thread(1, 1, "a");
    window.add(on_cpu(&a, &kernel_stack([1, 2, 1]), 1));
    assert_eq!(window.take_new_frames(), *kernel_stack([1, 2]));
    window.add(on_cpu(&a, &kernel_stack([1, 2, 1]), 1));
    window.add(on_cpu(&a, &kernel_stack([2, 3]), 1));
    assert_eq!(window.take_new_frames(), *kernel_stack([3]));
    assert!(window.take_new_frames().is_empty());
}

#[test]
fn full_tables_lose_no_time() {
    for limits in [
        Limits { stacks: 10, ..Limits::default() },
        Limits { frames: 25, ..Limits::default() },
        Limits { samples: 10, ..Limits::default() },
        Limits { stacks: 0, frames: 0, samples: 0 },
    ] {
        let mut window = Window::new(limits);
        for n in 0..100 {
            let thread = thread(n % 20, n % 20, "t");
            window.add(on_cpu(&thread, &kernel_stack([u64::from(n), 1]), 1));
            window.add(off_cpu(&thread, &kernel_stack([u64::from(n), 2]), Sleeping, 7));
        }
        assert_eq!(window.on_cpu(), Tally { count: 100, ns: 1000 }, "{limits:?}");
        assert_eq!(window.off_cpu(), Tally { count: 100, ns: 700 }, "{limits:?}");
        // One line per activity has room beyond the limit, under one marker and one thread.
        assert!(window.samples.len() <= limits.samples + 2, "{limits:?}");
        assert!(window.stacks.len() <= limits.stacks + 1, "{limits:?}");
        assert!(window.threads.len() <= limits.samples + 1, "{limits:?}");
        let lost: u64 = window.losses().iter().map(|(_, n)| n).sum();
        assert!(lost > 0, "{limits:?}");
        assert!(window.samples().any(|s| *s.stack == marker(Marker::StackTableFull)));
    }
}

#[test]
fn what_fits_keeps_its_stack_when_the_table_is_full() {
    let mut window = Window::new(Limits { stacks: 1, ..Limits::default() });
    let (a, b) = (thread(1, 1, "a"), thread(2, 2, "b"));
    for _ in 0..3 {
        window.add(on_cpu(&a, &kernel_stack([1]), 1));
        window.add(on_cpu(&b, &kernel_stack([2]), 1));
    }
    let full = marker(Marker::StackTableFull);
    assert_eq!(
        lines(&window),
        [(1, Activity::OnCpu, kernel_stack([1]), 3, 30), (2, Activity::OnCpu, full, 3, 30),]
    );
    assert_eq!(window.losses().get("samples_without_stack_table_full"), 3);
}

#[test]
fn time_without_a_stack_is_shared_out_by_thread_and_state() {
    let mut window = Window::new(Limits::default());
    let (a, b) = (thread(1, 10, "a"), thread(1, 11, "b"));
    let renamed = thread(1, 10, "a2");
    window.add(off_cpu(&a, &kernel_stack([1]), Sleeping, 300));
    window.add(off_cpu(&renamed, &kernel_stack([2]), Sleeping, 100));
    window.add(off_cpu(&a, &kernel_stack([3]), Runnable, 1000));
    window.add(off_cpu(&b, &kernel_stack([4]), Sleeping, 1000));
    let skipped = |thread: &Arc<ThreadInfo>, state, blocks, ns| SkippedTime {
        thread: Arc::clone(thread),
        state,
        skipped: Skipped { blocks, ns },
    };
    window.share_out(&[skipped(&a, Sleeping, 5, 41), skipped(&b, Runnable, 2, 9)]);
    let off = Activity::OffCpu;
    assert_eq!(
        lines(&window),
        [
            (10, off(Sleeping), kernel_stack([1]), 1 + 4, 300 + 31),
            (10, off(Sleeping), kernel_stack([2]), 1 + 1, 100 + 10),
            (10, off(Runnable), kernel_stack([3]), 1, 1000),
            (11, off(Sleeping), kernel_stack([4]), 1, 1000),
            (11, off(Runnable), marker(Marker::StackNotSampled), 2, 9),
        ]
    );
}
