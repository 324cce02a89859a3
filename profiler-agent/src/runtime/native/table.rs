//! The unwind table of a binary, and what is told about it.

use std::io;

use profiler_common::native::lookup::{self, Bytes, CHUNK_BYTES, CHUNK_SHIFT, Region as _};
use profiler_common::native::rule::Rule;
use profiler_common::native::{REGION_BYTES, REGION_RESERVE};
use thiserror::Error;

use super::machine::Machine;

/// The unwind table of a binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Whose code it is of.
    pub machine: Machine,
    /// In the order of addresses; what lies between two parts has no rules.
    pub parts: Vec<Part>,
    /// Where the rows come from.
    pub source: Source,
    /// What was read.
    pub report: Report,
}

/// A contiguous piece of a table, as [`profiler_common::native::lookup`] describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// ELF virtual address of the first byte that it covers, a multiple of 256.
    pub address: u64,
    /// Bytes of code that it covers, a multiple of 256, less than 4 GiB.
    pub len: u64,
    /// Byte offset of its rules in `bytes`, a multiple of 8.
    pub rules: u32,
    /// The chunks, rules and blocks.
    pub bytes: Box<[u8]>,
    /// How many rules there are.
    pub(super) rule_count: u32,
}

/// Addresses that have a rule in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// First address.
    pub start: u64,
    /// Behind the last.
    pub end: u64,
    /// What holds there.
    pub rule: Rule,
}

/// Which unwind information a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `.eh_frame`: what exceptions are thrown by.
    EhFrame,
    /// `.debug_frame`, which is for debuggers.
    DebugFrame,
    /// Both; the second for code that the first does not cover.
    Both,
    /// Neither: from what little code is known by its instructions.
    Instructions,
}

/// What was read, and what of it no rule can hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of `.eh_frame`.
    pub eh_frame: u64,
    /// Bytes of `.debug_frame`, unpacked.
    pub debug_frame: u64,
    /// Whether `.debug_frame` is that of the debug file.
    pub debug_frame_apart: bool,
    /// Descriptions of functions.
    pub fdes: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rules, each counted once per part.
    pub rules: u64,
    /// Descriptions that begin where another does, or inside of another.
    pub overlapping: u64,
    /// Descriptions of what is no code of this file.
    pub outside: u64,
    /// Pieces of code that are known by their instructions.
    pub known: u64,
    /// Rows by what of them no rule can hold, in the order of [`Cause::ALL`].
    pub unsupported: [u64; Cause::ALL.len()],
}

/// What no rule can hold of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The CFA is the result of an expression of an unknown shape.
    CfaExpression,
    /// The CFA is too far from its register, or not a number of words.
    CfaOffset,
    /// The return address is kept in an unknown way.
    ReturnAddress,
    /// The frame of a signal of an unknown shape.
    Signal,
    /// The description is malformed.
    Malformed,
    /// The saved frame pointer is kept in an unknown way: the row has a rule, and frames that need it
    /// further out are lost.
    FramePointer,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::CfaExpression,
        Self::CfaOffset,
        Self::ReturnAddress,
        Self::Signal,
        Self::Malformed,
        Self::FramePointer,
    ];

    /// A stable, lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CfaExpression => "cfa_expression",
            Self::CfaOffset => "cfa_offset",
            Self::ReturnAddress => "return_address",
            Self::Signal => "signal_frame",
            Self::Malformed => "malformed",
            Self::FramePointer => "frame_pointer",
        }
    }
}

impl Report {
    pub(super) fn count(&mut self, cause: Cause) {
        if let Some(count) = self.unsupported.get_mut(cause as usize) {
            *count += 1;
        }
    }

    /// The causes that occurred, and how often.
    pub fn causes(&self) -> impl Iterator<Item = (Cause, u64)> + '_ {
        let all = Cause::ALL.into_iter().zip(self.unsupported);
        all.filter(|(_, count)| *count > 0)
    }
}

impl Source {
    /// The name of the section or sections.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EhFrame => ".eh_frame",
            Self::DebugFrame => ".debug_frame",
            Self::Both => ".eh_frame and .debug_frame",
            Self::Instructions => "its instructions",
        }
    }
}

/// What a file may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one section, unpacked.
    pub section: u64,
    /// Bytes of the table.
    pub table: u64,
    /// Bytes of one part of it, below [`Limits::MAX_PART`]. Smaller parts find a place more easily, and
    /// repeat more rules.
    pub part: u32,
}

impl Limits {
    /// A part fits into a region of the kernel's memory.
    pub const MAX_PART: u32 = REGION_BYTES - REGION_RESERVE;
}

impl Default for Limits {
    /// The largest binaries of a distribution have 10 MB of `.eh_frame`.
    fn default() -> Self {
        Self { section: 64 << 20, table: 32 << 20, part: 1 << 20 }
    }
}

/// Why a file has no table.
#[derive(Debug, Error)]
pub enum NoTable {
    /// Reading failed.
    #[error("reading it failed: {0}")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("it is not a little-endian ELF file of the 64-bit class")]
    NotElf,
    /// A processor that no process here runs on.
    #[error("it is for a machine other than x86-64 and arm64")]
    Machine,
    /// An object file: its code has no addresses yet.
    #[error("it is an object file, which a linker has yet to place")]
    NotLinked,
    /// A header points outside of the file, or wants more than an honest file does.
    #[error("its {0} are malformed")]
    Malformed(&'static str),
    /// No section describes its code.
    #[error("it has no unwind information, neither .eh_frame nor .debug_frame")]
    NoInformation,
    /// Sections of unwind information describe none of its code.
    #[error("its unwind information describes none of its code")]
    NoRows,
    /// A section or the table is larger than allowed.
    #[error("its {what} would take more than {limit} bytes")]
    TooLarge {
        /// Section or table.
        what: &'static str,
        /// The limit, bytes.
        limit: u64,
    },
    /// Its unwind information would take more work than its size allows.
    #[error("its unwind information describes the same thing again and again")]
    TooMuchWork,
}

impl Table {
    /// The rule at an ELF virtual address, as the kernel side finds it.
    pub fn rule(&self, address: u64) -> Rule {
        let after = self.parts.partition_point(|part| part.address <= address);
        let part = after.checked_sub(1).and_then(|index| self.parts.get(index));
        part.and_then(|part| part.rule(address)).unwrap_or(Rule::NONE)
    }

    /// All rows, as they are packed: in the order of addresses, without those that have no rule.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut rows = self.parts.iter().flat_map(Part::rows).peekable();
        let merged = std::iter::from_fn(move || {
            let mut row = rows.next()?;
            let continues = |row: &Row, next: &Row| next.start == row.end && next.rule == row.rule;
            while let Some(next) = rows.next_if(|next| continues(&row, next)) {
                row.end = next.end;
            }
            Some(row)
        });
        merged.filter(|row| row.rule != Rule::NONE)
    }

    /// Bytes of all parts.
    pub fn size(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes.len() as u64).sum()
    }
}

impl Part {
    /// The rule at an ELF virtual address; `None` where the part does not reach.
    pub fn rule(&self, address: u64) -> Option<Rule> {
        let place = address.checked_sub(self.address).filter(|place| *place < self.len)?;
        Some(lookup::rule(&mut Bytes(&self.bytes), 0, self.rules, place as u32))
    }

    /// What each chunk says, chunk by chunk.
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let chunks = (0..self.len).step_by(CHUNK_BYTES as usize);
        chunks.flat_map(|chunk| self.rows_of(self.address.saturating_add(chunk), chunk as u32))
    }

    fn rows_of(&self, address: u64, place: u32) -> Vec<Row> {
        let bytes = Bytes(&self.bytes);
        let entry = bytes.u32((place >> CHUNK_SHIFT) * 4) as u32;
        let (rows, places) = (entry & 0xff, (entry >> 8) * 2 + 2);
        let mut starts = vec![0];
        starts.extend((0..rows).map(|row| bytes.u8(places + row)));
        let ends = starts.iter().skip(1).copied().chain([CHUNK_BYTES.into()]);
        let row = |(start, end): (&u64, u64)| Row {
            start: address + start,
            end: address + end,
            rule: self.rule(address + start).unwrap_or(Rule::NONE),
        };
        starts.iter().zip(ends).map(row).collect()
    }

    pub(super) fn rule_count(&self) -> u64 {
        self.rule_count.into()
    }
}
