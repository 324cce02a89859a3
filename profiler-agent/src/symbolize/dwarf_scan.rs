//! A walk through the debug information of a file, before blazesym reads it: blazesym builds tables
//! whose size the file decides (a row of a line table takes 24 bytes of memory and one of the file; a
//! range list may be referred to any number of times), and recurses as deep as inlined functions are
//! nested. Nothing of it is kept here but the counts.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use gimli::constants as dw;
use gimli::{
    AbbreviationsCacheStrategy, AttributeValue, Dwarf, EndianSlice, LittleEndian, Reader,
    UnitHeader,
};
use nix::time::{ClockId, clock_gettime};

use super::debug_sections::DebugSections;
use super::dwarf_cost::{Cost, Refusal};

/// Nesting of entries. Compilers stay below 100; a recursion of this depth takes a quarter of a
/// thread's stack.
const MAX_DEPTH: isize = 500;
/// CPU time that the walk may take; 20 MiB take 40 ms. (A busy host is no reason to refuse a binary.)
const MAX_TIME: Duration = Duration::from_secs(2);
/// Small things that are counted between two looks at the clock.
const BETWEEN_LOOKS: u32 = 256;
/// Length of a line table's header, bytes: 100,000 source files.
const MAX_LINE_HEADER: u64 = 4 << 20;

/// Bytes that blazesym keeps of each thing, from the sizes of its types and gimli's.
mod bytes {
    pub const UNIT: u64 = 1024;
    pub const UNIT_RANGE: u64 = 64;
    pub const ABBREVIATION: u64 = size_of::<gimli::Abbreviation>() as u64;
    /// Five of them fit in the abbreviation.
    pub const ATTRIBUTE: u64 = size_of::<gimli::AttributeSpecification>() as u64;
    pub const FUNCTION: u64 = 144;
    pub const INLINED: u64 = 72;
    pub const RANGE: u64 = 40;
    pub const ROW: u64 = 24;
    pub const FILE: u64 = 176;
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;
type Unit<'a> = gimli::Unit<Slice<'a>>;

/// Counts what reading the sections would cost. Refused is what would cost more than `limit` bytes
/// before the first address, or for one unit.
pub(super) fn cost(sections: &DebugSections, limit: u64) -> Result<Cost, Refusal> {
    let load = |id: gimli::SectionId| EndianSlice::new(sections.get(id.name()), LittleEndian);
    let mut dwarf = Dwarf::load(|id| Ok::<_, gimli::Error>(load(id)))?;
    let tables = AbbreviationTables::of(&dwarf, sections.get(".debug_abbrev"))?;
    if tables.all > limit {
        return Err(Refusal::Memory);
    }
    dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);

    let line_section = load(gimli::SectionId::DebugLine);
    let (until, counted) = (own_time()? + MAX_TIME, Cell::new(0));
    let mut scan =
        Scan { dwarf: &dwarf, line_section, until, counted, limit, cost: Cost::default() };
    scan.cost.fixed = tables.shared;
    let mut ids = HashMap::new();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        ids.insert(header.debug_info_offset().map(|offset| offset.0), scan.cost.unit_count());
        scan.unit(header, tables.of_unit(&header))?;
    }
    scan.address_ranges(&ids)?;
    scan.cost.sort();
    Ok(scan.cost)
}

/// What the abbreviation tables take. blazesym keeps those that several units share from the start, and
/// others with their unit.
struct AbbreviationTables {
    /// Bytes of those that are shared.
    shared: u64,
    /// Bytes of the others, by offset.
    single: BTreeMap<usize, u64>,
    /// Bytes of all.
    all: u64,
}

impl AbbreviationTables {
    /// Tables that overlap are refused: each could be almost the whole section.
    fn of(dwarf: &Dwarf<Slice<'_>>, section: &[u8]) -> Result<Self, Refusal> {
        let mut users: BTreeMap<usize, u32> = BTreeMap::new();
        let mut units = dwarf.units();
        while let Some(header) = units.next()? {
            *users.entry(header.debug_abbrev_offset().0).or_default() += 1;
        }
        let mut tables = Self { shared: 0, single: BTreeMap::new(), all: 0 };
        let ends = users.keys().skip(1).copied().chain([section.len()]);
        for ((start, users), end) in users.iter().zip(ends) {
            let table = section.get(*start..end).ok_or(Refusal::Malformed)?;
            let size = table_size(EndianSlice::new(table, LittleEndian))?;
            tables.all = tables.all.saturating_add(size);
            if *users == 1 {
                tables.single.insert(*start, size);
            } else {
                tables.shared = tables.shared.saturating_add(size);
            }
        }
        Ok(tables)
    }

    fn of_unit(&self, header: &UnitHeader<Slice<'_>>) -> u64 {
        self.single.get(&header.debug_abbrev_offset().0).copied().unwrap_or(0)
    }
}

/// Bytes that one abbreviation table takes; it must end before its section does.
fn table_size(mut table: Slice<'_>) -> Result<u64, Refusal> {
    let mut size = 0;
    while table.read_uleb128()? != 0 {
        let _tag = table.read_uleb128()?;
        let _has_children = table.read_u8()?;
        size += bytes::ABBREVIATION;
        for attributes in 1_u64.. {
            let (name, form) = (table.read_uleb128()?, table.read_uleb128()?);
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                table.read_sleb128()?;
            }
            // From the sixth on they are all in a list of their own, which grows by doubling.
            size += match attributes {
                ..6 => 0,
                6 => 12 * bytes::ATTRIBUTE,
                _ => 2 * bytes::ATTRIBUTE,
            };
        }
    }
    Ok(size)
}

/// CPU time that this thread has used.
fn own_time() -> Result<Duration, Refusal> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map(Duration::from).map_err(|_| Refusal::Time)
}

/// The walk through the units.
struct Scan<'d, 'a> {
    dwarf: &'d Dwarf<Slice<'a>>,
    line_section: Slice<'a>,
    /// When its thread has used that much of the CPU, it ends.
    until: Duration,
    /// Small things that were counted.
    counted: Cell<u32>,
    limit: u64,
    cost: Cost,
}

impl<'a> Scan<'_, 'a> {
    /// Counts one unit. What of it cannot be read costs what could be read before: blazesym stops at
    /// the same place.
    fn unit(&mut self, header: UnitHeader<Slice<'a>>, abbreviations: u64) -> Result<(), Refusal> {
        self.check_line_header(&header)?;
        let mut size = abbreviations;
        let mut ranges = Vec::new();
        if let Ok(unit) = self.dwarf.unit(header) {
            self.unit_ranges(&unit, &mut ranges)?;
            readable(self.functions(&unit, &mut size))?;
            readable(self.lines(&unit, &mut size, &mut ranges))?;
        }
        self.cost.add_unit(size, &ranges);
        self.add_fixed(bytes::UNIT + bytes::UNIT_RANGE * ranges.len() as u64)
    }

    /// Addresses of a unit as it says them itself.
    fn unit_ranges(&self, unit: &Unit<'a>, ranges: &mut Vec<(u64, u64)>) -> Result<(), Refusal> {
        let Ok(mut list) = self.dwarf.unit_ranges(unit) else { return Ok(()) };
        while let Ok(Some(range)) = list.next() {
            ranges.push((range.begin, range.end));
            self.check(self.cost.fixed + bytes::UNIT_RANGE * ranges.len() as u64)?;
        }
        Ok(())
    }

    /// Addresses of units as `.debug_aranges` says them, which blazesym believes first.
    fn address_ranges(&mut self, ids: &HashMap<Option<usize>, u32>) -> Result<(), Refusal> {
        let mut headers = self.dwarf.debug_aranges.headers();
        while let Some(header) = headers.next()? {
            let Some(unit) = ids.get(&Some(header.debug_info_offset().0)) else { continue };
            let mut entries = header.entries();
            while let Ok(Some(entry)) = entries.next() {
                let range = entry.range();
                self.cost.add_range(*unit, (range.begin, range.end));
                self.add_fixed(bytes::UNIT_RANGE)?;
            }
        }
        Ok(())
    }

    fn add_fixed(&mut self, bytes: u64) -> Result<(), Refusal> {
        self.cost.fixed = self.cost.fixed.saturating_add(bytes);
        self.check(self.cost.fixed)
    }

    fn functions(&self, unit: &Unit<'a>, bytes: &mut u64) -> Result<(), Refusal> {
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

    fn lines(
        &self,
        unit: &Unit<'a>,
        bytes: &mut u64,
        ranges: &mut Vec<(u64, u64)>,
    ) -> Result<(), Refusal> {
        let Some(program) = unit.line_program.clone() else { return Ok(()) };
        let header = program.header();
        let unit_directory = unit.comp_dir.map_or(0, |d| d.len() as u64);
        for file in header.file_names() {
            // The path of its directory is put together for each file.
            let directory = file.directory(header).map_or(0, |d| self.length(unit, d));
            *bytes += bytes::FILE + unit_directory + directory;
            self.check(*bytes)?;
        }
        // A unit that does not say its addresses has those of its lines.
        let mut sequence = ranges.is_empty().then_some(u64::MAX);
        let mut rows = program.rows();
        while let Some((_, row)) = rows.next_row()? {
            *bytes += bytes::ROW;
            self.check(*bytes)?;
            if let Some(start) = &mut sequence {
                *start = row.address().min(*start);
                if row.end_sequence() {
                    ranges.push((*start, row.address()));
                    *start = u64::MAX;
                }
            }
        }
        Ok(())
    }

    fn length(&self, unit: &Unit<'a>, text: AttributeValue<Slice<'a>>) -> u64 {
        self.dwarf.attr_string(unit, text).map_or(0, |text| text.len() as u64)
    }

    fn check(&self, bytes: u64) -> Result<(), Refusal> {
        if bytes > self.limit {
            return Err(Refusal::Memory);
        }
        let counted = self.counted.get().wrapping_add(1);
        self.counted.set(counted);
        if counted.is_multiple_of(BETWEEN_LOOKS) && own_time()? > self.until {
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

/// Turns a read error into an early end.
fn readable(result: Result<(), Refusal>) -> Result<(), Refusal> {
    match result {
        Err(Refusal::Malformed) => Ok(()),
        other => other,
    }
}
