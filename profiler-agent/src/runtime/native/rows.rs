//! Runs the program of each function, and hands its rows on as rules.

use gimli::{EndianSlice, LittleEndian, UnwindContext, UnwindSection};
use profiler_common::native::rule::Rule;

use super::functions::{Frames, Function};
use super::go;
use super::machine::Machine;
use super::shape::Shapes;
use super::sources::Sink;
use super::table::{Cause, NoTable, Report};

/// Bytes of programs that may be run for each byte of the sections. The program that functions have in
/// common is run for each of them: a long one would make the time grow with the square of the size.
const WORK_PER_BYTE: usize = 8;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What runs the programs.
pub(super) struct Rows<'r> {
    machine: Machine,
    context: UnwindContext<usize>,
    work_left: usize,
    report: &'r mut Report,
}

impl<'r> Rows<'r> {
    /// For sections of `size` bytes in all.
    pub fn new(machine: Machine, size: usize, report: &'r mut Report) -> Self {
        let work_left = size.saturating_mul(WORK_PER_BYTE);
        Self { machine, context: UnwindContext::new(), work_left, report }
    }

    /// The rows of a function.
    pub fn of<'i, S: UnwindSection<Slice<'i>>>(
        &mut self,
        frames: &mut Frames<'i, S>,
        function: &Function,
        sink: &mut Sink<'_>,
    ) -> Result<(), NoTable> {
        self.run(frames, function, sink, false)
    }

    /// The rows of a function that Go's compiler described.
    pub fn of_go<'i, S: UnwindSection<Slice<'i>>>(
        &mut self,
        frames: &mut Frames<'i, S>,
        function: &Function,
        sink: &mut Sink<'_>,
    ) -> Result<(), NoTable> {
        self.run(frames, function, sink, true)
    }

    fn run<'i, S: UnwindSection<Slice<'i>>>(
        &mut self,
        frames: &mut Frames<'i, S>,
        function: &Function,
        sink: &mut Sink<'_>,
        is_go: bool,
    ) -> Result<(), NoTable> {
        let mut at = function.start;
        let Ok(fde) = frames.description(function) else {
            return self.malformed(at, function, sink);
        };
        let cost = fde.entry_len().saturating_add(fde.cie().entry_len());
        self.work_left = self.work_left.checked_sub(cost).ok_or(NoTable::TooMuchWork)?;

        let shapes = Shapes { section: &frames.section, machine: self.machine };
        let Ok(mut table) = fde.rows(&frames.section, &frames.bases, &mut self.context) else {
            return self.malformed(at, function, sink);
        };
        let (is_signal, ra) = (fde.is_signal_trampoline(), fde.cie().return_address_register());
        while at < function.end {
            let row = match table.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => break,
                Err(_) => return self.malformed(at, function, sink),
            };
            let end = row.end_address().min(function.end);
            if end <= at {
                continue;
            }
            self.report.rows += 1;
            if is_go {
                for (to, rule) in go::rules(row, self.machine, at, end) {
                    if to > at {
                        sink(at, to, rule)?;
                    }
                    at = to;
                }
                continue;
            }
            let shaped = if is_signal { shapes.signal(row) } else { shapes.rule(row, ra) };
            let rule = match shaped {
                Ok(shaped) => {
                    if shaped.loses_frame_pointer {
                        self.report.count(Cause::FramePointer);
                    }
                    shaped.rule
                }
                Err(cause) => {
                    self.report.count(cause);
                    Rule::UNSUPPORTED
                }
            };
            sink(at, end, rule)?;
            at = end;
        }
        // The last row reaches the function's end, unless that is past the last address there is.
        if at < function.end { self.malformed(at, function, sink) } else { Ok(()) }
    }

    /// What is left of a function whose description breaks off.
    fn malformed(
        &mut self,
        at: u64,
        function: &Function,
        sink: &mut Sink<'_>,
    ) -> Result<(), NoTable> {
        self.report.count(Cause::Malformed);
        sink(at, function.end, Rule::UNSUPPORTED)
    }
}
