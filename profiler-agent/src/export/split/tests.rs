//! Splitting, by windows that are made for it.

use profiler_proto::pprof::{Function, Label, Line, Location, Mapping, ValueType};

use super::*;

const SECOND: u64 = 1_000_000_000;

const PLAIN: Options = Options { cpu_as_samples: false, comments: true, bare_addresses: false };

/// A window in the making: strings by text.
#[derive(Default)]
struct Maker(Profile);

impl Maker {
    fn new() -> Self {
        let mut maker = Self::default();
        maker.text("");
        maker
    }

    fn text(&mut self, text: &str) -> i64 {
        let table = &mut self.0.string_table;
        let known = table.iter().position(|s| s == text);
        known.unwrap_or_else(|| {
            table.push(text.to_owned());
            table.len() - 1
        }) as i64
    }

    fn mapping(&mut self, file: &str, build_id: &str) -> u64 {
        let id = self.0.mapping.len() as u64 + 1;
        let (filename, build_id) = (self.text(file), self.text(build_id));
        self.0.mapping.push(Mapping { id, filename, build_id, ..Mapping::default() });
        id
    }

    fn location(&mut self, mapping_id: u64, address: u64, name: &str) -> u64 {
        let id = self.0.location.len() as u64 + 1;
        let name = self.text(name);
        let function = Function { id, name, system_name: name, ..Function::default() };
        self.0.function.push(function);
        let line = vec![Line { function_id: id, line: 0 }];
        self.0.location.push(Location { id, mapping_id, address, line, is_folded: false });
        id
    }

    fn sample(&mut self, stack: &[u64], value: [i64; 4], labels: &[(&str, &str)]) {
        let mut label = Vec::new();
        for (key, text) in labels {
            let (key, str) = (self.text(key), self.text(text));
            label.push(Label { key, str, ..Label::default() });
        }
        let sample = Sample { location_id: stack.to_vec(), value: value.to_vec(), label };
        self.0.sample.push(sample);
    }

    fn finish(mut self) -> Finished {
        let types = [
            ("samples", "count"),
            ("cpu", "nanoseconds"),
            ("blocks", "count"),
            ("off_cpu", "nanoseconds"),
        ];
        self.0.sample_type =
            types.map(|(t, u)| ValueType { ty: self.text(t), unit: self.text(u) }).to_vec();
        let (ty, unit) = (self.text("cpu"), self.text("nanoseconds"));
        self.0.period_type = Some(ValueType { ty, unit });
        self.0.period = 10;
        self.0.time_nanos = 1_800_000_000_000_000_000;
        self.0.duration_nanos = 10_000_000_000;
        Finished {
            start_unix_ns: 1_800_000_000 * SECOND,
            duration_ns: 10 * SECOND,
            profile: pprof::encode_gz(&self.0).unwrap().into(),
        }
    }
}

/// Splits, and checks what every part must be.
fn split_well(window: &Finished, options: Options) -> Split {
    let split = split(window, options).unwrap();
    for series in &split.series {
        for (n, part) in series.parts.iter().enumerate() {
            assert_eq!(pprof::validate(part), Ok(()));
            assert!(part.sample.len() <= part::MAX_SAMPLES);
            let bytes = pprof::encode(part).len();
            assert!(bytes <= part::MAX_BYTES, "{bytes} bytes");
            assert_eq!(part.time_nanos, 1_800_000_000_000_000_000 + n as i64);
            assert!(part.sample.iter().all(|s| s.label.is_empty()));
        }
    }
    split
}

fn text(part: &Profile, index: i64) -> &str {
    &part.string_table[index as usize]
}

fn names(split: &Split) -> Vec<(&str, Kind, usize)> {
    split.series.iter().map(|s| (s.service.as_str(), s.kind, s.parts.len())).collect()
}

#[test]
fn a_series_for_each_service_and_kind_with_equal_stacks_added_up() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    let main = maker.location(app, 0x10, "main");
    maker.sample(&[main], [2, 20, 0, 0], &[("service", "web"), ("thread", "a")]);
    maker.sample(&[main], [1, 10, 0, 0], &[("service", "web"), ("thread", "b")]);
    maker.sample(&[main], [0, 0, 1, 7], &[("service", "web"), ("state", "D")]);
    maker.sample(&[main], [1, 10, 0, 0], &[]);
    let window = maker.finish();
    let split = split_well(&window, PLAIN);
    let due = [("unknown_service", Kind::Cpu, 1), ("web", Kind::Cpu, 1), ("web", Kind::OffCpu, 1)];
    assert_eq!(names(&split), due);
    let values: Vec<_> = split.series.iter().map(|s| s.parts[0].sample[0].value[0]).collect();
    assert_eq!(values, [10, 30, 7]);
    let periods: Vec<_> = split.series.iter().map(|s| s.parts[0].period).collect();
    assert_eq!(periods, [10, 10, 1]);

    let counted = split_well(&window, Options { cpu_as_samples: true, ..PLAIN });
    let cpu = &counted.series[1].parts[0];
    assert_eq!((cpu.sample[0].value[0], text(cpu, cpu.sample_type[0].ty)), (3, "samples"));
    assert_eq!(text(cpu, cpu.period_type.as_ref().unwrap().ty), "cpu");
}

#[test]
fn number_times_period_is_the_time_whatever_the_rate_was() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    let [usual, burst, both, odd] =
        ["usual", "burst", "both", "odd"].map(|name| maker.location(app, 1, name));
    let service = [("service", "web")];
    maker.sample(&[usual], [2, 20, 0, 0], &service);
    // A period of 4 in place of 10, in two threads; and one stack at both rates.
    maker.sample(&[burst], [30, 120, 0, 0], &service);
    maker.sample(&[burst], [10, 40, 0, 0], &service);
    maker.sample(&[both], [3, 19, 0, 0], &service);
    maker.sample(&[both], [4, 40, 0, 0], &service);
    // A third rate, and of fewer samples.
    maker.sample(&[odd], [2, 14, 0, 0], &service);
    let split = split_well(&maker.finish(), Options { cpu_as_samples: true, ..PLAIN });
    let [series] = split.series.as_slice() else { panic!("{:?}", names(&split)) };
    let found: Vec<_> = series
        .parts
        .iter()
        .map(|part| {
            let values: Vec<i64> = part.sample.iter().map(|s| s.value[0]).collect();
            (part.period, values)
        })
        .collect();
    assert_eq!(found, [(1, vec![19, 14]), (4, vec![40]), (10, vec![2, 4])]);
}

#[test]
fn losses_and_notes_are_said_in_each_part_if_comments_are_wanted() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    let main = maker.location(app, 0x10, "main");
    maker.sample(&[main], [2, 20, 1, 7], &[("service", "web")]);
    for line in ["host: h", "count.lost: 3", "count.none: 0", "note: a: b", "no key"] {
        let line = maker.text(line);
        maker.0.comment.push(line);
    }
    let window = maker.finish();
    let said = ["count.lost: 3", "note: a: b"];
    for comments in [true, false] {
        let split = split_well(&window, Options { comments, ..PLAIN });
        assert_eq!(split.series.len(), 2);
        for series in &split.series {
            assert_eq!(series.said, said);
            let part = &series.parts[0];
            let lines: Vec<_> = part.comment.iter().map(|index| text(part, *index)).collect();
            assert_eq!(lines, if comments { &said[..] } else { &[] });
        }
    }
}

#[test]
fn the_executable_of_each_service_comes_first() {
    let mut maker = Maker::new();
    let libc = maker.mapping("/lib/libc.so.6", "");
    let kernel = maker.mapping("[kernel.kallsyms]", "");
    let web = maker.mapping("/usr/bin/web", "");
    let db = maker.mapping("/usr/bin/db", "");
    let [l, k, w, d] = [(libc, "l"), (kernel, "k"), (web, "w"), (db, "d")]
        .map(|(mapping, name)| maker.location(mapping, 1, name));
    maker.sample(&[k, l, w], [1, 10, 0, 0], &[("service", "web"), ("comm", "web")]);
    maker.sample(&[k, l, d], [1, 10, 0, 0], &[("service", "db"), ("comm", "postgres")]);
    maker.sample(&[k], [1, 10, 0, 0], &[("service", "[kernel]")]);
    let split = split_well(&maker.finish(), PLAIN);
    let first = |s: &Series| text(&s.parts[0], s.parts[0].mapping[0].filename).to_owned();
    let firsts: Vec<_> = split.series.iter().map(first).collect();
    assert_eq!(firsts, ["[kernel.kallsyms]", "/usr/bin/db", "/usr/bin/web"]);
}

#[test]
fn many_samples_make_several_parts_and_none_is_lost() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    let locations: Vec<_> =
        (0..200).map(|n| maker.location(app, n + 1, &format!("f{n}"))).collect();
    for n in 0..33_000_usize {
        let stack = [locations[n % 200], locations[n / 200]];
        maker.sample(&stack, [1, 1 + n as i64, 0, 0], &[("service", "a")]);
    }
    let split = split_well(&maker.finish(), PLAIN);
    assert_eq!(names(&split), [("a", Kind::Cpu, 3)]);
    let samples = || split.series[0].parts.iter().flat_map(|p| &p.sample);
    assert_eq!(samples().count(), 33_000);
    assert_eq!(samples().map(|s| s.value[0]).sum::<i64>(), (1..=33_000_i64).sum::<i64>());
    assert_eq!(split.left_out, LeftOut::default());
}

#[test]
fn long_names_make_parts_by_bytes_and_a_stack_that_fits_nowhere_is_counted() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    for n in 0..100 {
        let name = format!("{n}{}", "x".repeat(50_000));
        let location = maker.location(app, n + 1, &name);
        maker.sample(&[location], [1, 10, 0, 0], &[("service", "a")]);
    }
    let giant = maker.location(app, 1000, &"y".repeat(part::MAX_BYTES));
    maker.sample(&[giant], [1, 10, 0, 0], &[("service", "a")]);
    let split = split_well(&maker.finish(), PLAIN);
    assert!((3..=4).contains(&split.series[0].parts.len()), "{:?}", names(&split));
    let samples: usize = split.series[0].parts.iter().map(|p| p.sample.len()).sum();
    assert_eq!((samples, split.left_out.samples), (100, 1));
}

#[test]
fn what_no_backend_takes_is_left_out_and_counted() {
    let mut maker = Maker::new();
    let app = maker.mapping("/bin/app", "ab");
    let main = maker.location(app, 1, "main");
    let dangling = maker.location(77, 2, "nowhere");
    let service = [("service", "a")];
    maker.sample(&[main], [0, 0, 0, 0], &service);
    maker.sample(&[main], [-1, -5, 0, 0], &service);
    maker.sample(&[], [1, 10, 0, 0], &service);
    maker.sample(&[main, dangling], [1, 10, 0, 0], &service);
    maker.sample(&[9999], [1, 10, 0, 0], &service);
    maker.sample(&[main; MAX_DEPTH + 5], [1, 10, 0, 0], &service);
    let split = split_well(&maker.finish(), PLAIN);
    assert_eq!(split.series[0].parts[0].sample[0].location_id.len(), MAX_DEPTH);
    assert_eq!(split.left_out, LeftOut { samples: 5, cut_stacks: 1, malformed: 0 });
}

#[test]
fn a_place_goes_without_its_line_only_where_a_server_can_name_it() {
    let mut maker = Maker::new();
    let with = maker.mapping("/lib/liba.so", "abcd");
    let without = maker.mapping("/lib/libb.so", "");
    let a = maker.location(with, 0x12, "[liba.so+0x12]");
    let b = maker.location(without, 0x12, "[libb.so+0x12]");
    let c = maker.location(with, 0x34, "[odd name]");
    maker.sample(&[a, b, c], [1, 10, 0, 0], &[("service", "a")]);
    let window = maker.finish();
    for (options, due) in
        [(PLAIN, [1, 1, 1]), (Options { bare_addresses: true, ..PLAIN }, [0, 1, 1])]
    {
        let split = split_well(&window, options);
        let locations = &split.series[0].parts[0].location;
        let lines: Vec<_> = locations.iter().map(|l| l.line.len()).collect();
        assert_eq!(lines, due);
    }
}

#[test]
fn a_window_splits_the_same_way_each_time() {
    let mut maker = Maker::new();
    for n in 0..50 {
        let mapping = maker.mapping(&format!("/bin/app{n}"), "ab");
        let location = maker.location(mapping, 1, "main");
        let service = format!("s{}", n % 7);
        maker.sample(&[location], [1, 10, 0, 0], &[("service", &service)]);
    }
    let window = maker.finish();
    let parts =
        |split: Split| -> Vec<Profile> { split.series.into_iter().flat_map(|s| s.parts).collect() };
    assert_eq!(parts(split_well(&window, PLAIN)), parts(split_well(&window, PLAIN)));
}
