//! A profile as lists of names, outermost first.

use std::collections::HashMap;

use profiler_proto::pprof::{Location, Profile, Sample};

/// One sample of a profile.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    /// Names, outermost first; inlined functions are frames of their own.
    pub frames: Vec<Frame>,
    /// Labels with text, and those with a number as its text.
    pub labels: HashMap<String, String>,
    values: HashMap<String, u64>,
}

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The name that is shown.
    pub name: String,
    /// The name in the symbol table.
    pub system_name: String,
    /// The file that the code is in; `[kernel...]` for the kernel's.
    pub mapping: String,
    /// The ELF virtual address of the code; of a caller, that of the last byte of its call. 0 where it
    /// is not told.
    pub address: u64,
    /// Whether the compiler inlined it into the frame before it.
    pub is_inlined: bool,
}

impl Frame {
    /// Whether it is code of the kernel.
    pub fn is_kernel(&self) -> bool {
        self.mapping.starts_with("[kernel") || self.mapping.starts_with("[guest.kernel")
    }
}

impl Stack {
    /// One of its values, by its sample type (`cpu`, `samples`, `off_cpu`, `blocks`).
    pub fn value(&self, kind: &str) -> u64 {
        self.values.get(kind).copied().unwrap_or_default()
    }

    /// A label, empty where there is none.
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    /// Whether a function is in it.
    pub fn has(&self, function: &str) -> bool {
        self.frames.iter().any(|frame| frame.name == function)
    }

    /// Names of the user's functions that have a frame of their own, outermost first.
    pub fn user(&self) -> Vec<&str> {
        let own = |frame: &&Frame| !frame.is_kernel() && !frame.is_inlined;
        self.frames.iter().filter(own).map(|frame| frame.name.as_str()).collect()
    }

    /// All names on one line.
    pub fn line(&self) -> String {
        self.frames.iter().map(|frame| frame.name.as_str()).collect::<Vec<_>>().join(";")
    }
}

/// Every sample of a profile.
pub fn of(profile: &Profile) -> Vec<Stack> {
    let tables = Tables::new(profile);
    profile.sample.iter().map(|sample| tables.stack(sample)).collect()
}

struct Tables<'a> {
    profile: &'a Profile,
    locations: HashMap<u64, Vec<Frame>>,
}

impl<'a> Tables<'a> {
    fn new(profile: &'a Profile) -> Self {
        let mut tables = Self { profile, locations: HashMap::new() };
        tables.locations = profile
            .location
            .iter()
            .map(|location| (location.id, tables.frames(location)))
            .collect();
        tables
    }

    fn string(&self, index: i64) -> String {
        let index = usize::try_from(index).unwrap_or_default();
        self.profile.string_table.get(index).cloned().unwrap_or_default()
    }

    /// The frames of one location, innermost (most inlined) first, as its lines are.
    fn frames(&self, location: &Location) -> Vec<Frame> {
        let mapping = self.profile.mapping.iter().find(|mapping| mapping.id == location.mapping_id);
        let mapping = mapping.map_or_else(String::new, |mapping| self.string(mapping.filename));
        let mut frames: Vec<Frame> = location
            .line
            .iter()
            .enumerate()
            .filter_map(|(index, line)| {
                let id = line.function_id;
                let function = self.profile.function.iter().find(|function| function.id == id)?;
                Some(Frame {
                    name: self.string(function.name),
                    system_name: self.string(function.system_name),
                    mapping: mapping.clone(),
                    address: location.address,
                    is_inlined: index + 1 < location.line.len(),
                })
            })
            .collect();
        if frames.is_empty() {
            let name = format!("{:#x}", location.address);
            frames.push(Frame {
                name: name.clone(),
                system_name: name,
                mapping,
                address: location.address,
                is_inlined: false,
            });
        }
        frames
    }

    fn stack(&self, sample: &Sample) -> Stack {
        let mut frames: Vec<Frame> = sample
            .location_id
            .iter()
            .filter_map(|id| self.locations.get(id))
            .flatten()
            .cloned()
            .collect();
        frames.reverse();
        let labels = sample.label.iter().map(|label| {
            let text = self.string(label.str);
            let value = if label.str == 0 { label.num.to_string() } else { text };
            (self.string(label.key), value)
        });
        let kinds = self.profile.sample_type.iter().map(|kind| self.string(kind.ty));
        let values = sample.value.iter().map(|value| u64::try_from(*value).unwrap_or_default());
        Stack { frames, labels: labels.collect(), values: kinds.zip(values).collect() }
    }
}
