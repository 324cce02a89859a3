//! The sections of a file, and of the file with its debug information, that describe its code.

use std::fs::File;
use std::ops::Range;

use gimli::{BaseAddresses, DebugFrame, EhFrame, EhFrameHdr, EndianSlice, LittleEndian, Pointer};
use profiler_common::native::rule::Rule;

use super::cache::Key;
use super::elf::{Elf, Extent};
use super::functions::{Frames, Function, in_order};
use super::known::{self, Known};
use super::machine::Machine;
use super::rows::Rows;
use super::section::contents;
use super::table::{Limits, NoTable, Report, Source};

/// What is read of `.eh_frame_hdr`: where `.eh_frame` is.
const HEADER_BYTES: u64 = 64;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Takes the rule of the addresses from the first to before the second, in ascending order.
pub(super) type Sink<'a> = dyn FnMut(u64, u64, Rule) -> Result<(), NoTable> + 'a;

/// The sections, copied.
pub(super) struct Sources<'f> {
    elf: Elf<'f>,
    /// Code that the Go compiler made is in it.
    is_go: bool,
    code: Vec<Range<u64>>,
    bases: BaseAddresses,
    eh_frame: Vec<u8>,
    debug_frame: Vec<u8>,
    /// It is that of the debug file.
    debug_frame_apart: bool,
}

/// What the sections describe.
pub(super) struct Listed {
    /// In the order of addresses.
    functions: Vec<Function>,
    /// What else is known, likewise.
    known: Vec<Known>,
    /// Where the rows come from.
    pub source: Source,
    /// What was read, of rows as well once they were handed on.
    pub report: Report,
}

impl<'f> Sources<'f> {
    /// Reads the sections of a file.
    pub fn read(file: &'f File, debug: Option<&File>, limits: &Limits) -> Result<Self, NoTable> {
        let elf = Elf::open(file)?;
        let mut bases = BaseAddresses::default();
        if let Some(text) = elf.section(".text") {
            bases = bases.set_text(text.address);
        }
        if let Some(got) = elf.section(".got") {
            bases = bases.set_got(got.address);
        }
        let mut eh_frame = Vec::new();
        if let Some(extent) = elf.section(".eh_frame").or_else(|| by_header(&elf)) {
            eh_frame = contents(&elf, extent, ".eh_frame", limits.section)?;
            bases = bases.set_eh_frame(extent.address);
        }
        let mut debug_frame = debug_frame_of(&elf, limits)?;
        let mut debug_frame_apart = false;
        if let (None, Some(debug)) = (&debug_frame, debug) {
            debug_frame = debug_frame_of(&Elf::open(debug)?, limits)?;
            debug_frame_apart = debug_frame.is_some();
        }
        let debug_frame = debug_frame.unwrap_or_default();
        let is_go = [".gopclntab", ".data.rel.ro.gopclntab", ".note.go.buildid"]
            .into_iter()
            .any(|name| elf.section(name).is_some());
        let code = elf.code();
        Ok(Self { elf, is_go, code, bases, eh_frame, debug_frame, debug_frame_apart })
    }

    /// Whose code it is.
    pub const fn machine(&self) -> Machine {
        self.elf.machine
    }

    /// Lists what they describe, and what the code itself tells.
    pub fn list(&self) -> Result<Listed, NoTable> {
        let (eh_frame, debug_frame) = (self.eh_frame.len() as u64, self.debug_frame.len() as u64);
        let debug_frame_apart = self.debug_frame_apart;
        let mut report = Report { eh_frame, debug_frame, debug_frame_apart, ..Report::default() };
        let mut functions = Vec::new();
        self.eh_frames().list(&self.code, &mut report, &mut functions);
        functions = in_order(functions, &mut report);
        let in_eh_frame = functions.len();
        if !self.debug_frame.is_empty() {
            functions = self.with_debug(functions, &mut report);
        }
        let in_debug_frame = functions.len() - in_eh_frame;
        let known = known::find(&self.elf, &mut functions);
        report.known = known.len() as u64;
        let source = match (in_eh_frame, in_debug_frame) {
            (0, 0) if !known.is_empty() => Source::Instructions,
            (0, 0) if eh_frame + debug_frame == 0 => return Err(NoTable::NoInformation),
            (0, 0) => return Err(NoTable::NoRows),
            (_, 0) => Source::EhFrame,
            (0, _) => Source::DebugFrame,
            _ => Source::Both,
        };
        Ok(Listed { functions, known, source, report })
    }

    /// The key of the table that is made of them: a hash of all that it depends on. `None` where no file of
    /// the cache can have the name of this build ID.
    pub fn key(&self, listed: &Listed, build_id: &str, limits: &Limits) -> Option<Key> {
        let Self { elf, is_go, code, bases, eh_frame, debug_frame, debug_frame_apart: _ } = self;
        let mut hasher = Key::begin(build_id)?;
        hasher.bytes(elf.machine.name().as_bytes());
        hasher.number((*is_go).into());
        hasher.number(limits.part.into());
        hasher.number(code.len() as u64);
        for range in code {
            hasher.number(range.start);
            hasher.number(range.end);
        }
        let eh = &bases.eh_frame;
        for base in [eh.section, eh.text, eh.data] {
            hasher.number(u64::from(base.is_some()));
            hasher.number(base.unwrap_or_default());
        }
        hasher.bytes(eh_frame);
        hasher.bytes(debug_frame);
        hasher.number(listed.known.len() as u64);
        for Known { start, end, rule } in &listed.known {
            [*start, *end, rule.0].into_iter().for_each(|number| hasher.number(number));
        }
        Some(hasher.finish())
    }

    /// Hands all rows on, in the order of addresses.
    pub fn rows(
        &self,
        Listed { functions, known, report, .. }: &mut Listed,
        sink: &mut Sink<'_>,
    ) -> Result<(), NoTable> {
        let (mut eh_frames, mut debug_frames) = (self.eh_frames(), self.debug_frames());
        let size = self.eh_frame.len() + self.debug_frame.len();
        let mut known = known.iter().peekable();
        let mut rows = Rows::new(self.machine(), size, report);
        for function in functions.iter() {
            while let Some(known) = known.next_if(|known| known.start < function.start) {
                sink(known.start, known.end, known.rule)?;
            }
            if function.is_debug && self.is_go {
                rows.of_go(&mut debug_frames, function, sink)?;
            } else if function.is_debug {
                rows.of(&mut debug_frames, function, sink)?;
            } else {
                rows.of(&mut eh_frames, function, sink)?;
            }
        }
        known.try_for_each(|known| sink(known.start, known.end, known.rule))
    }

    fn eh_frames(&self) -> Frames<'_, EhFrame<Slice<'_>>> {
        let mut section = EhFrame::new(&self.eh_frame, LittleEndian);
        section.set_address_size(8);
        section.set_vendor(self.machine().vendor());
        Frames::new(section, self.bases.clone(), false)
    }

    fn debug_frames(&self) -> Frames<'_, DebugFrame<Slice<'_>>> {
        let mut section = DebugFrame::new(&self.debug_frame, LittleEndian);
        section.set_address_size(8);
        section.set_vendor(self.machine().vendor());
        Frames::new(section, self.bases.clone(), true)
    }

    /// The functions with those of `.debug_frame` that lie in none of them.
    fn with_debug(&self, functions: Vec<Function>, report: &mut Report) -> Vec<Function> {
        let mut found = Vec::new();
        self.debug_frames().list(&self.code, report, &mut found);
        found.retain(|function| {
            let after = functions.partition_point(|known| known.start <= function.start);
            let before = after.checked_sub(1).and_then(|index| functions.get(index));
            before.is_none_or(|known| known.end <= function.start)
        });
        found.extend(functions);
        in_order(found, report)
    }
}

/// `.eh_frame` of a file without sections: from where its header points to the segment's end. It says
/// itself where it ends.
fn by_header(elf: &Elf<'_>) -> Option<Extent> {
    let header = elf.eh_frame_header()?;
    let start = Extent { size: header.size.min(HEADER_BYTES), ..header };
    let bytes = elf.bytes(start).ok()??;
    let bases = BaseAddresses::default().set_eh_frame_hdr(header.address);
    let parsed = EhFrameHdr::new(&bytes, LittleEndian).parse(&bases, 8).ok()?;
    match parsed.eh_frame_ptr() {
        Pointer::Direct(address) => elf.rest_of_segment(address),
        Pointer::Indirect(_) => None,
    }
}

fn debug_frame_of(elf: &Elf<'_>, limits: &Limits) -> Result<Option<Vec<u8>>, NoTable> {
    let extent = elf.section(".debug_frame");
    extent.map(|extent| contents(elf, extent, ".debug_frame", limits.section)).transpose()
}
