//! Cuts the mappings of a process into the ranges of its list: where a table reaches, where one is
//! still to come, and where there is none.

use profiler_common::native::{MAPPINGS_MAX, Mapping as Range, MappingKind};

use crate::model::frame::Binary;
use crate::model::space::Mapping;
use crate::model::tables::Place;

/// Longest range: its length has 32 bits. A multiple of the page size.
const MAX_LEN: u64 = (1 << 32) - (1 << 16);

/// Ranges that one mapping is cut into because of its length, at most. The kernel side knows nothing
/// of the rest: code has no such size.
const MAX_PIECES: usize = 16;

/// A part of a binary's table, in the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedPart {
    /// ELF virtual address of its first byte of code.
    pub address: u64,
    /// Length of the code that it covers.
    pub len: u64,
    /// Where it is.
    pub place: Place,
    /// Byte offset of its rules in the region.
    pub rules: u32,
    /// How many bytes it takes there.
    pub bytes: u32,
    /// See [`profiler_common::native::known::id`].
    pub id: u32,
}

/// What is known of the code in a mapping.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// The table of its binary, by address.
    Parts(&'a Binary, &'a [PlacedPart]),
    /// A table is on its way.
    Pending,
    /// There will be none.
    NoRows,
}

/// The ranges of a list, as they are cut: in the order of addresses, never overlapping.
#[derive(Debug, Default)]
pub struct Ranges {
    ranges: Vec<Range>,
    beyond: u64,
}

impl Ranges {
    /// All that are within the limit.
    pub fn as_slice(&self) -> &[Range] {
        &self.ranges
    }

    /// How many were not: for the length of the list, or of a mapping.
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    /// Adds a mapping. Mappings come in the order of addresses.
    pub fn add(&mut self, mapping: &Mapping, known: Known<'_>) {
        match known {
            Known::Parts(binary, parts) => self.add_parts(mapping, binary, parts),
            Known::Pending => self.add_bare(mapping.start, mapping.end, MappingKind::Pending),
            Known::NoRows => self.add_bare(mapping.start, mapping.end, MappingKind::NoRows),
        }
    }

    /// Each part of a table that reaches into the mapping, by way of the segments of the file; what
    /// none reaches has no rows.
    fn add_parts(&mut self, mapping: &Mapping, binary: &Binary, parts: &[PlacedPart]) {
        let mut at = mapping.start;
        for segment in &binary.segments {
            let Some(seen) = Seen::of(mapping, segment.file_offset, segment.file_size) else {
                continue;
            };
            let elf = segment.address.saturating_add(seen.in_segment);
            let elf_end = elf.saturating_add(seen.len);
            let first = parts.partition_point(|p| p.address.saturating_add(p.len) <= elf);
            for part in parts.iter().skip(first).take_while(|p| p.address < elf_end) {
                let from = part.address.max(elf);
                let to = part.address.saturating_add(part.len).min(elf_end);
                let start = seen.address.saturating_add(from.saturating_sub(elf));
                let end = start.saturating_add(to.saturating_sub(from));
                // Segments that overlap, or are out of order, are a lie: the first one is believed.
                if start < at || end > mapping.end {
                    continue;
                }
                self.add_bare(at, start, MappingKind::NoRows);
                self.add_table(start, end, part, from.saturating_sub(part.address));
                at = end;
            }
        }
        self.add_bare(at, mapping.end, MappingKind::NoRows);
    }

    fn add_table(&mut self, start: u64, end: u64, part: &PlacedPart, delta: u64) {
        let len = end.saturating_sub(start);
        let region = u16::try_from(part.place.region);
        let (Ok(len), Ok(delta), Ok(region)) = (u32::try_from(len), u32::try_from(delta), region)
        else {
            // No table reaches so far.
            return self.add_bare(start, end, MappingKind::NoRows);
        };
        self.push(Range {
            start,
            len,
            delta,
            table: part.place.offset,
            rules: part.rules,
            id: part.id,
            region,
            kind: MappingKind::Table.short(),
        });
    }

    fn add_bare(&mut self, start: u64, end: u64, kind: MappingKind) {
        let mut start = start;
        for _ in 0..MAX_PIECES {
            if start >= end {
                return;
            }
            let len = (end - start).min(MAX_LEN);
            self.push(Range { start, len: len as u32, kind: kind.short(), ..Range::default() });
            start += len;
        }
        self.beyond += u64::from(start < end);
    }

    fn push(&mut self, range: Range) {
        if self.ranges.len() < MAPPINGS_MAX as usize {
            self.ranges.push(range);
        } else {
            self.beyond += 1;
        }
    }
}

/// The part of a segment of a file that a mapping shows.
struct Seen {
    /// Where in the process it begins.
    address: u64,
    /// Where in the segment it begins.
    in_segment: u64,
    /// How long it is.
    len: u64,
}

impl Seen {
    fn of(mapping: &Mapping, file_offset: u64, file_size: u64) -> Option<Self> {
        let mapped = mapping.end.checked_sub(mapping.start)?;
        let from = mapping.file_offset.max(file_offset);
        let to =
            mapping.file_offset.saturating_add(mapped).min(file_offset.saturating_add(file_size));
        Some(Self {
            address: mapping.start.checked_add(from - mapping.file_offset)?,
            in_segment: from - file_offset,
            len: to.checked_sub(from).filter(|len| *len > 0)?,
        })
    }
}

#[cfg(test)]
mod tests;
