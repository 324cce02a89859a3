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

/// A table as the kernel has it at the end of a window.
struct Table<'a> {
    threads: &'a [(u32, ThreadEntry)],
    ended_since: &'a [(u32, u64)],
}

fn end_window(off_cpu: &mut OffCpu, window: &mut Window, at_ns: u64, table: Table<'_>) {
    let boundary = Boundary {
        at_ns,
        threads: table.threads,
        ended_since: &table.ended_since.iter().copied().collect(),
        min_block_ns: 100,
        counts_carried: true,
    };
    off_cpu.end_window(&boundary, |pid, tid| thread(pid, tid, "described"), window);
}

/// What a window has, by thread: blocks and ns. Begins another one.
fn sums(window: &mut Window) -> Vec<(u32, u64, u64)> {
    let window = std::mem::replace(window, Window::new(Limits::default()));
    let mut sums: Vec<(u32, u64, u64)> = Vec::new();
    for sample in window.samples() {
        let tid = sample.thread.tid;
        match sums.iter_mut().find(|(known, ..)| *known == tid) {
            Some((_, blocks, ns)) => {
                *blocks += sample.tally.count;
                *ns += sample.tally.ns;
            }
            None => sums.push((tid, sample.tally.count, sample.tally.ns)),
        }
    }
    sums.sort_unstable();
    sums
}

fn carrying(mut entry: (u32, ThreadEntry), blocks: u64, ns: u64) -> (u32, ThreadEntry) {
    entry.1.skipped[Sleeping.raw() as usize] = Skipped { blocks, ns };
    entry
}

fn sending(mut resume: Resume, blocks: u64, ns: u64) -> Resume {
    resume.skipped[Sleeping.raw() as usize] = Skipped { blocks, ns };
    resume
}

#[test]
fn a_thread_that_hangs_is_in_every_window_with_its_part_and_its_stack() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    off_cpu.block(block(7, 1, 2_000));
    let hangs = Table { threads: &[off_for(7, 2_000, 1)], ended_since: &[] };
    end_window(&mut off_cpu, &mut window, 4_000, hangs);
    let stack = |window: &Window| window.samples().next().map(|s| Arc::clone(s.stack));
    assert_eq!(stack(&window), Some(kernel_stack([1])));
    assert_eq!(sums(&mut window), [(7, 1, 2_000)]);
    let hangs = Table { threads: &[off_for(7, 2_000, 1)], ended_since: &[] };
    end_window(&mut off_cpu, &mut window, 6_000, hangs);
    assert_eq!(stack(&window), Some(kernel_stack([1])));
    assert_eq!(sums(&mut window), [(7, 0, 2_000)]);
    window.add(off_cpu.resume(&resume(7, 2_000, 6_500)).unwrap());
    assert_eq!(sums(&mut window), [(7, 0, 500)]);
}

#[test]
fn a_block_that_ended_while_the_table_was_read_has_its_part_before() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    off_cpu.block(block(7, 1, 2_000));
    off_cpu.block(block(8, 1, 2_000));
    // 7 came back a moment after the end, and is off again; of 8 nothing is known.
    let table = Table { threads: &[off_for(7, 4_050, 1)], ended_since: &[(7, 2_000)] };
    end_window(&mut off_cpu, &mut window, 4_000, table);
    assert_eq!(sums(&mut window), [(7, 1, 2_000)]);
    window.add(off_cpu.resume(&resume(7, 2_000, 4_020)).unwrap());
    off_cpu.block(block(7, 2, 4_050));
    window.add(off_cpu.resume(&resume(7, 4_050, 4_350)).unwrap());
    assert_eq!(sums(&mut window), [(7, 1, 320)]);
    assert!(off_cpu.resume(&resume(8, 2_000, 9_000)).is_none());
}

#[test]
fn a_block_too_young_waits_for_the_next_window() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    off_cpu.block(block(7, 1, 3_950));
    let threads = &[off_for(7, 3_950, 1), off_for(8, 3_950, 0)];
    end_window(&mut off_cpu, &mut window, 4_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window), []);
    window.add(off_cpu.resume(&resume(7, 3_950, 4_150)).unwrap());
    let threads = &[off_for(8, 3_950, 0)];
    end_window(&mut off_cpu, &mut window, 6_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window), [(7, 1, 200), (8, 1, 2_050)]);
}

#[test]
fn what_a_thread_carries_is_shared_out_by_window_and_counted_once() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    let end = |off_cpu: &mut OffCpu, window: &mut Window, at_ns, entry| {
        end_window(off_cpu, window, at_ns, Table { threads: &[entry], ended_since: &[] });
        sums(window)
    };
    // Two blocks were skipped; then one begins that is skipped too, and goes on.
    let carried = |blocked_at_ns| carrying(off_for(7, blocked_at_ns, 0), 2, 600);
    assert_eq!(end(&mut off_cpu, &mut window, 4_000, carried(3_000)), [(7, 3, 1_600)]);
    assert_eq!(end(&mut off_cpu, &mut window, 6_000, carried(3_000)), [(7, 0, 2_000)]);
    // It ends after 3,500: the kernel carries three blocks and 4,100.
    let carried = carrying(off_for(7, 0, 0), 3, 4_100);
    assert_eq!(end(&mut off_cpu, &mut window, 8_000, carried), [(7, 0, 500)]);
    // Another, and all of it is sent with a block that has a stack.
    off_cpu.block(block(7, 1, 8_600));
    window.add(off_cpu.resume(&sending(resume(7, 8_600, 8_700), 4, 4_400)).unwrap());
    assert_eq!(end(&mut off_cpu, &mut window, 9_000, off_for(7, 0, 1)), [(7, 2, 400)]);
    // What comes then is new.
    let carried = carrying(off_for(7, 0, 0), 1, 50);
    assert_eq!(end(&mut off_cpu, &mut window, 10_000, carried), [(7, 1, 50)]);
    assert!(off_cpu.losses().iter().next().is_none());
}

#[test]
fn a_record_that_was_lost_costs_no_time_and_gives_none_twice() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    // The beginning of 7's block was lost, the end of 8's will be.
    off_cpu.block(block(8, 1, 2_000));
    let threads = &[off_for(7, 2_000, 1), off_for(8, 2_000, 1)];
    end_window(&mut off_cpu, &mut window, 4_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window), [(7, 1, 2_000), (8, 1, 2_000)]);
    assert!(off_cpu.resume(&resume(7, 2_000, 4_500)).is_none());
    let threads = &[off_for(7, 0, 1), carrying(off_for(8, 0, 1), 1, 2_300)];
    end_window(&mut off_cpu, &mut window, 6_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window), [(7, 0, 500), (8, 0, 300)]);
    // A beginning that comes late is no second block.
    let threads = &[off_for(7, 6_500, 1)];
    end_window(&mut off_cpu, &mut window, 8_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window), [(7, 1, 1_500)]);
    off_cpu.block(block(7, 1, 6_500));
    window.add(off_cpu.resume(&sending(resume(7, 6_500, 8_200), 1, 40)).unwrap());
    end_window(&mut off_cpu, &mut window, 9_000, Table { threads: &[], ended_since: &[] });
    assert_eq!(sums(&mut window), [(7, 1, 240)]);
    assert!(off_cpu.losses().iter().next().is_none());
}

#[test]
fn nothing_is_kept_of_threads_that_are_gone() {
    let mut off_cpu = OffCpu::new(START);
    let mut window = Window::new(Limits::default());
    for tid in 1..1_000 {
        off_cpu.block(block(tid, 1, 2_000));
        let _ = off_cpu.resume(&sending(resume(tid + 5_000, 0, 2_500), 1, 100));
    }
    let threads = &[carrying(off_for(6_500, 0, 1), 1, 70)];
    end_window(&mut off_cpu, &mut window, 4_000, Table { threads, ended_since: &[] });
    assert_eq!(sums(&mut window).len(), 1_000);
    end_window(&mut off_cpu, &mut window, 6_000, Table { threads: &[], ended_since: &[] });
    assert!(off_cpu.open.is_empty() && off_cpu.skipped.is_empty());
}
