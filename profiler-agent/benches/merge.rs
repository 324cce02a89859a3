//! What it costs to make one profile of an hour of windows: the time that `query` takes.
//!
//! The hour is one of a busy host: 360 windows of ten seconds with 3,000 to 6,000 samples each, from 12
//! processes with 120 threads, which go through 500 of 3,000 stacks of about 25 frames in each window.
//! With `WINDOWS=DIRECTORY` the windows of a real store are merged as well.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a bench fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use profiler_agent::model::choice::EventChoice;
use profiler_agent::model::frame::{Binary, BinaryKind, Frame, Segment, Stack};
use profiler_agent::model::losses::Losses;
use profiler_agent::model::names::{NamedLine, Names};
use profiler_agent::model::observation::{Activity, Observation, ThreadInfo};
use profiler_agent::model::query::{Filter, Range};
use profiler_agent::profile::merge::{Job, Limits as MergeLimits, merge};
use profiler_agent::profile::{Limits, Meta, Window, encode};
use profiler_agent::store::Reader;
use profiler_common::thread::ThreadState;
use profiler_proto::pprof::{Profile, encode_gz, encode_zstd};

const WINDOWS: u64 = 360;
const PROCESSES: u64 = 12;
const THREADS: u64 = 10;
const FUNCTIONS: u64 = 2_000;
const STACKS: u64 = 3_000;
const STACKS_IN_WINDOW: u64 = 500;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

struct Host {
    binaries: Vec<Arc<Binary>>,
    threads: Vec<Arc<ThreadInfo>>,
    stacks: Vec<Stack>,
    names: Names,
}

fn binary(id: u64) -> Arc<Binary> {
    Arc::new(Binary {
        id: id as u32,
        path: format!("/usr/lib/x86_64-linux-gnu/libcomponent{id}.so.1"),
        kind: BinaryKind::File,
        build_id: format!("{:040x}", id * 0x9e37_79b9),
        file: None,
        debug: None,
        segments: vec![Segment { file_offset: 0, file_size: 1 << 30, address: 0x1000 }],
        problem: None,
    })
}

fn host() -> Host {
    let binaries: Vec<_> = (0..20).map(binary).collect();
    let threads = (0..PROCESSES * THREADS).map(|n| {
        let process = n / THREADS;
        Arc::new(ThreadInfo {
            pid: 1000 + process as u32,
            tid: 1000 + n as u32,
            process: format!("server-{process}").into(),
            thread: format!("worker-{}", n % THREADS).into(),
            cgroup: format!("/system.slice/server-{process}.service").into(),
            service: format!("server-{process}").into(),
        })
    });
    let frame = |function: u64| Frame::Native {
        binary: Arc::clone(&binaries[(function % 20) as usize]),
        offset: function * 64,
    };
    let mut dice = Dice(7);
    // The outer frames of a stack are common to many.
    let stack = |n: u64| -> Stack {
        let depth = 15 + dice.roll(20);
        (0..depth).map(|level| frame((n / (1 + depth - level) * 37 + level) % FUNCTIONS)).collect()
    };
    let stacks = (0..STACKS).map(stack).collect();
    let named = |n: u64| {
        let name: Arc<str> =
            format!("component::module_{}::Type{}::function_{n}", n % 50, n % 300).into();
        let system_name = format!("_ZN9component8module_{}7Type{}11function_{n}E", n % 50, n % 300);
        let line = NamedLine {
            system_name: system_name.into(),
            function: name,
            file: format!("/build/component/src/module_{}.rs", n % 50).into(),
            line: (n % 900) as u32,
        };
        (frame(n).key(), [line].into())
    };
    let names = (0..FUNCTIONS).map(named).collect();
    Host { threads: threads.collect(), stacks, names, binaries: binaries.clone() }
}

fn window(host: &Host, number: u64) -> Profile {
    let mut dice = Dice(number + 1);
    let mut window = Window::new(Limits::default());
    let samples = 3_000 + dice.roll(3_000);
    while (window.samples().count() as u64) < samples {
        for _ in 0..200 {
            let thread = dice.roll(PROCESSES * THREADS);
            let within = dice.roll(STACKS_IN_WINDOW);
            // A stack belongs to a process, and most are hot in every window.
            let stack = if within < 400 { within } else { (number * 97 + within) % STACKS };
            let on_cpu = dice.roll(3) == 0;
            window.add(Observation {
                thread: Arc::clone(&host.threads[thread as usize]),
                stack: Arc::clone(
                    &host.stacks[(stack / PROCESSES * PROCESSES + thread / THREADS) as usize
                        % STACKS as usize],
                ),
                activity: if on_cpu {
                    Activity::OnCpu
                } else {
                    Activity::OffCpu(ThreadState::Sleeping)
                },
                count: 1 + dice.roll(20),
                ns: 10_101_010 + dice.roll(1_000_000),
            });
        }
    }
    encode(&window, &host.names, &meta(number))
}

fn meta(number: u64) -> Meta {
    Meta {
        kind: EventChoice::Wall,
        time_nanos: (number + 1) * 10_000_000_000,
        duration_nanos: 10_000_000_000,
        period_ns: 10_101_010,
        frequency: 99,
        clock: "cycles".to_owned(),
        min_block_ns: 1_000,
        host: "bench".to_owned(),
        kernel: "6.18".to_owned(),
        arch: "x86_64".to_owned(),
        scope: "whole host".to_owned(),
        executable: None,
        losses: Losses::default(),
        notes: Vec::new(),
    }
}

fn merged(windows: &[Vec<u8>], filter: &Filter, threads: usize) -> Profile {
    let job =
        Job { filter: filter.clone(), limits: MergeLimits::default(), threads, deadline: None };
    let read = |window: &Vec<u8>| Ok(Some(window.clone()));
    let ended = merge(windows, &job, || (), read).expect("all windows can be read");
    assert_eq!(ended.merged.windows, windows.len() as u64);
    ended.merged.profile
}

fn run(criterion: &mut Criterion, name: &str, windows: &[Vec<u8>]) {
    let bytes: usize = windows.iter().map(Vec::len).sum();
    let all = Filter { event: EventChoice::Wall, ..Filter::default() };
    let one = Filter { service: Some("server-3".to_owned()), ..all.clone() };
    let profile = merged(windows, &all, 2);
    let (samples, stacks) = (profile.sample.len(), profile.location.len());
    eprintln!(
        "{name}: {} windows, {bytes} bytes packed, merged {samples} samples of {stacks} locations",
        windows.len()
    );
    let mut group = criterion.benchmark_group(format!("{name}, {} windows", windows.len()));
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    for threads in [1, 2] {
        group.bench_function(format!("all, {threads} threads"), |bencher| {
            bencher.iter(|| merged(windows, &all, threads));
        });
    }
    group.bench_function("one service, 2 threads", |bencher| {
        bencher.iter(|| merged(windows, &one, 2));
    });
    group.finish();
}

fn hour(criterion: &mut Criterion) {
    let host = host();
    assert_eq!(host.binaries.len(), 20);
    let profiles: Vec<_> = (0..WINDOWS).map(|number| window(&host, number)).collect();
    let samples: usize = profiles.iter().map(|p| p.sample.len()).sum();
    eprintln!("{samples} samples in {WINDOWS} windows");
    let pack = |pack: fn(&Profile) -> std::io::Result<Vec<u8>>| -> Vec<Vec<u8>> {
        profiles.iter().map(|profile| pack(profile).expect("memory suffices")).collect()
    };
    run(criterion, "zstd", &pack(encode_zstd));
    run(criterion, "gzip", &pack(encode_gz));
    let mut group = criterion.benchmark_group("a window");
    group.bench_function("zstd", |bencher| bencher.iter(|| encode_zstd(&profiles[0])));
    group.bench_function("gzip", |bencher| bencher.iter(|| encode_gz(&profiles[0])));
    group.finish();
    if let Some(directory) = std::env::var_os("WINDOWS") {
        let reader = Reader::open(Path::new(&directory)).expect("a store");
        let windows: Vec<Vec<u8>> = reader
            .infos(Range::ALL)
            .iter()
            .filter_map(|info| reader.window(info.id).expect("a window"))
            .map(|window| window.profile.to_vec())
            .collect();
        // An hour, however long the store is.
        let windows: Vec<_> = windows.iter().cycle().take(WINDOWS as usize).cloned().collect();
        run(criterion, "real", &windows);
    }
}

criterion_group!(benches, hour);
criterion_main!(benches);
