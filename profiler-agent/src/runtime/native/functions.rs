//! What a section describes: its functions, in the order of addresses.

use std::ops::Range;

use ahash::AHashMap;
use gimli::{
    BaseAddresses, CallFrameInstruction, CieOrFde, CommonInformationEntry, EndianSlice,
    FrameDescriptionEntry, LittleEndian, UnwindOffset, UnwindSection,
};

use super::table::Report;

/// Common entries that are remembered; a linker leaves a few.
const MAX_COMMON: usize = 256;

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Common<'a> = CommonInformationEntry<Slice<'a>>;

/// A described function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Function {
    /// First address.
    pub start: u64,
    /// Whether `.debug_frame` describes it: of two descriptions of a place, the other's counts.
    pub is_debug: bool,
    /// Where in its section the description is.
    pub offset: usize,
    /// Behind its last address.
    pub end: u64,
    /// What its description begins with.
    pub outline: Outline,
}

/// What the description of a function begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outline {
    /// Nothing called it.
    Outermost,
    /// It says nothing but what all functions have in common.
    Plain,
    /// Something else.
    Other,
}

/// A section with call frame information.
pub(super) struct Frames<'i, S> {
    pub section: S,
    pub bases: BaseAddresses,
    common: AHashMap<usize, Common<'i>>,
    is_debug: bool,
}

impl<'i, S: UnwindSection<Slice<'i>>> Frames<'i, S> {
    /// A section whose relative addresses count from `bases`.
    pub fn new(section: S, bases: BaseAddresses, is_debug: bool) -> Self {
        Self { section, bases, common: AHashMap::new(), is_debug }
    }

    /// Adds the functions that the section describes in the addresses of `code`. What cannot be read is
    /// counted and ends the list: where the next description begins is not known.
    pub fn list(&mut self, code: &[Range<u64>], report: &mut Report, into: &mut Vec<Function>) {
        let (bases, is_debug) = (self.bases.clone(), self.is_debug);
        let section = self.section.clone();
        let mut entries = section.entries(&bases);
        loop {
            let partial = match entries.next() {
                Ok(Some(CieOrFde::Fde(partial))) => partial,
                Ok(Some(CieOrFde::Cie(_))) => continue,
                Ok(None) => return,
                Err(_) => return report.count(super::Cause::Malformed),
            };
            report.fdes += 1;
            let Ok(fde) = partial.parse(|section, bases, at| self.common(section, bases, at))
            else {
                report.count(super::Cause::Malformed);
                continue;
            };
            let start = fde.initial_address();
            match clip(start, fde.len(), code) {
                Some(end) => {
                    let (offset, outline) = (fde.offset(), outline(&fde, &section, &bases));
                    into.push(Function { start, is_debug, offset, end, outline });
                }
                None => report.outside += 1,
            }
        }
    }

    /// The description of a function that [`Frames::list`] found.
    pub fn description(
        &mut self,
        function: &Function,
    ) -> gimli::Result<FrameDescriptionEntry<Slice<'i>>> {
        let (section, bases) = (self.section.clone(), self.bases.clone());
        let common = |section: &S, bases: &BaseAddresses, at| self.common(section, bases, at);
        section.fde_from_offset(&bases, S::Offset::from(function.offset), common)
    }

    fn common(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        at: S::Offset,
    ) -> gimli::Result<Common<'i>> {
        let key = UnwindOffset::into(at);
        if let Some(common) = self.common.get(&key) {
            return Ok(common.clone());
        }
        let common = section.cie_from_offset(bases, at)?;
        if self.common.len() >= MAX_COMMON {
            self.common.clear();
        }
        self.common.insert(key, common.clone());
        Ok(common)
    }
}

fn outline<'i, S: UnwindSection<Slice<'i>>>(
    fde: &FrameDescriptionEntry<Slice<'i>>,
    section: &S,
    bases: &BaseAddresses,
) -> Outline {
    let ra = fde.cie().return_address_register();
    let mut instructions = fde.instructions(section, bases);
    loop {
        return match instructions.next() {
            Ok(Some(CallFrameInstruction::Nop)) => continue,
            Ok(Some(CallFrameInstruction::Undefined { register })) if register == ra => {
                Outline::Outermost
            }
            Ok(None) => Outline::Plain,
            Ok(Some(_)) | Err(_) => Outline::Other,
        };
    }
}

/// Where a function ends, or the code that it begins in; `None` for what is no code.
fn clip(start: u64, len: u64, code: &[Range<u64>]) -> Option<u64> {
    let after = code.partition_point(|range| range.start <= start);
    let range = after.checked_sub(1).and_then(|index| code.get(index))?;
    let end = start.saturating_add(len).min(range.end);
    (end > start).then_some(end)
}

/// Brings functions into order, and cuts each where the next begins. So it is told by a function's
/// beginning which description counts, and each place has one at most.
pub(super) fn in_order(mut functions: Vec<Function>, report: &mut Report) -> Vec<Function> {
    functions.sort_unstable();
    let before = functions.len();
    functions.dedup_by_key(|function| function.start);
    report.overlapping += (before - functions.len()) as u64;
    let starts: Vec<u64> = functions.iter().skip(1).map(|function| function.start).collect();
    for (function, next) in functions.iter_mut().zip(starts) {
        if next < function.end {
            function.end = next;
            report.overlapping += 1;
        }
    }
    functions
}
