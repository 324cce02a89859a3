//! What the process stage costs: for each stack, and for each process that comes and goes.
#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot see its own file has nothing to say"
)]

use std::hint::black_box;
use std::os::unix::fs::MetadataExt;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use profiler_agent::model::event::{CommChange, Event, Exit, Fork, Mmap, MmapId, RawStack};
use profiler_agent::process::{Config, Processes};
use profiler_common::walk::WalkEnd;

/// No process has this number, so nothing is read of it.
const PARENT: u32 = 1 << 30;

fn stack(depth: u64, seed: u64) -> RawStack {
    RawStack {
        time_ns: 10,
        pid: PARENT,
        tid: PARENT,
        cpu: 0,
        cgroup_id: 1,
        comm: *b"bench\0\0\0\0\0\0\0\0\0\0\0",
        user: (0..depth).map(|n| 0x10_0000 + (seed * 977 + n * 61) % 0x5000).collect(),
        kernel: Vec::new(),
        user_end: WalkEnd::Complete,
        kernel_end: WalkEnd::Absent,
        rest: None,
    }
}

fn exec(pid: u32) -> Event {
    let comm = *b"bench\0\0\0\0\0\0\0\0\0\0\0";
    Event::Comm(CommChange { time_ns: 2, pid, tid: pid, comm, exec: true })
}

/// Five mappings of the benchmark's own file, as a program and its libraries would have.
fn mappings(pid: u32) -> Vec<Event> {
    let exe = std::env::current_exe().expect("a path");
    let meta = std::fs::metadata(&exe).expect("a file");
    let id = MmapId::Inode {
        major: libc::major(meta.dev()),
        minor: libc::minor(meta.dev()),
        inode: meta.ino(),
        generation: 0,
    };
    let path = exe.into_os_string().into_encoded_bytes();
    let mapping = |n: u64| {
        let start = 0x10_0000 + n * 0x1000;
        let (id, path) = (id.clone(), path.clone());
        Event::Mmap(Mmap { time_ns: 3, pid, start, len: 0x1000, file_offset: n << 16, id, path })
    };
    (0..5).map(mapping).collect()
}

fn known() -> Processes {
    let mut processes = Processes::new(Config::default());
    processes.apply(&exec(PARENT));
    mappings(PARENT).iter().for_each(|event| processes.apply(event));
    processes
}

fn stacks(criterion: &mut Criterion) {
    for depth in [10, 40, 120] {
        let mut processes = known();
        let repeated: Vec<RawStack> = (0..100).map(|seed| stack(depth, seed)).collect();
        let mut next = repeated.iter().cycle();
        criterion.bench_function(&format!("a stack seen before, {depth} frames"), |bencher| {
            bencher.iter(|| next.next().map(|raw| black_box(processes.attribute(raw))));
        });
        let mut seed = 0;
        criterion.bench_function(&format!("a new stack, {depth} frames"), |bencher| {
            let new = || {
                seed += 1;
                stack(depth, seed)
            };
            bencher.iter_batched(new, |raw| processes.attribute(&raw), BatchSize::SmallInput);
        });
    }
}

fn processes(criterion: &mut Criterion) {
    let mut processes = known();
    let pid = PARENT + 1;
    let (time_ns, parent_pid) = (2, PARENT);
    let fork = Fork { time_ns, pid, tid: pid, parent_pid, parent_tid: PARENT };
    let mut events = vec![Event::Fork(fork), exec(pid)];
    events.extend(mappings(pid));
    events.push(Event::Exit(Exit { time_ns: 4, pid, tid: pid }));
    criterion.bench_function("a process: fork, exec, five mappings, exit", |bencher| {
        bencher.iter(|| events.iter().for_each(|event| processes.apply(event)));
    });

    criterion.bench_function("a scan of all processes", |bencher| {
        bencher.iter(|| Processes::new(Config::default()).scan());
    });
}

criterion_group!(benches, stacks, processes);
criterion_main!(benches);
