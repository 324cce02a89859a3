//! Against a plain sum over all samples with their names written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use profiler_common::thread::ThreadState;
use profiler_proto::pprof::{Sample, decode, encode, encode_gz, encode_zstd, validate};

use super::*;
use crate::model::choice::EventChoice;
use crate::model::conventions::{comment, mapping};
use crate::model::frame::{Frame, Stack};
use crate::model::losses::Losses;
use crate::model::names::{NamedLine, Names};
use crate::model::query::Filter;
use crate::profile::testing::{binary, native, off_cpu, on_cpu, thread};
use crate::profile::{Meta, Window as Recorded, encode as encode_window, window};

use profiler_proto::pprof::Profile;

const SECOND: u64 = 1_000_000_000;

fn meta(kind: EventChoice, number: u64) -> Meta {
    let mut losses = Losses::default();
    losses.add("samples_lost_ring_full", number);
    Meta {
        kind,
        time_nanos: (100 + 10 * number) * SECOND,
        duration_nanos: 10 * SECOND,
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
        notes: Vec::new(),
    }
}

/// Windows of three processes in two files, whose tables are in another order each time.
fn recorded(number: u64, kind: EventChoice) -> Recorded {
    let mut window = Recorded::new(window::Limits::default());
    let files = [binary(0, "/bin/app"), binary(1, "/lib/libc.so.6")];
    for n in 0..60 {
        let seed = (n * 7919 + number * 104_729) % 97;
        let owner = thread(
            1 + (seed % 3) as u32,
            10 + (seed % 7) as u32,
            ["app", "db", "web"][(seed % 3) as usize],
        );
        let frame = |level: u64| {
            native(&files[((seed + level) % 2) as usize], 0x200 + (seed * level) % 31 * 16)
        };
        let stack: Stack = (0..1 + seed % 9).map(frame).collect();
        if kind.on_cpu() {
            window.add(on_cpu(&owner, &stack, 1 + seed % 5));
        }
        if kind.off_cpu() && seed.is_multiple_of(2) {
            window.add(off_cpu(&owner, &stack, ThreadState::Sleeping, 1 + seed));
        }
    }
    window
}

fn names() -> Names {
    let mut names = Names::default();
    for file in [binary(0, "/bin/app"), binary(1, "/lib/libc.so.6")] {
        // Every third place has no name, every fourth one that is inlined.
        for n in (0..31).filter(|n| n % 3 > 0) {
            let name = |text: String| NamedLine {
                function: text.as_str().into(),
                system_name: format!("_{text}").into(),
                file: "app.rs".into(),
                line: n,
            };
            let mut lines = vec![name(format!("f{n}"))];
            if n % 4 == 0 {
                lines.insert(0, name(format!("inlined{n}")));
            }
            names.insert(native(&file, 0x200 + u64::from(n) * 16).key(), lines.into());
        }
    }
    names
}

fn profile(number: u64, kind: EventChoice) -> Profile {
    encode_window(&recorded(number, kind), &names(), &meta(kind, number))
}

fn wall() -> Filter {
    Filter { event: EventChoice::Wall, ..Filter::default() }
}

fn merge_all(windows: &[Vec<u8>], filter: &Filter, threads: usize) -> Ended {
    let job = Job { filter: filter.clone(), limits: Limits::default(), threads, deadline: None };
    let read = |window: &Vec<u8>| Ok::<_, String>(Some(window.clone()));
    merge(windows, &job, || "too late".to_owned(), read).unwrap()
}

/// Each sample with everything written out, and the sums of its values.
fn sums(profiles: &[Profile], wanted: impl Fn(&str) -> bool) -> BTreeMap<String, [i64; 4]> {
    let mut sums = BTreeMap::<String, [i64; 4]>::new();
    for profile in profiles {
        let string = |index: i64| profile.string_table[index as usize].as_str();
        for sample in &profile.sample {
            let text = written_out(profile, sample);
            let values = sums.entry(text.clone()).or_default();
            for (ty, value) in profile.sample_type.iter().zip(&sample.value) {
                let at = ["samples", "cpu", "blocks", "off_cpu"]
                    .iter()
                    .position(|n| *n == string(ty.ty));
                values[at.unwrap()] += value;
            }
        }
    }
    sums.retain(|text, values| wanted(text) && values.iter().any(|v| *v > 0));
    sums
}

fn written_out(profile: &Profile, sample: &Sample) -> String {
    let string = |index: i64| profile.string_table[index as usize].as_str();
    let mut text = String::new();
    for label in &sample.label {
        text += &format!("{}={}{} ", string(label.key), string(label.str), label.num);
    }
    for id in &sample.location_id {
        let location = &profile.location[*id as usize - 1];
        let mapping = &profile.mapping[location.mapping_id as usize - 1];
        text += &format!(
            "|{}@{} {:x}",
            string(mapping.filename),
            string(mapping.build_id),
            location.address
        );
        for line in &location.line {
            let f = &profile.function[line.function_id as usize - 1];
            text += &format!(
                " {}/{}/{}:{}",
                string(f.name),
                string(f.system_name),
                string(f.filename),
                line.line
            );
        }
    }
    text
}

fn comments(profile: &Profile) -> Vec<&str> {
    profile.comment.iter().map(|c| profile.string_table[*c as usize].as_str()).collect()
}

#[test]
fn a_merge_is_the_sum_of_its_windows_on_any_number_of_threads() {
    let profiles: Vec<_> = (0..9).map(|n| profile(n, EventChoice::Wall)).collect();
    let pack = |(n, profile): (usize, &Profile)| match n % 3 {
        0 => encode_gz(profile).unwrap(),
        1 => encode_zstd(profile).unwrap(),
        _ => encode(profile),
    };
    let windows: Vec<_> = profiles.iter().enumerate().map(pack).collect();
    for threads in [1, 2, 4, 20] {
        let ended = merge_all(&windows, &wall(), threads);
        assert_eq!(ended.unreadable, Vec::<String>::new());
        let merged = ended.merged;
        assert_eq!(validate(&merged.profile), Ok(()));
        assert_eq!(merged.windows, 9);
        assert_eq!(
            sums(std::slice::from_ref(&merged.profile), |_| true),
            sums(&profiles, |_| true)
        );
        assert_eq!(merged.profile.time_nanos as u64, 100 * SECOND);
        assert_eq!(merged.profile.duration_nanos as u64, 90 * SECOND);
        assert_eq!(merged.profile.period, 10);
        let main = merged.profile.mapping[0].filename;
        assert_eq!(merged.profile.string_table[main as usize], "/bin/app");
        assert!(merged.profile.location.len() <= 62, "each place once");
        assert_eq!(merge_all(&windows, &wall(), threads).merged, merged, "the same again");
    }
}

#[test]
fn a_filter_takes_what_it_names_and_nothing_else() {
    let profiles: Vec<_> = (0..5).map(|n| profile(n, EventChoice::Wall)).collect();
    let windows: Vec<_> = profiles.iter().map(encode).collect();
    let label = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    for (filter, part) in [
        (Filter { pid: Some(2), ..wall() }, "pid=2 "),
        (Filter { service: Some("a".into()), ..wall() }, "service=a0 "),
        (Filter { labels: label("comm", "db"), ..wall() }, "comm=db0 "),
        (Filter { labels: label("tid", "12"), ..wall() }, "tid=12 "),
        (Filter { labels: label("state", "sleeping"), ..wall() }, "state=sleeping0 "),
        (Filter { labels: label("comm", "nobody"), ..wall() }, "comm=nobody"),
        (Filter { service: Some("".into()), ..wall() }, "service= "),
    ] {
        let merged = merge_all(&windows, &filter, 2).merged.profile;
        assert_eq!(validate(&merged), Ok(()), "{filter:?}");
        assert_eq!(
            sums(std::slice::from_ref(&merged), |_| true),
            sums(&profiles, |t| t.contains(part)),
            "{filter:?}"
        );
        assert!(!comments(&merged).contains(&"scope: whole host"), "{filter:?}");
    }
    for event in [EventChoice::OnCpu, EventChoice::OffCpu] {
        let merged = merge_all(&windows, &Filter { event, ..wall() }, 2).merged.profile;
        assert_eq!(validate(&merged), Ok(()));
        let off = event == EventChoice::OffCpu;
        assert_eq!(
            sums(std::slice::from_ref(&merged), |_| true),
            sums(&profiles, |text| text.contains("state=") == off)
        );
        assert_eq!(merged.sample_type.len(), 2);
        assert!(comments(&merged).contains(&&*format!("event: {}", event.name())));
        assert_eq!(comments(&merged).iter().any(|c| c.starts_with("frequency")), !off);
    }
}

#[test]
fn what_windows_say_of_themselves_is_kept() {
    let mut metas: Vec<_> = (1..=4).map(|n| meta(EventChoice::Wall, n)).collect();
    metas[1].frequency = 49;
    metas[1].period_ns = 20;
    metas[2].notes = vec!["no kernel names".into()];
    metas[3].min_block_ns = 2_000;
    let windows = |metas: &[Meta]| -> Vec<Vec<u8>> {
        let encoded = |m| encode(&encode_window(&recorded(1, EventChoice::Wall), &names(), m));
        metas.iter().map(encoded).collect()
    };
    let merged = merge_all(&windows(&metas), &wall(), 2).merged.profile;
    let found = comments(&merged);
    for comment in [
        "host: web-1",
        "frequency: 49 to 99 Hz",
        "min_block: 1000 ns, 2000 ns",
        "count.samples_lost_ring_full: 10",
        "event: wall",
        "scope: whole host",
        "note: no kernel names (in 1 of 4 windows)",
    ] {
        assert!(found.contains(&comment), "{comment} is not in {found:?}");
    }
    assert_eq!(found.iter().filter(|c| c.starts_with(comment::AGENT)).count(), 1);
    assert_eq!(merged.period, 10, "what a sample stands for on average: here all say 10");
    let many: Vec<_> = (0..100)
        .map(|n| Meta { notes: vec![format!("note {n}")], ..meta(EventChoice::Wall, 1) })
        .collect();
    let merged = merge_all(&windows(&many), &wall(), 2).merged.profile;
    let notes = comments(&merged).iter().filter(|c| c.starts_with("note: ")).count();
    assert!((20..=70).contains(&notes), "{notes}");
    assert!(comments(&merged).iter().any(|c| c.starts_with("note: others (in ")));
}

#[test]
fn windows_of_different_events_stand_side_by_side() {
    let profiles = [profile(1, EventChoice::OnCpu), profile(2, EventChoice::OffCpu)];
    let windows: Vec<_> = profiles.iter().map(encode).collect();
    let merged = merge_all(&windows, &wall(), 1).merged.profile;
    assert_eq!(validate(&merged), Ok(()));
    assert_eq!(merged.sample_type.len(), 4);
    assert_eq!(sums(std::slice::from_ref(&merged), |_| true), sums(&profiles, |_| true));
    let merged = merge_all(&windows[..1], &wall(), 1).merged.profile;
    assert_eq!(merged.sample_type.len(), 2, "nothing off-CPU was recorded");
}

#[test]
fn past_the_limits_the_sum_is_right_and_says_what_is_missing() {
    let profiles: Vec<_> = (0..4).map(|n| profile(n, EventChoice::Wall)).collect();
    let totals = |profile: &Profile| {
        profile
            .sample
            .iter()
            .fold([0; 4], |sum: [i64; 4], sample| std::array::from_fn(|i| sum[i] + sample.value[i]))
    };
    let all = profiles.iter().map(totals).fold([0; 4], |a, b| std::array::from_fn(|i| a[i] + b[i]));
    for limits in
        [Limits { samples: 30, ..Limits::default() }, Limits { frames: 50, ..Limits::default() }]
    {
        let mut mergers = [Merger::new(wall(), limits), Merger::new(wall(), limits)];
        for (n, profile) in profiles.iter().enumerate() {
            mergers[n % 2].add(&encode(profile)).unwrap();
        }
        let [mut merger, other] = mergers;
        merger.join(other);
        let merged = merger.finish().profile;
        assert_eq!(validate(&merged), Ok(()));
        assert_eq!(totals(&merged), all);
        let is_full = |c: &&str| c.starts_with("count.samples_without_stack_table_full: ");
        assert_eq!(comments(&merged).into_iter().filter(is_full).count(), 1);
        let marker = |m: &profiler_proto::pprof::Mapping| {
            merged.string_table[m.filename as usize] == mapping::MARKER
        };
        assert!(merged.mapping.iter().any(marker));
        assert!(merged.sample.len() <= 31 || limits.frames == 50);
    }
}

#[test]
fn a_window_that_cannot_be_read_leaves_nothing_behind() {
    let good = encode(&profile(1, EventChoice::Wall));
    let foreign = {
        let mut profile = profile(1, EventChoice::Wall);
        let at = profile.string_table.iter().position(|s| s == "cpu").unwrap();
        profile.string_table[at] = "alloc_space".into();
        encode(&profile)
    };
    let ended = merge_all(&[good.clone(), b"noise".to_vec(), foreign, Vec::new()], &wall(), 2);
    assert_eq!(ended.unreadable.len(), 3);
    assert!(ended.unreadable[1].contains("alloc_space/nanoseconds"), "{:?}", ended.unreadable);
    let alone = merge_all(std::slice::from_ref(&good), &wall(), 1).merged.profile;
    assert_eq!(sums(&[ended.merged.profile], |_| true), sums(&[alone], |_| true));
}

#[test]
fn damaged_windows_never_panic_and_what_is_merged_is_valid_or_was_not_before() {
    let good = encode(&profile(1, EventChoice::Wall));
    let mut state = 1u64;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % sides
    };
    for _ in 0..3_000 {
        let mut bytes = good.clone();
        for _ in 0..=roll(3) {
            let at = roll(bytes.len());
            bytes[at] = roll(256) as u8;
        }
        let mut merger = Merger::new(wall(), Limits::default());
        if merger.add(&bytes).is_ok() {
            let merged = merger.finish().profile;
            if validate(&decode(&bytes).unwrap()).is_ok() {
                assert_eq!(validate(&merged), Ok(()));
            }
        }
    }
}

#[test]
fn an_hour_after_which_nobody_waits_is_given_up() {
    let window = Arc::new(encode(&profile(1, EventChoice::Wall)));
    let job = Job {
        filter: wall(),
        limits: Limits::default(),
        threads: 2,
        deadline: Some(std::time::Instant::now()),
    };
    let read = |_: &u32| Ok::<_, &str>(Some(window.to_vec()));
    assert_eq!(merge(&[1, 2, 3], &job, || "too late", read), Err("too late"));
    let gone = |_: &u32| Ok::<Option<Vec<u8>>, &str>(None);
    let job = Job { deadline: None, ..job };
    assert_eq!(merge(&[1, 2, 3], &job, || "too late", gone).unwrap().merged.windows, 0);
    let failing = |_: &u32| Err::<Option<Vec<u8>>, _>("the disk");
    assert_eq!(merge(&[1, 2, 3], &job, || "too late", failing), Err("the disk"));
}

#[test]
fn frames_of_one_place_in_two_builds_stay_apart() {
    let window = |build_id: &str| {
        let mut file = Arc::into_inner(binary(0, "/bin/app")).unwrap();
        file.build_id = build_id.to_owned();
        let mut window = Recorded::new(window::Limits::default());
        let stack: Stack = [Frame::Native { binary: Arc::new(file), offset: 0x200 }].into();
        window.add(on_cpu(&thread(1, 1, "app"), &stack, 1));
        encode(&encode_window(&window, &names(), &meta(EventChoice::Wall, 1)))
    };
    let merged = merge_all(&[window("aa"), window("bb"), window("aa")], &wall(), 1).merged.profile;
    assert_eq!((merged.mapping.len(), merged.location.len(), merged.sample.len()), (2, 2, 2));
    assert_eq!(merged.function.len(), 1, "its name is the same");
}
