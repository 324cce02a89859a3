//! Windows that are known stack by stack, and profiles as lists of stacks to compare them with.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use profiler_proto::pprof::{
    self, Function, Label, Line, Location, Mapping, Profile, Sample, ValueType,
};

/// A second, ns.
pub const SECOND: u64 = 1_000_000_000;

/// How long a window is, ns.
pub const LENGTH: u64 = 10 * SECOND;

/// CPU time that one sample stands for, ns: 99 per second.
pub const PERIOD: i64 = 10_101_010;

/// The same in a burst: 1,000 per second.
pub const BURST_PERIOD: i64 = 1_000_000;

/// What a window says of its losses, and what it has no need to say to a backend.
pub const SAID: [&str; 2] = ["count.samples_lost_ring_full: 7", "note: a note"];
const UNSAID: [&str; 2] = ["host: node-1", "count.blocks_lost_ring_full: 0"];

/// A frame: file, address, name. One without a name has its place for it.
pub type Frame = (String, u64, String);

/// Values of stacks (innermost frame first), by service and kind of time.
pub type Values = BTreeMap<(String, &'static str), BTreeMap<Vec<Frame>, i64>>;

/// A window that is known.
#[derive(Clone, Debug)]
pub struct Known {
    /// When it began (Unix time, ns).
    pub start: u64,
    /// As the agent encodes it.
    pub bytes: Vec<u8>,
    /// CPU time and blocked time, ns.
    pub values: Values,
}

/// Services of [`window`]: a name and the executable.
const SERVICES: [(&str, &str); 3] =
    [("web", "/usr/bin/web"), ("db.service", "/usr/sbin/db"), ("[kernel]", "")];

/// A window that begins at `start`, with so many different stacks of the first service, and a few of the
/// others. Some of their frames have no name, some are in the kernel.
///
/// # Errors
/// None, but those of the encoder.
pub fn window(start: u64, stacks: u64) -> Result<Known> {
    make(start, stacks, Maker::default())
}

/// The same, but the rate changed meanwhile: some stacks were sampled in a burst, and some both in it and
/// outside of it.
///
/// # Errors
/// None, but those of the encoder.
pub fn window_with_a_burst(start: u64, stacks: u64) -> Result<Known> {
    make(start, stacks, Maker { has_burst: true, ..Maker::default() })
}

fn make(start: u64, stacks: u64, mut maker: Maker) -> Result<Known> {
    maker.string("");
    for (service, executable) in SERVICES {
        let is_first = service == "web";
        for n in 0..if is_first { stacks } else { stacks.min(20) } {
            maker.sample(service, executable, n);
        }
    }
    let mut value_type =
        |ty: &str, unit: &str| ValueType { ty: maker.string(ty), unit: maker.string(unit) };
    let sample_type = vec![
        value_type("samples", "count"),
        value_type("cpu", "nanoseconds"),
        value_type("blocks", "count"),
        value_type("off_cpu", "nanoseconds"),
    ];
    let period_type = Some(value_type("cpu", "nanoseconds"));
    let comment = SAID.iter().chain(&UNSAID).map(|line| maker.string(line)).collect();
    let Maker { strings, profile, values, .. } = maker;
    let profile = Profile {
        sample_type,
        period_type,
        period: PERIOD,
        time_nanos: start.try_into()?,
        duration_nanos: LENGTH.try_into()?,
        string_table: strings,
        comment,
        ..profile
    };
    Ok(Known { start, bytes: pprof::encode_gz(&profile)?, values })
}

#[derive(Default)]
struct Maker {
    has_burst: bool,
    strings: Vec<String>,
    by_text: HashMap<String, i64>,
    functions: HashMap<i64, u64>,
    locations: HashMap<(u64, u64, u64), u64>,
    profile: Profile,
    values: Values,
}

impl Maker {
    fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.by_text.get(text) {
            return *known;
        }
        let index = self.strings.len() as i64;
        self.strings.push(text.to_owned());
        self.by_text.insert(text.to_owned(), index);
        index
    }

    /// Every other stack was on the CPU, the rest off it.
    fn sample(&mut self, service: &str, executable: &str, n: u64) {
        let mut frames: Vec<Frame> =
            vec![("[kernel.kallsyms]".to_owned(), 0, format!("do_syscall_{}", n % 50))];
        if !executable.is_empty() {
            let address = 0x1000 + n % 300 * 16;
            let library = "/usr/lib/libz.so.1".to_owned();
            frames.push((library, address, format!("[libz.so.1+{address:#x}]")));
            // Digits of the number: no two stacks are equal.
            for digit in [n % 40, n / 40 % 40, n / 1600] {
                let name = format!("{service}::f{digit}");
                frames.push((executable.to_owned(), 0x40_0000 + digit * 32, name));
            }
        } else {
            for digit in [n % 40, n / 40 % 40, n / 1600] {
                frames.push(("[kernel.kallsyms]".to_owned(), 0, format!("work_{digit}")));
            }
        }
        let location_id = frames.iter().map(|frame| self.location(frame)).collect();
        let count = i64::try_from(n % 7).unwrap_or_default() + 1;
        let (kind, value, time) = if n.is_multiple_of(2) {
            let (count, ns) = match n % 10 {
                4 if self.has_burst => (count, count * BURST_PERIOD),
                8 if self.has_burst => (count + 2, count * PERIOD + 2 * BURST_PERIOD),
                _ => (count, count * PERIOD),
            };
            ("cpu", vec![count, ns, 0, 0], ns)
        } else {
            ("off_cpu", vec![0, 0, count, count * 777_777], count * 777_777)
        };
        let mut label = vec![];
        for (key, text) in [("service", service), ("comm", executable)] {
            let text = text.rsplit('/').next().unwrap_or_default();
            if !text.is_empty() {
                let (key, str) = (self.string(key), self.string(text));
                label.push(Label { key, str, ..Label::default() });
            }
        }
        let key = self.string("pid");
        let num = i64::try_from(n % 3).unwrap_or_default() + 1;
        label.push(Label { key, num, ..Label::default() });
        self.profile.sample.push(Sample { location_id, value, label });
        let stacks = self.values.entry((service.to_owned(), kind)).or_default();
        *stacks.entry(frames).or_default() += time;
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        let (file, address, name) = frame;
        let mapping_id = self.mapping(file);
        let name = self.string(name);
        let function_id = self.function(name);
        let key = (mapping_id, *address, function_id);
        if let Some(known) = self.locations.get(&key) {
            return *known;
        }
        let id = self.profile.location.len() as u64 + 1;
        let line = vec![Line { function_id, line: 0 }];
        let location = Location { id, mapping_id, address: *address, line, is_folded: false };
        self.profile.location.push(location);
        self.locations.insert(key, id);
        id
    }

    fn function(&mut self, name: i64) -> u64 {
        if let Some(known) = self.functions.get(&name) {
            return *known;
        }
        let id = self.profile.function.len() as u64 + 1;
        let function = Function { id, name, system_name: name, ..Function::default() };
        self.profile.function.push(function);
        self.functions.insert(name, id);
        id
    }

    fn mapping(&mut self, file: &str) -> u64 {
        let filename = self.string(file);
        if let Some(known) = self.profile.mapping.iter().find(|m| m.filename == filename) {
            return known.id;
        }
        let id = self.profile.mapping.len() as u64 + 1;
        let build_id = match file.rsplit_once('/') {
            Some((_, name)) => {
                let hex: String = name.bytes().map(|b| format!("{b:02x}")).collect();
                self.string(&hex)
            }
            None => 0,
        };
        let has_functions = !file.contains("libz");
        let mapping = Mapping { id, filename, build_id, has_functions, ..Mapping::default() };
        self.profile.mapping.push(mapping);
        id
    }
}

/// The stacks of a profile with one value each. A frame without a line has the name of its place, as
/// the windows here have it.
///
/// # Errors
/// Where something refers to nothing.
pub fn stacks(profile: &Profile) -> Result<BTreeMap<Vec<Frame>, i64>> {
    let text = |index: i64| {
        let found = usize::try_from(index).ok().and_then(|i| profile.string_table.get(i));
        found.context("no such string")
    };
    let at = |id: u64| usize::try_from(id).unwrap_or_default().wrapping_sub(1);
    let mut stacks = BTreeMap::new();
    for sample in &profile.sample {
        let mut frames = Vec::new();
        for id in &sample.location_id {
            let location = profile.location.get(at(*id)).context("no such location")?;
            let mapping = profile.mapping.get(at(location.mapping_id)).context("no mapping")?;
            let file = text(mapping.filename)?;
            let name = match location.line.first() {
                Some(line) => {
                    let function = profile.function.get(at(line.function_id));
                    text(function.context("no such function")?.name)?.clone()
                }
                None => {
                    let name = file.rsplit('/').next().unwrap_or_default();
                    format!("[{name}+{:#x}]", location.address)
                }
            };
            frames.push((file.clone(), location.address, name));
        }
        let value = sample.value.first().context("no value")?;
        *stacks.entry(frames).or_default() += value;
    }
    Ok(stacks)
}
