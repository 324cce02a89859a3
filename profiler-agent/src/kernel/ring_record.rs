//! From the bytes of one record of the BPF programs to an event. A record that contradicts itself, or
//! that a newer object wrote, is `None`: the reader counts it and goes on.

use profiler_common::record::{RecordKind, Rest, ResumeRecord, StackRecord, flags};
use profiler_common::thread::ThreadState;
use profiler_common::walk::WalkEnd;
use zerocopy::FromBytes as _;

use super::spare::Spare;
use crate::model::event::{self, Event, RawBlock, RawStack, Resume};

/// Size of a word of a stack.
const WORD: usize = size_of::<u64>();

/// Decodes one record, into buffers that are at hand.
pub fn decode(bytes: &[u8], spare: &mut Spare) -> Option<Event> {
    let kind = u32::from_ne_bytes(*bytes.first_chunk()?);
    match RecordKind::from_raw(kind)? {
        RecordKind::OnCpu => Some(Event::OnCpu(stack(bytes, spare)?.0)),
        RecordKind::Block => {
            let (stack, header) = stack(bytes, spare)?;
            Some(Event::Block(RawBlock {
                stack,
                state: ThreadState::from_raw(header.state.into())?,
                since_before: header.flags & flags::SINCE_BEFORE != 0,
            }))
        }
        RecordKind::Resume => resume(bytes).map(Event::Resume),
    }
}

fn stack(bytes: &[u8], spare: &mut Spare) -> Option<(RawStack, StackRecord)> {
    let (header, frames) = StackRecord::read_from_prefix(bytes).ok()?;
    let (user, rest) = words(frames, header.user_frames, spare)?;
    let (kernel, rest) = words(rest, header.kernel_frames, spare)?;
    let rest = if header.flags & flags::REST != 0 { Some(Box::new(rest_of(rest)?)) } else { None };
    let stack = RawStack {
        time_ns: header.time_ns,
        pid: header.pid,
        tid: header.tid,
        cpu: header.cpu,
        cgroup_id: header.cgroup_id,
        comm: header.comm,
        user,
        kernel,
        user_end: WalkEnd::from_raw(header.user_end.into())?,
        kernel_end: WalkEnd::from_raw(header.kernel_end.into())?,
        rest,
    };
    Some((stack, header))
}

fn rest_of(bytes: &[u8]) -> Option<event::Rest> {
    let (rest, stack) = Rest::read_from_prefix(bytes).ok()?;
    let stack = stack.get(..usize::try_from(rest.bytes).ok()?)?;
    Some(event::Rest { at: rest.at, stack: stack.into() })
}

/// Splits off as many words as a header announces, if they are there.
fn words<'a>(bytes: &'a [u8], count: u16, spare: &mut Spare) -> Option<(Vec<u64>, &'a [u8])> {
    let (frames, rest) = bytes.split_at_checked(WORD * usize::from(count))?;
    let (frames, _) = frames.as_chunks::<WORD>();
    let mut words = if frames.is_empty() { Vec::new() } else { spare.buffer() };
    words.extend(frames.iter().map(|word| u64::from_ne_bytes(*word)));
    Some((words, rest))
}

fn resume(bytes: &[u8]) -> Option<Resume> {
    let (record, _) = ResumeRecord::read_from_prefix(bytes).ok()?;
    // A thread cannot return before it left: the difference of the two is what counts.
    (record.resumed_at_ns >= record.blocked_at_ns).then_some(Resume {
        pid: record.pid,
        tid: record.tid,
        blocked_at_ns: record.blocked_at_ns,
        resumed_at_ns: record.resumed_at_ns,
        skipped: record.skipped,
    })
}

#[cfg(test)]
mod tests {
    use profiler_common::native::step::Registers;
    use profiler_common::thread::{Skipped, THREAD_STATES};
    use zerocopy::IntoBytes as _;

    use super::*;

    fn decode(bytes: &[u8]) -> Option<Event> {
        super::decode(bytes, &mut Spare::default())
    }

    fn header(kind: RecordKind, user_frames: u16, kernel_frames: u16) -> StackRecord {
        StackRecord {
            kind: kind.raw(),
            cpu: 3,
            pid: 10,
            tid: 11,
            time_ns: 1_000,
            cgroup_id: 5,
            comm: *b"worker\0\0\0\0\0\0\0\0\0\0",
            user_frames,
            kernel_frames,
            user_end: WalkEnd::DepthLimit.raw() as u8,
            kernel_end: WalkEnd::Absent.raw() as u8,
            state: ThreadState::Uninterruptible.raw() as u8,
            flags: if kind == RecordKind::Block { flags::SINCE_BEFORE } else { 0 },
        }
    }

    fn bytes(header: StackRecord, frames: &[u64]) -> Vec<u8> {
        [header.as_bytes(), frames.as_bytes()].concat()
    }

    #[test]
    fn a_stack_keeps_its_two_parts_apart() {
        let Some(Event::OnCpu(stack)) = decode(&bytes(header(RecordKind::OnCpu, 2, 1), &[1, 2, 9]))
        else {
            panic!("not a sample")
        };
        assert_eq!((stack.user, stack.kernel), (vec![1, 2], vec![9]));
        assert_eq!((stack.pid, stack.tid, stack.cpu, stack.time_ns), (10, 11, 3, 1_000));
        assert_eq!((stack.user_end, stack.kernel_end), (WalkEnd::DepthLimit, WalkEnd::Absent));
    }

    /// A sample whose walk the user side is to go on with: so many bytes of stack, as it says and as
    /// there are.
    fn unfinished(announced: u64, there: usize) -> Vec<u8> {
        let mut header = header(RecordKind::OnCpu, 1, 1);
        (header.flags, header.user_end) = (flags::REST, WalkEnd::NotReady.raw() as u8);
        let at = Registers { pc: 1, sp: 2, fp: 3, lr: 4, kept: 1 };
        let rest = Rest { at, bytes: announced };
        [bytes(header, &[1, 9]), rest.as_bytes().to_vec(), vec![7; there]].concat()
    }

    #[test]
    fn what_is_left_of_a_stack_comes_along() {
        let Some(Event::OnCpu(stack)) = decode(&unfinished(16, 16)) else { panic!("not a sample") };
        let rest = stack.rest.expect("the rest of the stack");
        assert_eq!((rest.at.pc, rest.at.kept, rest.stack.len()), (1, 1, 16));
        assert_eq!((stack.user, stack.kernel), (vec![1], vec![9]));
    }

    #[test]
    fn a_block_says_what_the_thread_was() {
        let Some(Event::Block(block)) = decode(&bytes(header(RecordKind::Block, 0, 0), &[])) else {
            panic!("not a block")
        };
        assert_eq!((block.state, block.since_before), (ThreadState::Uninterruptible, true));
    }

    fn resume_record(blocked_at_ns: u64, resumed_at_ns: u64) -> ResumeRecord {
        let skipped = [Skipped { blocks: 1, ns: 2 }; THREAD_STATES];
        let kind = RecordKind::Resume.raw();
        ResumeRecord { kind, cpu: 0, pid: 10, tid: 11, blocked_at_ns, resumed_at_ns, skipped }
    }

    #[test]
    fn a_resume_carries_what_was_skipped() {
        let Some(Event::Resume(resume)) = decode(resume_record(5, 7).as_bytes()) else {
            panic!("not a resume")
        };
        assert_eq!((resume.blocked_at_ns, resume.resumed_at_ns), (5, 7));
        assert_eq!(resume.skipped[0], Skipped { blocks: 1, ns: 2 });
    }

    #[test]
    fn hostile_records_are_refused() {
        let sample = |f: &dyn Fn(&mut StackRecord)| {
            let mut h = header(RecordKind::OnCpu, 1, 1);
            f(&mut h);
            bytes(h, &[1, 2])
        };
        for (what, record) in [
            ("nothing", vec![]),
            ("no kind", vec![1, 0, 0]),
            ("an unknown kind", sample(&|h| h.kind = 99)),
            ("more user frames than bytes", sample(&|h| h.user_frames = u16::MAX)),
            ("more kernel frames than bytes", sample(&|h| h.kernel_frames = 2)),
            ("an unknown end", sample(&|h| h.user_end = 200)),
            ("an unknown kernel end", sample(&|h| h.kernel_end = 200)),
            ("an unknown state", sample(&|h| (h.kind, h.state) = (RecordKind::Block.raw(), 77))),
            ("less stack than it says", unfinished(17, 16)),
            ("far less stack than it says", unfinished(u64::MAX, 16)),
            ("a return before the leave", resume_record(7, 5).as_bytes().to_vec()),
        ] {
            assert!(decode(&record).is_none(), "{what}");
        }
    }

    #[test]
    fn no_cut_and_no_byte_makes_it_panic() {
        for whole in [
            bytes(header(RecordKind::Block, 3, 2), &[1, 2, 3, 4, 5]),
            resume_record(5, 7).as_bytes().to_vec(),
            unfinished(16, 16),
        ] {
            for at in 0..whole.len() {
                let _ = decode(&whole[..at]);
                let mut changed = whole.clone();
                changed[at] ^= 0xff;
                let _ = decode(&changed);
            }
        }
    }
}
