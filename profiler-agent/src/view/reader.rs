//! Reads any profile, also one that our own strict check would refuse: a reference into nothing reads
//! as an empty string or an unknown frame, never as an error.

use std::collections::HashMap;

use ahash::RandomState;
use profiler_proto::pprof::{Function, Line, Location, Profile, Sample};

use crate::model::conventions::mapping;

/// What kind of code a frame is; decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum FrameKind {
    /// Kernel, module or BPF code.
    Kernel,
    /// Code of a file.
    Native,
    /// Code of a file that the compiler put into its caller.
    Inlined,
    /// Code that was made at run time, or is run by an interpreter.
    Runtime,
    /// Code without a name.
    Unknown,
    /// Not code: says where something is missing.
    Marker,
    /// A process or thread.
    Owner,
    /// The branch of time on the CPU.
    OnCpu,
    /// A branch of time off it.
    OffCpu,
}

/// One frame as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameView<'a> {
    /// The function's name, as in the profile.
    pub(super) name: &'a str,
    /// The last component of its file's path; empty where it has none.
    pub(super) module: &'a str,
    /// What it is.
    pub(super) kind: FrameKind,
}

/// Stands for a location that does not exist.
const NOWHERE: FrameView<'_> =
    FrameView { name: mapping::UNKNOWN, module: "", kind: FrameKind::Unknown };

/// A profile with its locations resolved.
pub(super) struct Reader<'a> {
    pub(super) profile: &'a Profile,
    /// Frames of each location by its id, innermost first.
    locations: HashMap<u64, Vec<FrameView<'a>>, RandomState>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(profile: &'a Profile) -> Self {
        let functions: HashMap<_, _> = profile.function.iter().map(|f| (f.id, f)).collect();
        let mappings: HashMap<_, _> = profile.mapping.iter().map(|m| (m.id, m)).collect();
        let mut reader = Self { profile, locations: HashMap::default() };
        for location in &profile.location {
            let mapping = mappings.get(&location.mapping_id);
            let file = mapping.map_or("", |m| reader.string(m.filename));
            let frames = reader.frames_at(location, file, &functions);
            reader.locations.insert(location.id, frames);
        }
        reader
    }

    /// A string of the table, empty for an index outside it.
    pub(super) fn string(&self, index: i64) -> &'a str {
        let index = usize::try_from(index).ok();
        index.and_then(|i| self.profile.string_table.get(i)).map_or("", String::as_str)
    }

    /// A label's text, empty where there is none.
    pub(super) fn label(&self, sample: &Sample, key: &str) -> &'a str {
        let label = sample.label.iter().find(|l| self.string(l.key) == key);
        label.map_or("", |l| self.string(l.str))
    }

    /// A label's number.
    pub(super) fn number(&self, sample: &Sample, key: &str) -> Option<i64> {
        let label = sample.label.iter().find(|l| l.str == 0 && self.string(l.key) == key);
        label.map(|l| l.num)
    }

    /// The value of a comment `key: value`, empty where there is none.
    pub(super) fn comment(&self, key: &str) -> &'a str {
        self.comments().find(|(k, _)| *k == key).map_or("", |(_, value)| value)
    }

    /// All comments that are a key and a value.
    pub(super) fn comments(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.profile.comment.iter().filter_map(|c| self.string(*c).split_once(": "))
    }

    /// The frames of a sample, innermost first, inlined ones among them.
    pub(super) fn frames(&self, sample: &'a Sample) -> impl Iterator<Item = FrameView<'a>> + '_ {
        sample
            .location_id
            .iter()
            .flat_map(|id| {
                self.locations.get(id).map_or(std::slice::from_ref(&NOWHERE), Vec::as_slice)
            })
            .copied()
    }

    fn frames_at(
        &self,
        location: &Location,
        file: &'a str,
        functions: &HashMap<u64, &'a Function>,
    ) -> Vec<FrameView<'a>> {
        let module = file.rsplit('/').next().unwrap_or(file);
        if location.line.is_empty() {
            // Files of other tools: the module is the best name that there is.
            let name = if module.is_empty() { mapping::UNKNOWN } else { module };
            return vec![FrameView { name, module, kind: FrameKind::Unknown }];
        }
        let outermost = location.line.len() - 1;
        let frame = |(n, line): (usize, &Line)| {
            let function = functions.get(&line.function_id);
            let name = function.map_or(mapping::UNKNOWN, |f| self.string(f.name));
            FrameView { name, module, kind: kind_of(name, file, n < outermost) }
        };
        location.line.iter().enumerate().map(frame).collect()
    }
}

/// Our encoder calls a frame without a name by its place in brackets, and names what is no file in
/// brackets as well.
fn kind_of(name: &str, file: &str, inlined: bool) -> FrameKind {
    let bracketed = |text: &str| text.starts_with('[') && text.ends_with(']');
    match file {
        mapping::MARKER => FrameKind::Marker,
        _ if name == mapping::UNKNOWN || bracketed(name) && name.contains("+0x") => {
            FrameKind::Unknown
        }
        mapping::UNKNOWN => FrameKind::Unknown,
        _ if file.starts_with("[kernel") => FrameKind::Kernel,
        "[vdso]" | "[vsyscall]" => FrameKind::Native,
        mapping::JIT if name == mapping::JIT => FrameKind::Unknown,
        _ if bracketed(file) => FrameKind::Runtime,
        _ if inlined => FrameKind::Inlined,
        _ => FrameKind::Native,
    }
}
