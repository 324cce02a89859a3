//! Pairs, clamps, ends of recordings.

use profiler_common::thread::ThreadState::{Runnable, Sleeping};

use super::*;
use crate::profile::testing::{kernel_stack, thread};
use crate::profile::window::Limits;

const START: u64 = 1_000;
const STOP: u64 = 11_000;

fn block(tid: u32, stack: u64, time_ns: u64) -> Block {
    Block {
        thread: thread(1, tid, "app"),
        stack: kernel_stack([stack]),
        state: Sleeping,
        time_ns,
        since_before: false,
    }
}

fn resume(tid: u32, blocked_at_ns: u64, resumed_at_ns: u64) -> Resume {
    Resume { pid: 1, tid, blocked_at_ns, resumed_at_ns, skipped: Default::default() }
}

fn off_for(tid: u32, blocked_at_ns: u64, kept: u32) -> (u32, ThreadEntry) {
    let state = Sleeping.raw();
    (tid, ThreadEntry { blocked_at_ns, pid: 1, state, kept, ..Default::default() })
}

/// Thread, state, stack, blocks, ns.
type Line = (u32, ThreadState, Stack, u64, u64);

/// Ends the recording: its lines and losses.
fn finish(off_cpu: OffCpu, threads: &[(u32, ThreadEntry)]) -> (Vec<Line>, Losses) {
    let mut window = Window::new(Limits::default());
    let describe = |pid, tid| thread(pid, tid, "described");
    let losses = off_cpu.finish(STOP, threads, describe, &mut window);
    let lines = window.samples().map(|s| {
        let Activity::OffCpu(state) = s.activity else { panic!("on CPU") };
        (s.thread.tid, state, Arc::clone(s.stack), s.tally.count, s.tally.ns)
    });
    (lines.collect(), losses)
}

fn not_sampled() -> Stack {
    Arc::from([crate::model::frame::Frame::Marker(crate::model::frame::Marker::StackNotSampled)])
}

#[test]
fn a_block_and_its_resume_are_the_time_between() {
    let mut off_cpu = OffCpu::new(START);
    off_cpu.block(block(7, 1, 2_000));
    off_cpu.block(block(8, 2, 2_100));
    let observation = off_cpu.resume(&resume(7, 2_000, 2_500)).unwrap();
    assert_eq!((observation.thread.tid, observation.count, observation.ns), (7, 1, 500));
    assert_eq!(observation.activity, Activity::OffCpu(Sleeping));
    assert!(off_cpu.resume(&resume(7, 2_000, 2_500)).is_none(), "ends only once");
}

#[test]
fn time_before_the_recording_does_not_count() {
    for (since_before, time_ns, ns) in
        [(true, 1_300, 4_000), (false, 900, 4_000), (false, 4_900, 100)]
    {
        let mut off_cpu = OffCpu::new(START);
        off_cpu.block(Block { since_before, ..block(7, 1, time_ns) });
        let observation = off_cpu.resume(&resume(7, time_ns, 5_000)).unwrap();
        assert_eq!(observation.ns, ns, "{since_before} {time_ns}");
    }
    let mut off_cpu = OffCpu::new(START);
    off_cpu.block(block(7, 1, 800));
    assert!(off_cpu.resume(&resume(7, 800, 900)).is_none());
}

#[test]
fn a_resume_without_its_block_is_counted() {
    let mut off_cpu = OffCpu::new(START);
    assert!(off_cpu.resume(&resume(7, 2_000, 3_000)).is_none());
    // A newer block is not ended by an older resume.
    off_cpu.block(block(7, 1, 4_000));
    assert!(off_cpu.resume(&resume(7, 2_000, 3_000)).is_none());
    assert_eq!(off_cpu.losses().get("blocks_lost_without_begin"), 2);
    assert_eq!(off_cpu.resume(&resume(7, 4_000, 5_000)).unwrap().ns, 1_000);
}

#[test]
fn a_newer_block_replaces_an_open_one() {
    let mut off_cpu = OffCpu::new(START);
    off_cpu.block(block(7, 1, 2_000));
    off_cpu.block(block(7, 2, 3_000));
    let observation = off_cpu.resume(&resume(7, 3_000, 3_600)).unwrap();
    assert_eq!((observation.stack, observation.ns), (kernel_stack([2]), 600));
    assert!(off_cpu.losses().iter().next().is_none());
}

#[test]
fn a_thread_that_is_still_blocked_counts_to_the_end() {
    let mut off_cpu = OffCpu::new(START);
    off_cpu.block(Block { since_before: true, ..block(7, 1, 1_200) });
    off_cpu.block(block(8, 2, 6_000));
    // Came back after less than the minimum: the kernel's table says that it runs, or another block.
    off_cpu.block(block(9, 3, 7_000));
    off_cpu.block(block(10, 4, 7_000));
    off_cpu.block(block(11, 5, 7_000));
    off_cpu.exit(&Exit { time_ns: 7_500, pid: 1, tid: 11 });
    let (lines, losses) =
        finish(off_cpu, &[off_for(7, 1_200, 1), off_for(8, 6_000, 1), off_for(9, 0, 0)]);
    assert_eq!(
        lines,
        [
            (7, Sleeping, kernel_stack([1]), 1, STOP - START),
            (8, Sleeping, kernel_stack([2]), 1, 5_000),
        ]
    );
    assert_eq!(losses, Losses::default());
}

#[test]
fn skipped_time_goes_to_the_kept_stacks_of_its_thread() {
    let skipped = |blocks, ns| {
        let mut by_state = [Skipped::default(); THREAD_STATES];
        by_state[Sleeping.raw() as usize] = Skipped { blocks, ns };
        by_state
    };
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    off_cpu.block(block(7, 1, 2_000));
    let kept = Resume { skipped: skipped(2, 60), ..resume(7, 2_000, 2_300) };
    window.add(off_cpu.resume(&kept).unwrap());
    off_cpu.block(block(7, 2, 3_000));
    window.add(off_cpu.resume(&resume(7, 3_000, 3_100)).unwrap());
    // 40 ns more are left in the kernel's table, and thread 8 was never seen with a stack.
    let mut left = off_for(7, 0, 0);
    left.1.skipped = skipped(1, 40);
    let still = off_for(8, 10_000, 0);
    let describe = |pid, tid| thread(pid, tid, "described");
    off_cpu.finish(STOP, &[left, still], describe, &mut window);
    let lines: Vec<_> = window
        .samples()
        .map(|s| (s.thread.tid, Arc::clone(s.stack), s.tally.count, s.tally.ns))
        .collect();
    assert_eq!(
        lines,
        [
            (7, kernel_stack([1]), 1 + 2, 300 + 75),
            (7, kernel_stack([2]), 1 + 1, 100 + 25),
            (8, not_sampled(), 1, 1_000),
        ]
    );
}

#[test]
fn a_block_whose_record_was_lost_keeps_its_time() {
    let off_cpu = OffCpu::new(START);
    let mut entry = off_for(7, 6_000, 1);
    entry.1.state = Runnable.raw();
    let (lines, _) = finish(off_cpu, &[entry, off_for(9, 500, 0)]);
    assert_eq!(
        lines,
        [(7, Runnable, not_sampled(), 1, 5_000), (9, Sleeping, not_sampled(), 1, STOP - START),]
    );
}

#[test]
fn a_full_table_is_counted_and_an_unknown_state_harmless() {
    let mut off_cpu = OffCpu { max_threads: 2, ..OffCpu::new(START) };
    for tid in 0..5 {
        off_cpu.block(block(tid, 1, 2_000));
    }
    off_cpu.block(block(0, 1, 2_500));
    assert_eq!(off_cpu.losses().get("blocks_lost_open_table_full"), 3);
    let mut strange = off_for(77, 2_000, 1);
    strange.1.state = 99;
    let (lines, losses) = finish(off_cpu, &[strange]);
    assert_eq!(lines, []);
    assert_eq!(losses.get("blocks_lost_open_table_full"), 3);
}
