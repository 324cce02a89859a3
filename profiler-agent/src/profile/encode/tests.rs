//! The shape of the profile, as text with all references resolved.

mod executable;
mod limits;

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};
use profiler_common::thread::ThreadState;
use profiler_common::walk::WalkEnd;
use profiler_proto::pprof::{decode, encode_gz, validate};

use super::*;
use crate::model::frame::{Binary, BinaryKind, Frame, Marker, Stack};
use crate::model::losses::Losses;
use crate::model::names::NamedLine;
use crate::model::observation::Observation;
use crate::profile::testing::{binary, jit, kernel_stack, native, off_cpu, on_cpu, thread};
use crate::profile::window::Limits;

fn meta(kind: EventChoice) -> Meta {
    let mut losses = Losses::default();
    losses.add("samples_lost_ring_full", 3);
    losses.add("frames_without_name", 2);
    Meta {
        kind,
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        period_ns: 10,
        frequency: 99,
        clock: "cycles".into(),
        min_block_ns: 1_000,
        host: "web-1".into(),
        kernel: "6.18.5".into(),
        arch: "x86_64".into(),
        scope: "whole host".into(),
        executable: None,
        losses,
        notes: vec!["no kernel names: kptr_restrict is 2".into()],
    }
}

fn name(function: &str, system_name: &str, file: &str, line: u32) -> NamedLine {
    NamedLine {
        function: function.into(),
        system_name: system_name.into(),
        file: file.into(),
        line,
    }
}

/// A profile as text, all references resolved.
fn dump(profile: &Profile) -> String {
    let string = |i: i64| profile.string_table[i as usize].as_str();
    let types = |t: &ValueType| format!("{}/{}", string(t.ty), string(t.unit));
    let mut text = String::new();
    for t in &profile.sample_type {
        text += &format!("type {}\n", types(t));
    }
    let period_type = profile.period_type.as_ref().unwrap();
    text += &format!("period {} {}\n", profile.period, types(period_type));
    for m in &profile.mapping {
        let claims = [
            (m.has_functions, " functions"),
            (m.has_filenames, " files"),
            (m.has_line_numbers, " lines"),
            (m.has_inline_frames, " inlines"),
        ];
        let claims: String = claims.iter().filter(|(is, _)| *is).map(|(_, t)| *t).collect();
        text += &format!(
            "mapping {} {:?} {:?}{claims}\n",
            m.id,
            string(m.filename),
            string(m.build_id)
        );
    }
    for l in &profile.location {
        text += &format!("location {} in {} at {:#x}:", l.id, l.mapping_id, l.address);
        for line in &l.line {
            let f = &profile.function[line.function_id as usize - 1];
            let (name, system_name, file) =
                (string(f.name), string(f.system_name), string(f.filename));
            text += &format!(" {name}|{system_name}|{file}:{}", line.line);
        }
        text += "\n";
    }
    for s in &profile.sample {
        let labels: BTreeMap<_, _> = s
            .label
            .iter()
            .map(|l| {
                (string(l.key), if l.str != 0 { string(l.str).into() } else { l.num.to_string() })
            })
            .collect();
        text += &format!("sample {:?} {:?} {labels:?}\n", s.location_id, s.value);
    }
    text
}

fn check(window: &Window, names: &Names, meta: &Meta, expected: Expect) -> Profile {
    let profile = encode(window, names, meta);
    assert_eq!(validate(&profile), Ok(()));
    assert_eq!(decode(&encode_gz(&profile).unwrap()).unwrap(), profile);
    expected.assert_eq(&dump(&profile));
    profile
}

fn window(observations: impl IntoIterator<Item = Observation>) -> Window {
    let mut window = Window::new(Limits::default());
    observations.into_iter().for_each(|o| window.add(o));
    window
}

#[test]
fn a_wall_profile_has_both_kinds_of_time_and_all_kinds_of_frames() {
    let (app, c_lib) = (binary(1, "/usr/bin/app"), binary(0, "/lib/libc.so.6"));
    let vdso = Arc::new(Binary { kind: BinaryKind::Vdso, ..binary_like("[vdso]", 2) });
    let main = native(&app, 0x200);
    let stack: Stack = Arc::from([
        Frame::Kernel { address: 0xffff_ffff_8123_4567 },
        native(&vdso, 0x300),
        native(&c_lib, 0x400),
        jit(7, 0x7f00_1000),
        Frame::Unmapped { address: 0xdead },
        main.clone(),
        Frame::Marker(Marker::UserTruncated(WalkEnd::BrokenChain)),
    ]);
    let mut names = Names::default();
    names.insert(
        main.key(),
        Arc::from([
            name("inlined", "_ZN7inlinedE", "app.rs", 3),
            name("app::main", "_ZN3app4mainE", "app.rs", 9),
        ]),
    );
    let (a, b) = (thread(7, 7, "app"), thread(7, 8, "app"));
    let window = window([
        on_cpu(&a, &stack, 4),
        off_cpu(&a, &stack, ThreadState::Sleeping, 70),
        on_cpu(&b, &Arc::from([main]), 1),
    ]);
    let profile = check(
        &window,
        &names,
        &meta(EventChoice::Wall),
        expect![[r#"
        type samples/count
        type cpu/nanoseconds
        type blocks/count
        type off_cpu/nanoseconds
        period 10 cpu/nanoseconds
        mapping 1 "/usr/bin/app" "ab01" functions files lines inlines
        mapping 2 "[kernel.kallsyms]" ""
        mapping 3 "[vdso]" "ab02"
        mapping 4 "/lib/libc.so.6" "ab00"
        mapping 5 "[jit]" ""
        mapping 6 "[unknown]" ""
        mapping 7 "[profiler-agent]" "" functions
        location 1 in 2 at 0x0: [kernel+0x34567]|[kernel+0x34567]|:0
        location 2 in 3 at 0x1300: [vdso+0x1300]|[vdso+0x1300]|:0
        location 3 in 4 at 0x1400: [libc.so.6+0x1400]|[libc.so.6+0x1400]|:0
        location 4 in 5 at 0x7f001000: [jit]|[jit]|:0
        location 5 in 6 at 0xdead: [unknown]|[unknown]|:0
        location 6 in 1 at 0x1200: inlined|_ZN7inlinedE|app.rs:3 app::main|_ZN3app4mainE|app.rs:9
        location 7 in 7 at 0x0: [truncated: no frame pointer]|[truncated: no frame pointer]|:0
        sample [1, 2, 3, 4, 5, 6, 7] [4, 40, 0, 0] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "7"}
        sample [1, 2, 3, 4, 5, 6, 7] [0, 0, 1, 70] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "state": "sleeping", "thread": "app", "tid": "7"}
        sample [6] [1, 10, 0, 0] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "8"}
    "#]],
    );
    let comments: Vec<_> =
        profile.comment.iter().map(|c| profile.string_table[*c as usize].as_str()).collect();
    expect![[r#"
        profiler-agent: 0.1.0
        host: web-1
        kernel: 6.18.5 x86_64
        scope: whole host
        event: wall
        clock: cycles
        frequency: 99 Hz
        min_block: 1000 ns
        count.blocks_lost_ring_full: 0
        count.blocks_lost_thread_table_full: 0
        count.frames_without_name: 2
        count.processes_lost_mapping_table_full: 0
        count.processes_lost_target_table_full: 0
        count.resumes_lost_ring_full: 0
        count.samples_lost_ring_full: 3
        note: no kernel names: kptr_restrict is 2"#]]
    .assert_eq(&comments.join("\n"));
}

fn binary_like(path: &str, id: u32) -> Binary {
    Arc::into_inner(binary(id, path)).unwrap()
}

#[test]
fn each_kind_of_event_has_its_types() {
    let a = thread(7, 7, "app");
    let stack = kernel_stack([0xffff_ffff_8100_0000]);
    let window =
        window([on_cpu(&a, &stack, 1), off_cpu(&a, &stack, ThreadState::Uninterruptible, 5)]);
    check(
        &window,
        &Names::default(),
        &meta(EventChoice::OnCpu),
        expect![[r#"
        type samples/count
        type cpu/nanoseconds
        period 10 cpu/nanoseconds
        mapping 1 "[kernel.kallsyms]" ""
        location 1 in 1 at 0x0: [kernel+0x0]|[kernel+0x0]|:0
        sample [1] [1, 10] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "7"}
    "#]],
    );
    check(
        &window,
        &Names::default(),
        &meta(EventChoice::OffCpu),
        expect![[r#"
        type blocks/count
        type off_cpu/nanoseconds
        period 1 off_cpu/nanoseconds
        mapping 1 "[kernel.kallsyms]" ""
        location 1 in 1 at 0x0: [kernel+0x0]|[kernel+0x0]|:0
        sample [1] [1, 5] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "state": "uninterruptible", "thread": "app", "tid": "7"}
    "#]],
    );
}

#[test]
fn frames_that_say_the_same_share_a_location_and_samples_are_merged() {
    let a = thread(7, 7, "app");
    let mut names = Names::default();
    let addresses = [0xffff_ffff_8100_0010, 0xffff_ffff_8100_0020, 0xffff_ffff_8100_0030];
    for address in &addresses[..2] {
        names.insert(
            Frame::Kernel { address: *address }.key(),
            Arc::from([name("do_read", "do_read", "", 0)]),
        );
    }
    let window = window(addresses.map(|address| on_cpu(&a, &kernel_stack([address]), 1)));
    check(
        &window,
        &names,
        &meta(EventChoice::OnCpu),
        expect![[r#"
        type samples/count
        type cpu/nanoseconds
        period 10 cpu/nanoseconds
        mapping 1 "[kernel.kallsyms]" ""
        location 1 in 1 at 0x0: do_read|do_read|:0
        location 2 in 1 at 0x0: [kernel+0x30]|[kernel+0x30]|:0
        sample [1] [2, 20] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "7"}
        sample [2] [1, 10] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "7"}
    "#]],
    );
}

#[test]
fn a_file_without_segments_gives_its_offsets_as_such() {
    let blob = Arc::new(Binary { segments: Vec::new(), ..binary_like("/opt/blob", 0) });
    let window = window([on_cpu(&thread(7, 7, "app"), &Arc::from([native(&blob, 0x42)]), 1)]);
    check(
        &window,
        &Names::default(),
        &meta(EventChoice::OnCpu),
        expect![[r#"
        type samples/count
        type cpu/nanoseconds
        period 10 cpu/nanoseconds
        mapping 1 "/opt/blob" "ab00"
        location 1 in 1 at 0x0: [blob+0x42 in file]|[blob+0x42 in file]|:0
        sample [1] [1, 10] {"cgroup": "/a.service", "comm": "app", "pid": "7", "service": "a", "thread": "app", "tid": "7"}
    "#]],
    );
}

#[test]
fn kernel_places_do_not_tell_where_the_kernel_is() {
    let a = thread(7, 7, "app");
    let dump_at = |slide: u64| {
        let text = [0xffff_ffff_8100_1000, 0xffff_ffff_8180_0000].map(|a| a + slide);
        let addresses = text.into_iter().chain([0xffff_ffff_c001_0000]);
        let window = window(addresses.map(|a2| on_cpu(&a, &kernel_stack([a2]), 1)));
        dump(&encode(&window, &Names::default(), &meta(EventChoice::OnCpu)))
    };
    assert_eq!(dump_at(0), dump_at(14 << 21));
    assert!(dump_at(0).contains("[kernel+0x800000]"), "{}", dump_at(0));
    assert!(dump_at(0).contains("[kernel region 2+0x10000]"), "{}", dump_at(0));
}

#[test]
fn an_empty_window_is_a_valid_profile() {
    check(
        &window([]),
        &Names::default(),
        &meta(EventChoice::Wall),
        expect![[r#"
        type samples/count
        type cpu/nanoseconds
        type blocks/count
        type off_cpu/nanoseconds
        period 10 cpu/nanoseconds
    "#]],
    );
}
