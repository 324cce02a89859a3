//! What the unwind information of Go code is good for.
//!
//! It tells where the CFA is from the stack pointer, and nothing of the frame pointer, which Go code keeps
//! in every function with a frame. Where the runtime changes stacks, only the frame pointer leads back.

use gimli::{CfaRule, UnwindTableRow};
use profiler_common::native::rule::{Cfa, FramePointer, ReturnAddress, Rule};

use super::machine::Machine;

/// Bytes of `mov %rsp,%rbp`, which follows `push %rbp`.
const MOVE: u64 = 3;

/// The rules of a row from `start` to `end`, in order, each with where it ends.
pub(super) fn rules(
    row: &UnwindTableRow<usize>,
    machine: Machine,
    start: u64,
    end: u64,
) -> [(u64, Rule); 2] {
    // Of the other registers, Go functions keep none.
    let by_frame = Rule::new(Cfa::Fp, 2)
        .with_frame_pointer(FramePointer::Saved, -2)
        .with_rbx(if machine == Machine::X86_64 { Rule::RBX_LOST } else { 0 });
    let from_sp = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } if *register == machine.sp() => *offset,
        _ => return [(start, by_frame), (end, by_frame)],
    };
    match (machine, from_sp) {
        // No frame yet, or no more.
        (Machine::X86_64, 8) => [(start, by_frame), (end, Rule::new(Cfa::Sp, 1))],
        (Machine::Arm64, 0) => {
            let rule = Rule::new(Cfa::Sp, 0);
            [(start, by_frame), (end, rule.with_return_address(ReturnAddress::LinkRegister, 0))]
        }
        // The caller's frame pointer was pushed; until the next instruction it is in its register too.
        (Machine::X86_64, 16) => {
            let pushed = Rule::new(Cfa::Sp, 2).with_frame_pointer(FramePointer::Saved, -2);
            [(end.min(start.saturating_add(MOVE)), pushed), (end, by_frame)]
        }
        _ => [(start, by_frame), (end, by_frame)],
    }
}
