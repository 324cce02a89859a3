//! The door of the stage: frames in, names out.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::demangle::demangle;
use super::jit::Jit;
use super::kernel::Kernel;
use super::native::{Native, RawLine};
use super::notes::{Notes, Problems};
use super::wanted::Wanted;
use crate::model::frame::{Binary, Frame, FrameKey, JitMap};
use crate::model::losses::Losses;
use crate::model::names::{FrameNames, NamedLine, Names};

/// Default of [`Config::memory_budget`], bytes: with it the agent stays below 60 MB.
pub const DEFAULT_MEMORY_BUDGET: u64 = 24 << 20;

/// What names are looked for, and at what price.
#[derive(Clone, Debug)]
pub struct Config {
    /// Memory that debug information may take, bytes. Binaries that would exceed it get the names of
    /// their symbol table, without lines and inlined functions.
    pub memory_budget: u64,
    /// Where separate debug files are looked for.
    pub debug_dirs: Vec<PathBuf>,
    /// The kernel's symbols.
    pub kallsyms: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory_budget: DEFAULT_MEMORY_BUDGET,
            debug_dirs: vec![PathBuf::from("/usr/lib/debug")],
            kallsyms: PathBuf::from("/proc/kallsyms"),
        }
    }
}

/// Gives frames their names. It may be fed while the recording runs, on a thread of its own (it is not
/// `Send`: make it on that thread).
pub struct Symbolizer {
    native: Native,
    kernel: Kernel,
    jit: Jit,
    notes: Notes,
}

impl Symbolizer {
    /// Reads nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            native: Native::new(config.debug_dirs, config.memory_budget),
            kernel: Kernel::new(config.kallsyms),
            jit: Jit::default(),
            notes: Notes::default(),
        }
    }

    /// Names the frames that are not in `names` yet. One without a name gets an empty entry and is not
    /// tried again, but for generated code, whose name may still come: that stays out until then.
    pub fn symbolize(&mut self, frames: &[Frame], names: &mut Names) {
        let batch = Batch::of(frames, names);
        let mut output = Output { names, strings: HashSet::new() };
        for (binary, offsets) in batch.native.into_values() {
            self.native(&binary, &offsets, &mut output);
        }
        for (map, addresses) in batch.jit.into_values() {
            self.jit(&map, addresses, &mut output);
        }
        for address in batch.kernel {
            self.kernel(address, &mut output);
        }
    }

    /// Closes what was not asked for in a while. To be called every few seconds.
    pub fn close_idle(&mut self) {
        self.native.tick(Instant::now());
    }

    /// Whether the agent's memory is tight: some functions then have a name, but no line.
    pub fn tighten(&mut self, tight: bool) {
        self.native.tighten(tight);
    }

    /// What the user should know about names that are missing: one line each.
    pub fn problems(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.kernel.problem().map(str::to_owned).into_iter().collect();
        lines.extend(self.notes.problems.lines());
        lines
    }

    /// The same; what was said once is not said again, unless it lasts.
    pub fn take_problems(&mut self) -> Vec<String> {
        let lines = self.problems();
        self.notes.problems = Problems::default();
        lines
    }

    /// What was turned away.
    pub fn losses(&self) -> Losses {
        self.notes.losses.clone()
    }

    fn native(&mut self, binary: &Arc<Binary>, offsets: &[u64], output: &mut Output<'_>) {
        let addresses = offsets.iter().filter_map(|offset| binary.address_of(*offset)).collect();
        let wanted = Wanted::new(addresses);
        let found = self.native.names(binary, &wanted, &mut self.notes);
        for offset in offsets {
            let index = binary
                .address_of(*offset)
                .and_then(|address| wanted.addresses().binary_search(&address).ok());
            let lines = index.and_then(|index| found.get(index)).map_or(&[][..], Vec::as_slice);
            output.add_lines(FrameKey::Native(binary.id, *offset), lines);
        }
    }

    fn jit(&mut self, map: &Arc<JitMap>, addresses: Vec<u64>, output: &mut Output<'_>) {
        let found = self.jit.names(map, addresses, &mut self.notes);
        for (address, symbol) in found {
            let key = FrameKey::Jit(map.id, address);
            output.add_lines(key, &[RawLine { symbol, ..RawLine::default() }]);
        }
    }

    fn kernel(&mut self, address: u64, output: &mut Output<'_>) {
        let line = self.kernel.name(address).map(|name| NamedLine {
            function: output.intern(&name.function),
            system_name: output.intern(&name.symbol),
            file: output.intern(""),
            line: 0,
        });
        output.add(FrameKey::Kernel(address), line.into_iter().collect());
    }
}

/// The frames of one call that need names, by where they lie: each file is opened once.
#[derive(Default)]
struct Batch {
    native: BTreeMap<u32, (Arc<Binary>, Vec<u64>)>,
    jit: BTreeMap<u32, (Arc<JitMap>, Vec<u64>)>,
    kernel: Vec<u64>,
}

impl Batch {
    fn of(frames: &[Frame], names: &Names) -> Self {
        let mut batch = Self::default();
        let mut seen = HashSet::new();
        for frame in frames {
            let key = frame.key();
            if names.contains_key(&key) || !seen.insert(key) {
                continue;
            }
            match frame {
                Frame::Native { binary, offset } => batch
                    .native
                    .entry(binary.id)
                    .or_insert_with(|| (Arc::clone(binary), Vec::new()))
                    .1
                    .push(*offset),
                Frame::Jit { map, address } => batch
                    .jit
                    .entry(map.id)
                    .or_insert_with(|| (Arc::clone(map), Vec::new()))
                    .1
                    .push(*address),
                Frame::Kernel { address } => batch.kernel.push(*address),
                Frame::Unmapped { .. } | Frame::Truncated { .. } | Frame::Marker(_) => {}
            }
        }
        batch
    }
}

/// Where names go. Equal strings of one call are kept once.
struct Output<'a> {
    names: &'a mut Names,
    strings: HashSet<Arc<str>>,
}

impl Output<'_> {
    fn add(&mut self, key: FrameKey, lines: FrameNames) {
        self.names.insert(key, lines);
    }

    fn add_lines(&mut self, key: FrameKey, lines: &[RawLine]) {
        let lines = lines
            .iter()
            .map(|raw| NamedLine {
                function: self.intern(&demangle(&raw.symbol)),
                system_name: self.intern(&raw.symbol),
                file: self.intern(&raw.file),
                line: raw.line,
            })
            .collect();
        self.add(key, lines);
    }

    fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.strings.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.strings.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests;
