//! The walk of a stack outside of the kernel: over a copy of its bytes, by the same steps and tables.
//!
//! The kernel side hands over what it cannot walk yet, mostly the first samples of a new process, whose
//! mappings it learns of a few milliseconds later.

use profiler_common::native::MappingList;
use profiler_common::native::step::Stack;
use profiler_common::native::walk::{Arena, Position, caller};
use profiler_common::walk::WalkEnd;

use crate::model::event::Rest;

/// The frames behind those that were recorded, as words of [`profiler_common::walk`], and why they end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwound {
    /// Innermost first.
    pub frames: Vec<u64>,
    /// Why there are no more.
    pub end: WalkEnd,
}

/// Goes on with a walk, for at most `limit` frames.
pub fn unwind<A: Arena>(rest: &Rest, list: MappingList, arena: &mut A, limit: usize) -> Unwound {
    let mut position = Position::new(rest.at, list);
    let mut stack = Copied { start: rest.at.sp & !7, bytes: &rest.stack };
    let mut frames = Vec::new();
    let end = loop {
        if frames.len() >= limit {
            break WalkEnd::DepthLimit;
        }
        match caller(&mut position, arena, &mut stack, cfg!(target_arch = "aarch64")) {
            Ok(()) => frames.push(position.word()),
            // The copy has an end, the stack goes on.
            Err(WalkEnd::Unreadable) => break WalkEnd::NotReady,
            Err(end) => break end,
        }
    };
    Unwound { frames, end }
}

/// A copy of the next bytes of a stack.
struct Copied<'a> {
    start: u64,
    bytes: &'a [u8],
}

impl Stack for Copied<'_> {
    fn next(&mut self, _floor: u64, address: u64) -> Option<u64> {
        self.word(address)
    }

    fn word(&mut self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        Some(u64::from_ne_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    fn follows_call(&mut self, _return_address: u64) -> Option<bool> {
        None
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::native::lookup::Bytes;
    use profiler_common::native::rule::{Cfa, FramePointer, Rule};
    use profiler_common::native::step::{self, Registers};
    use profiler_common::native::{Mapping, MappingKind};
    use profiler_common::walk::{FRAME_EXACT, FRAME_GUESSED};
    use zerocopy::IntoBytes as _;

    use super::super::encode::Encoder;
    use super::super::table::Limits;
    use super::*;

    const CODE: u64 = 0x40_0000;
    const GENERATED: u64 = 0x50_0000;
    const STACK: u64 = 0x7fff_0000;

    /// One region: a list of two mappings, then the table of the first, whose rules hold for 0x10 bytes
    /// of code each.
    struct Process(Vec<u8>);

    impl Process {
        fn new(rules: &[Rule]) -> Self {
            let mut encoder = Encoder::new(&Limits::default());
            for (start, rule) in (CODE..).step_by(0x10).zip(rules) {
                encoder.add(start, start + 0x10, *rule).unwrap();
            }
            let part = encoder.finish().unwrap().remove(0);
            let table = 2 * size_of::<Mapping>() as u32;
            let code = Mapping { start: CODE, len: 0x1000, table, ..Mapping::default() };
            let code = Mapping { rules: table + part.rules, ..code };
            let generated = Mapping { start: GENERATED, kind: MappingKind::NoRows.short(), ..code };
            Self([code.as_bytes(), generated.as_bytes(), &part.bytes].concat())
        }

        fn unwind(&mut self, at: Registers, words: &[u64], limit: usize) -> Unwound {
            let list = MappingList { count: 2, ..MappingList::default() };
            unwind(&Rest { at, stack: words.as_bytes().into() }, list, self, limit)
        }
    }

    impl Arena for Process {
        type Region<'a> = Bytes<'a>;

        fn region(&mut self, number: u32) -> Option<Bytes<'_>> {
            (number == 0).then_some(Bytes(&self.0))
        }
    }

    fn at(pc: u64, fp: u64) -> Registers {
        Registers { pc, sp: STACK, fp, lr: 0, kept: step::RUNNING }
    }

    #[test]
    fn by_rows_by_frame_pointers_and_by_rows_again() {
        let mut process = Process::new(&[
            Rule::new(Cfa::Sp, 1),
            Rule::new(Cfa::Sp, 3).with_frame_pointer(FramePointer::Saved, -2),
            Rule::END,
        ]);
        let words = [CODE + 0x18, 0, STACK + 0x20, GENERATED + 8, 0, CODE + 0x28];
        let whole = Unwound {
            frames: vec![CODE + 0x18, GENERATED + 8, FRAME_GUESSED | (CODE + 0x28)],
            end: WalkEnd::Complete,
        };
        assert_eq!(process.unwind(at(CODE, 0), &words, 9), whole);

        let cut = Unwound { frames: whole.frames[..2].to_vec(), end: WalkEnd::DepthLimit };
        assert_eq!(process.unwind(at(CODE, 0), &words, 2), cut);
        // The copy of the stack may end anywhere.
        for (words, frames) in [(&words[..5], 2), (&words[..3], 1), (&words[..0], 0)] {
            let cut = Unwound { frames: whole.frames[..frames].to_vec(), end: WalkEnd::NotReady };
            assert_eq!(process.unwind(at(CODE, 0), words, 9), cut);
        }
    }

    #[test]
    fn through_a_signal_to_the_place_that_it_interrupted() {
        let mut process = Process::new(&[Rule::new(Cfa::Signal, 0), Rule::END]);
        let mut words = [0; 60];
        for offset in [120, 160, 168, 416, 424, 432, 440] {
            words[offset / 8] = CODE + 0x10;
        }
        let Unwound { frames, end } = process.unwind(at(CODE, 0), &words, 9);
        assert_eq!((frames, end), (vec![FRAME_EXACT | (CODE + 0x10)], WalkEnd::Complete));
    }

    #[test]
    fn where_nothing_leads_further_it_says_why() {
        let rules = [Rule::new(Cfa::Sp, -1), Rule::new(Cfa::Fp, 2), Rule::UNSUPPORTED];
        for (what, pc, fp, end) in [
            ("below the stack pointer", CODE, 0, WalkEnd::BadRow),
            ("a frame pointer that is none", CODE + 0x10, 5, WalkEnd::NoRows),
            ("a frame pointer elsewhere", CODE + 0x10, 0x1000, WalkEnd::NoRows),
            ("an unknown shape, no frame pointer", CODE + 0x20, 5, WalkEnd::NoRows),
            ("behind the rows, no frame pointer", CODE + 0x40, 0x1000, WalkEnd::NoRows),
            ("no mapping", 0x1000, 0, WalkEnd::NotReady),
            ("another program counter", u64::MAX, 0, WalkEnd::NotReady),
        ] {
            let unwound = Process::new(&rules).unwind(at(pc, fp), &[0; 8], 9);
            assert_eq!(unwound, Unwound { frames: Vec::new(), end }, "{what}");
        }
    }
}
