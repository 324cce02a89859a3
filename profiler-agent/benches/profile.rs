//! What the profile stage and the views cost: for each sample, and at the end of a recording.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use profiler_agent::model::choice::EventChoice;
use profiler_agent::model::frame::{Binary, BinaryKind, Frame, Segment, Stack};
use profiler_agent::model::losses::Losses;
use profiler_agent::model::names::{NamedLine, Names};
use profiler_agent::model::observation::{Activity, Observation, ThreadInfo};
use profiler_agent::profile::{Limits, Meta, Window, encode};
use profiler_agent::view::{Format, Options, render};
use profiler_proto::pprof::{encode_gz, validate};

/// Stacks in the recording that is encoded.
const STACKS: u64 = 10_000;

fn binary() -> Arc<Binary> {
    Arc::new(Binary {
        id: 0,
        path: "/usr/bin/bench".to_owned(),
        kind: BinaryKind::File,
        build_id: "00ff".to_owned(),
        file: None,
        debug: None,
        segments: vec![Segment { file_offset: 0, file_size: 1 << 30, address: 0x1000 }],
        problem: None,
    })
}

/// A thread's sample at the end of a path through a tree of 1,000 functions.
fn sample(binary: &Arc<Binary>, depth: u64, seed: u64) -> Observation {
    let thread = (seed % 16) as u32;
    let frame = |level: u64| Frame::Native {
        binary: Arc::clone(binary),
        // The outer half of a path is common to many, the inner half to few.
        offset: if level < depth / 2 { (seed * 31 + level * 7) % 1_000 } else { level } * 16,
    };
    Observation {
        thread: Arc::new(ThreadInfo {
            pid: 100,
            tid: 100 + thread,
            process: "bench".into(),
            thread: format!("worker-{thread}").into(),
            cgroup: "/system.slice/bench.service".into(),
            service: "bench".into(),
        }),
        stack: (0..depth).map(frame).collect::<Stack>(),
        activity: Activity::OnCpu,
        count: 1,
        ns: 10_101_010,
    }
}

fn names(binary: &Arc<Binary>) -> Names {
    let named = |n: u64| {
        let name: Arc<str> = format!("bench::module_{}::function_{n}", n % 10).into();
        let frame = Frame::Native { binary: Arc::clone(binary), offset: n * 16 };
        let line =
            NamedLine { system_name: Arc::clone(&name), function: name, ..NamedLine::default() };
        (frame.key(), [line].into())
    };
    (0..1_000).map(named).collect()
}

fn meta() -> Meta {
    Meta {
        kind: EventChoice::OnCpu,
        time_nanos: 1,
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

fn add(criterion: &mut Criterion) {
    let binary = binary();
    for depth in [10, 40, 120] {
        let known: Vec<_> = (0..1_000).map(|seed| sample(&binary, depth, seed)).collect();
        let mut window = Window::new(Limits::default());
        known.iter().for_each(|sample| window.add(sample.clone()));
        let mut next = known.iter().cycle().cloned();
        criterion.bench_function(&format!("a sample seen before, {depth} frames"), |bencher| {
            bencher.iter(|| next.next().map(|sample| window.add(sample)));
        });
        let mut seed = 0;
        let mut new = || {
            seed += 1;
            sample(&binary, depth, seed)
        };
        let mut window =
            Window::new(Limits { stacks: usize::MAX, frames: usize::MAX, ..Limits::default() });
        criterion.bench_function(
            &format!("a sample with a new stack, {depth} frames"),
            |bencher| {
                bencher.iter_batched(&mut new, |sample| window.add(sample), BatchSize::SmallInput);
            },
        );
    }
}

fn finish(criterion: &mut Criterion) {
    let binary = binary();
    let mut window = Window::new(Limits::default());
    (0..STACKS).for_each(|seed| window.add(sample(&binary, 40, seed)));
    let (names, meta) = (names(&binary), meta());
    let profile = encode(&window, &names, &meta);
    let mut group = criterion.benchmark_group(format!("{STACKS} stacks of 40 frames"));
    group.sample_size(10);
    group.bench_function("encode", |bencher| bencher.iter(|| encode(&window, &names, &meta)));
    group.bench_function("gzip", |bencher| bencher.iter(|| encode_gz(black_box(&profile))));
    group.bench_function("validate", |bencher| bencher.iter(|| validate(black_box(&profile))));
    for format in [Format::Svg, Format::Folded, Format::Text] {
        group.bench_function(format.name(), |bencher| {
            let mut output = Vec::new();
            bencher.iter(|| {
                output.clear();
                render(format, black_box(&profile), &Options::default(), &mut output)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, add, finish);
criterion_main!(benches);
