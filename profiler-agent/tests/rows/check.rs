//! Compares the table of a file with its unwind information, row by row.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;

use gimli::{
    AArch64, BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, LittleEndian, Register,
    UnwindContext, UnwindSection, UnwindTableRow, Vendor, X86_64,
};
use object::{Architecture, Object, ObjectSection, ObjectSegment, SegmentFlags};
use profiler_agent::runtime::native::{Limits, NoTable, Report, Source, Table, load};
use profiler_common::native::rule::{Cfa, Rule};
use profiler_common::native::step::{RUNNING, Registers, Stop, UNKNOWN, step};
use profiler_common::walk::WalkEnd;

use crate::reference::{Caller, Frame, Numbers, SP, Slice};

/// What the table knows by the code's instructions, other than or beside what is described.
const KNOWN: &str = "known by its instructions";

/// Differences of each kind that are shown.
const SHOWN: u64 = 5;

/// What was compared.
#[derive(Default)]
pub struct Tally {
    /// Files with a table.
    files: u64,
    /// Files without, by cause.
    without: BTreeMap<String, u64>,
    pub rows: u64,
    /// Places compared.
    places: u64,
    /// Places where the table says that it has no rule, by why.
    open: BTreeMap<&'static str, u64>,
    differences: BTreeMap<&'static str, u64>,
    eh_frame: u64,
    table: u64,
    report: Report,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.rows += other.rows;
        self.places += other.places;
        self.eh_frame += other.eh_frame;
        self.table += other.table;
        other.without.into_iter().for_each(|(k, n)| *self.without.entry(k).or_default() += n);
        other.open.into_iter().for_each(|(k, n)| *self.open.entry(k).or_default() += n);
        for (kind, count) in other.differences {
            *self.differences.entry(kind).or_default() += count;
        }
        self.count_report(&other.report);
    }

    pub fn differences(&self) -> u64 {
        self.differences.values().sum()
    }

    fn count_report(&mut self, other: &Report) {
        let sum = &mut self.report;
        sum.fdes += other.fdes;
        sum.rows += other.rows;
        sum.rules += other.rules;
        sum.overlapping += other.overlapping;
        sum.outside += other.outside;
        sum.unsupported.iter_mut().zip(other.unsupported).for_each(|(sum, n)| *sum += n);
    }

    fn differ(&mut self, kind: &'static str, what: impl FnOnce() -> String) {
        let count = self.differences.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN {
            println!("{kind}: {}", what());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} files with tables; without: {:?}", self.files, self.without)?;
        let Report { fdes, rows, rules, overlapping, outside, .. } = self.report;
        writeln!(f, "{fdes} functions ({overlapping} overlap, {outside} outside), {rows} rows")?;
        let causes: Vec<_> = self.report.causes().map(|(c, n)| (c.name(), n)).collect();
        writeln!(f, "{rules} rules; rows that no rule can hold: {causes:?}")?;
        let ratio = self.table as f64 / self.eh_frame as f64;
        writeln!(f, ".eh_frame {} B, tables {} B: {ratio:.3}", self.eh_frame, self.table)?;
        writeln!(f, "{} rows compared at {} places", self.rows, self.places)?;
        writeln!(f, "left open: {:?}", self.open)?;
        write!(f, "differences: {:?}", self.differences)
    }
}

/// Compares one file. What is no program or library for this agent's machines is passed over.
pub fn file(path: &Path, tally: &mut Tally) {
    let table = match File::open(path)
        .map_err(NoTable::from)
        .and_then(|file| load(&file, None, &Limits::default()))
    {
        Ok(table) => table,
        Err(error) => {
            *tally.without.entry(error.to_string()).or_default() += 1;
            return;
        }
    };
    let data = std::fs::read(path).unwrap();
    let elf = object::File::parse(&*data).unwrap();
    let (numbers, vendor) = match elf.architecture() {
        Architecture::X86_64 => {
            let pc = X86_64::RA;
            (Numbers { sp: X86_64::RSP, fp: X86_64::RBP, lr: None, pc }, Vendor::Default)
        }
        Architecture::Aarch64 => {
            let (sp, fp, lr) = (AArch64::SP, AArch64::X29, Some(AArch64::X30));
            (Numbers { sp, fp, lr, pc: Register(32) }, Vendor::AArch64)
        }
        _ => return,
    };
    tally.files += 1;
    tally.eh_frame += table.report.eh_frame;
    tally.table += table.size();
    tally.count_report(&table.report);

    let code = elf.segments().filter(|segment| match segment.flags() {
        SegmentFlags::Elf { p_flags, .. } => p_flags.contains(object::elf::PF_X),
        _ => false,
    });
    let code = code.map(|segment| segment.address()..segment.address() + segment.file_range().1);
    let mut bases = BaseAddresses::default();
    if let Some(text) = elf.section_by_name(".text") {
        bases = bases.set_text(text.address());
    }
    let mut compared = Compared { path, table: &table, numbers, code: code.collect(), tally };
    if let Some(section) = elf.section_by_name(".eh_frame") {
        let bases = bases.set_eh_frame(section.address());
        let mut frames = EhFrame::new(section.data().unwrap(), LittleEndian);
        frames.set_address_size(8);
        frames.set_vendor(vendor);
        compared.section(&frames, &bases);
    } else if let Some(section) = elf.section_by_name(".debug_frame") {
        let mut frames = DebugFrame::new(section.data().unwrap(), LittleEndian);
        frames.set_address_size(8);
        frames.set_vendor(vendor);
        compared.section(&frames, &bases);
    }
}

/// A file that is compared.
struct Compared<'a> {
    path: &'a Path,
    table: &'a Table,
    numbers: Numbers,
    code: Vec<Range<u64>>,
    tally: &'a mut Tally,
}

impl Compared<'_> {
    fn section<'i, S: UnwindSection<Slice<'i>>>(&mut self, section: &S, bases: &BaseAddresses) {
        let mut context = UnwindContext::new();
        let mut functions = Vec::new();
        let mut entries = section.entries(bases);
        while let Ok(Some(entry)) = entries.next() {
            let CieOrFde::Fde(partial) = entry else { continue };
            let Ok(fde) = partial.parse(S::cie_from_offset) else { continue };
            functions.push(fde);
        }
        functions.sort_by_key(|fde| fde.initial_address());
        let mut before = 0;
        for (index, fde) in functions.iter().enumerate() {
            let next = functions.get(index + 1).map_or(u64::MAX, |fde| fde.initial_address());
            // A place that two functions claim is no ground for a comparison.
            let range = fde.initial_address().max(before)..fde.end_address().min(next);
            before = before.max(fde.end_address());
            self.gap(before..next.min(before.saturating_add(1 << 20)));
            if !self.code.iter().any(|code| code.contains(&range.start)) {
                continue;
            }
            let Ok(mut rows) = fde.rows(section, bases, &mut context) else { continue };
            let ra = fde.cie().return_address_register();
            while let Ok(Some(row)) = rows.next_row() {
                let from = row.start_address().max(range.start);
                let to = row.end_address().min(range.end);
                if from >= to {
                    continue;
                }
                self.tally.rows += 1;
                let middle = from + from.wrapping_mul(0x9e37_79b9) % (to - from);
                for (at, address) in [from, middle, to - 1].into_iter().enumerate() {
                    if at == 0 || address != from {
                        self.place(section, row, ra, fde.is_signal_trampoline(), address);
                    }
                }
            }
        }
    }

    /// What no function describes has no rule, unless the code is known by its instructions.
    fn gap(&mut self, gap: Range<u64>) {
        if gap.is_empty() || self.table.source == Source::Both {
            return;
        }
        for pc in [gap.start, gap.end - 1] {
            let rule = self.table.rule(pc);
            if self.is_known(rule) {
                *self.tally.open.entry(KNOWN).or_default() += 1;
            } else if rule != Rule::NONE {
                let path = self.path.display();
                self.tally.differ("a rule in a gap", || format!("{path} {pc:#x}: {rule:x?}"));
            }
        }
    }

    /// Whether a rule may be of code that is known by its instructions: this file has some.
    fn is_known(&self, rule: Rule) -> bool {
        let known = [Cfa::Clone, Cfa::Signal, Cfa::End].map(Cfa::raw);
        self.table.report.known > 0 && known.contains(&rule.cfa())
    }

    fn place<'i, S: UnwindSection<Slice<'i>>>(
        &mut self,
        section: &S,
        row: &UnwindTableRow<usize>,
        ra: Register,
        is_signal: bool,
        pc: u64,
    ) {
        self.tally.places += 1;
        // Code that does not align its stack pointer has a frame that makes up for it.
        let odd = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } if *register == self.numbers.sp => {
                offset.rem_euclid(8) as u64
            }
            _ => 0,
        };
        let frame = Frame { numbers: self.numbers, pc, sp: SP - odd };
        let rule = self.table.rule(pc);
        let Some(ours) = self.ours(rule, &frame) else { return };
        let Ok(expected) = frame.caller(section, row, ra) else {
            *self.tally.open.entry("gimli cannot evaluate it").or_default() += 1;
            return;
        };
        if is_signal && self.numbers.lr.is_some() {
            return;
        }
        if ours == Caller::End && expected != Caller::End && self.is_known(rule) {
            *self.tally.open.entry(KNOWN).or_default() += 1;
            return;
        }
        let expected = self.as_far_as_known(ours, expected);
        let is_same = ours == expected;
        if !is_same {
            let path = self.path.display();
            let kind = kind_of(ours, expected);
            self.tally.differ(kind, || {
                format!("{path} {pc:#x}: {ours:x?} by {rule:x?}, gimli {expected:x?}: {row:?}")
            });
        }
    }

    /// What is expected of what the rule tells. The rest is counted.
    fn as_far_as_known(&mut self, ours: Caller, mut expected: Caller) -> Caller {
        let (Caller::At { fp, rbx, .. }, Caller::At { fp: fp2, rbx: rbx2, .. }) =
            (ours, &mut expected)
        else {
            return expected;
        };
        for (ours, expected, what) in [(fp, fp2, "frame pointer lost"), (rbx, rbx2, "rbx lost")] {
            if ours.is_none() && expected.take().is_some() {
                *self.tally.open.entry(what).or_default() += 1;
            }
        }
        expected
    }

    /// Where our rule leads; `None` where it says that it does not know, which is counted.
    fn ours(&mut self, rule: Rule, frame: &Frame) -> Option<Caller> {
        let is_arm = self.numbers.lr.is_some();
        let mut registers = Registers {
            pc: frame.pc,
            sp: frame.sp,
            fp: frame.register(self.numbers.fp),
            lr: frame.register(self.numbers.lr.unwrap_or(X86_64::RBX)),
            kept: RUNNING,
        };
        let found = step(rule, &mut registers, &mut { *frame }, is_arm);
        let why = match found {
            Ok(()) => {
                let pc = registers.pc;
                let fp = Some(registers.fp).filter(|fp| *fp != UNKNOWN);
                let rbx = match registers.lr {
                    0 => None,
                    place if place & 1 == 1 => Some(Frame::memory(place - 1)),
                    rbx => Some(rbx),
                };
                return Some(Caller::At { pc, sp: registers.sp, fp, rbx });
            }
            Err(Stop::End(WalkEnd::Complete)) => return Some(Caller::End),
            Err(Stop::End(end)) => end.name(),
            Err(Stop::NoRule) if rule == Rule::UNSUPPORTED => "unsupported",
            // The frame pointer of this frame is not one that such a function has.
            Err(Stop::NoRule) if rule.cfa() == Cfa::Fp.raw() => "no frame at the frame pointer",
            Err(Stop::NoRule) => {
                let path = self.path.display();
                self.tally.differ("no rule", || format!("{path} {:#x}: {rule:x?}", frame.pc));
                return None;
            }
        };
        *self.tally.open.entry(why).or_default() += 1;
        None
    }
}

fn kind_of(ours: Caller, expected: Caller) -> &'static str {
    match (ours, expected) {
        (Caller::At { pc, sp, .. }, Caller::At { pc: pc2, sp: sp2, .. }) => {
            if sp != sp2 {
                "another CFA"
            } else if pc != pc2 {
                "another return address"
            } else {
                "another saved register"
            }
        }
        _ => "an end",
    }
}
