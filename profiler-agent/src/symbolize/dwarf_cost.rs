//! What it would cost to read a file's debug information, found out before blazesym does: it builds
//! tables whose size the file decides (a line table row takes 24 bytes of memory and one of the file; a
//! range list may be referred to any number of times), and descends by recursion as deep as inlined
//! functions are nested. So everything is walked through once here, without keeping it, and counted.

use std::time::{Duration, Instant};

use gimli::constants as dw;
use gimli::{
    AbbreviationsCacheStrategy, AttributeValue, Dwarf, EndianSlice, LittleEndian, Reader,
    UnitHeader,
};
use thiserror::Error;

use super::debug_sections::DebugSections;

/// Nesting of entries. Compilers stay below 100; a recursion of this depth takes a quarter of a
/// thread's stack.
const MAX_DEPTH: isize = 500;
/// Time that the walk may take; 32 MiB take a quarter of it.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Length of a line table's header, bytes: 100,000 source files.
const MAX_LINE_HEADER: u64 = 4 << 20;

/// Bytes that blazesym keeps of each thing, from the sizes of its types and gimli's.
mod bytes {
    pub const UNIT: u64 = 1024;
    pub const ABBREVIATION: u64 = 160;
    pub const FUNCTION: u64 = 144;
    pub const INLINED: u64 = 72;
    pub const RANGE: u64 = 40;
    pub const ROW: u64 = 24;
    pub const FILE: u64 = 176;
}

/// Memory for the debug information of one file, besides its sections, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// When it is opened.
    pub fixed: u64,
    /// More for the most expensive of its units: units are read when an address in them is looked up.
    pub largest_unit: u64,
    /// More for all units.
    pub all_units: u64,
}

/// Why debug information is not read.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It would take more memory than there is for it.
    #[error("takes more memory than is left for it")]
    Memory,
    /// It is nested deeper than any compiler nests it.
    #[error("is nested too deeply")]
    Depth,
    /// It is too intricate to be looked through.
    #[error("takes too long to read")]
    Time,
    /// It contradicts itself.
    #[error("is malformed")]
    Malformed,
}

/// A read error is no refusal: blazesym stops at the same place.
impl From<gimli::Error> for Refusal {
    fn from(_: gimli::Error) -> Self {
        Self::Malformed
    }
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// Counts, and stops when one unit, or all of them, exceed `limit` bytes.
pub(super) fn of(sections: &DebugSections, limit: u64) -> Result<Cost, Refusal> {
    let load = |id: gimli::SectionId| EndianSlice::new(sections.get(id.name()), LittleEndian);
    let mut dwarf = Dwarf::load(|id| Ok::<_, gimli::Error>(load(id)))?;
    let mut cost = Cost { fixed: abbreviations(&dwarf, sections)?, ..Cost::default() };
    if cost.fixed > limit {
        return Err(Refusal::Memory);
    }
    dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);

    let line_section = load(gimli::SectionId::DebugLine);
    let deadline = Instant::now() + MAX_TIME;
    let scan = Scan { dwarf: &dwarf, line_section, deadline, limit };
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = scan.unit(header)?;
        cost.fixed = cost.fixed.saturating_add(bytes::UNIT);
        cost.largest_unit = cost.largest_unit.max(unit);
        cost.all_units = cost.all_units.saturating_add(unit);
        if cost.fixed.saturating_add(cost.largest_unit) > limit {
            return Err(Refusal::Memory);
        }
    }
    Ok(cost)
}

/// Bytes that the abbreviation tables of all units take. Tables that overlap are refused: each could
/// be almost the whole section.
fn abbreviations(dwarf: &Dwarf<Slice<'_>>, sections: &DebugSections) -> Result<u64, Refusal> {
    let section = sections.get(".debug_abbrev");
    let mut offsets = Vec::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        offsets.push(header.debug_abbrev_offset().0);
    }
    offsets.sort_unstable();
    offsets.dedup();
    let ends = offsets.iter().skip(1).copied().chain([section.len()]);
    let mut total: u64 = 0;
    for (start, end) in offsets.iter().zip(ends) {
        let table = section.get(*start..end).ok_or(Refusal::Malformed)?;
        total += table_size(EndianSlice::new(table, LittleEndian))?;
    }
    Ok(total)
}

/// Bytes that one abbreviation table takes; it must end before its section does.
fn table_size(mut table: Slice<'_>) -> Result<u64, Refusal> {
    let mut size = 0;
    while table.read_uleb128()? != 0 {
        let _tag = table.read_uleb128()?;
        let _has_children = table.read_u8()?;
        size += bytes::ABBREVIATION;
        loop {
            let (name, form) = (table.read_uleb128()?, table.read_uleb128()?);
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                table.read_sleb128()?;
            }
            size += 16;
        }
    }
    Ok(size)
}

/// The walk through the units.
struct Scan<'d, 'a> {
    dwarf: &'d Dwarf<Slice<'a>>,
    line_section: Slice<'a>,
    deadline: Instant,
    limit: u64,
}

impl<'a> Scan<'_, 'a> {
    /// Bytes that the tables of one unit take.
    fn unit(&self, header: UnitHeader<Slice<'a>>) -> Result<u64, Refusal> {
        self.check_line_header(&header)?;
        let mut bytes = 0;
        // What cannot be read costs what could be read before.
        let Ok(unit) = self.dwarf.unit(header) else { return Ok(bytes) };
        match self.functions(&unit, &mut bytes) {
            Ok(()) | Err(Refusal::Malformed) => {}
            Err(refusal) => return Err(refusal),
        }
        match self.lines(&unit, &mut bytes) {
            Ok(()) | Err(Refusal::Malformed) => Ok(bytes),
            Err(refusal) => Err(refusal),
        }
    }

    fn functions(&self, unit: &gimli::Unit<Slice<'a>>, bytes: &mut u64) -> Result<(), Refusal> {
        let mut entries = unit.entries_raw(None)?;
        while !entries.is_empty() {
            if entries.next_depth() > MAX_DEPTH {
                return Err(Refusal::Depth);
            }
            let Some(abbreviation) = entries.read_abbreviation()? else { continue };
            *bytes += match abbreviation.tag() {
                dw::DW_TAG_subprogram => bytes::FUNCTION,
                dw::DW_TAG_inlined_subroutine => bytes::INLINED,
                _ => {
                    entries.skip_attributes(abbreviation.attributes())?;
                    continue;
                }
            };
            let mut ranges = None;
            for specification in abbreviation.attributes() {
                let attribute = entries.read_attribute(*specification)?;
                if attribute.name() == dw::DW_AT_ranges {
                    ranges = self.dwarf.attr_ranges_offset(unit, attribute.value())?;
                }
            }
            *bytes += bytes::RANGE;
            if let Some(offset) = ranges {
                let mut list = self.dwarf.ranges(unit, offset)?;
                while list.next()?.is_some() {
                    *bytes += bytes::RANGE;
                    self.check(*bytes)?;
                }
            }
            self.check(*bytes)?;
        }
        Ok(())
    }

    fn lines(&self, unit: &gimli::Unit<Slice<'a>>, bytes: &mut u64) -> Result<(), Refusal> {
        let Some(program) = unit.line_program.clone() else { return Ok(()) };
        let header = program.header();
        let unit_directory = unit.comp_dir.map_or(0, |d| d.len() as u64);
        for file in header.file_names() {
            // The path of its directory is put together for each file.
            let directory = file.directory(header).map_or(0, |d| self.length(unit, d));
            *bytes += bytes::FILE + unit_directory + directory;
            self.check(*bytes)?;
        }
        let mut rows = program.rows();
        while rows.next_row()?.is_some() {
            *bytes += bytes::ROW;
            self.check(*bytes)?;
        }
        Ok(())
    }

    fn length(&self, unit: &gimli::Unit<Slice<'a>>, text: AttributeValue<Slice<'a>>) -> u64 {
        self.dwarf.attr_string(unit, text).map_or(0, |text| text.len() as u64)
    }

    fn check(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes > self.limit {
            return Err(Refusal::Memory);
        }
        // The clock is asked once for many small things.
        if bytes % 1024 < bytes::ROW && Instant::now() > self.deadline {
            return Err(Refusal::Time);
        }
        Ok(())
    }

    /// gimli reads the file names of a line table into memory when it opens a unit, so the length of
    /// that table's header is looked at before.
    fn check_line_header(&self, header: &UnitHeader<Slice<'a>>) -> Result<(), Refusal> {
        let Ok(Some(mut input)) = self.line_table(header) else { return Ok(()) };
        let mut length = || -> gimli::Result<u64> {
            let (_, format) = input.read_initial_length()?;
            if input.read_u16()? >= 5 {
                input.skip(2)?;
            }
            Ok(input.read_length(format)? as u64)
        };
        match length() {
            Ok(length) if length > MAX_LINE_HEADER => Err(Refusal::Malformed),
            _ => Ok(()),
        }
    }

    /// The line section from the table of a unit on.
    fn line_table(&self, header: &UnitHeader<Slice<'a>>) -> gimli::Result<Option<Slice<'a>>> {
        let abbreviations = self.dwarf.abbreviations(header)?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        let Some(root) = entries.read_abbreviation()? else { return Ok(None) };
        for specification in root.attributes() {
            let attribute = entries.read_attribute(*specification)?;
            if let (dw::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) =
                (attribute.name(), attribute.value())
            {
                let mut section = self.line_section;
                section.skip(offset.0)?;
                return Ok(Some(section));
            }
        }
        Ok(None)
    }
}
