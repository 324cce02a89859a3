//! The step over a frame pointer, where there are no unwind rows: the word at it is the caller's frame
//! pointer, the next word the return address. The same on x86-64 (`push rbp; mov rbp, rsp`) and arm64
//! (`stp x29, x30`).

use profiler_common::{
    native::step::{may_be_code, without_signature},
    walk::WalkEnd,
};

use super::call_site;
use crate::{maps::Scratch, settings, walk::Walk, window::Memory};

/// A frame is no larger: what lies further away is another stack, or no frame.
const MAX_FRAME: u64 = 64 << 20;

/// How often a chain may go on on another stack: Go's `systemstack`, signal stacks, coroutines.
const MAX_STACKS: u32 = 4;

/// Moves `walk` to the caller; or says why it cannot.
#[inline(always)]
pub fn step<M: Memory>(walk: &mut Walk, scratch: &mut Scratch, memory: &M) -> Result<(), WalkEnd> {
    let fp = walk.at.fp;
    if fp == 0 {
        return Err(WalkEnd::Complete);
    }
    let other_stack = fp.wrapping_sub(walk.at.sp) >= MAX_FRAME;
    if fp & 7 != 0 || (other_stack && walk.stacks >= MAX_STACKS) {
        return Err(WalkEnd::NoRows);
    }
    let floor = if other_stack { fp } else { walk.at.sp };
    if !walk.window.cover::<2, _>(&mut scratch.window, memory, floor, fp) {
        return Err(if other_stack { WalkEnd::NoRows } else { WalkEnd::Unreadable });
    }
    let (caller_fp, return_address) = walk.window.pair(&scratch.window, fp);
    let return_address =
        if settings::is_arm() { without_signature(return_address) } else { return_address };
    if return_address == 0 {
        return Err(WalkEnd::Complete);
    }
    if !may_be_code(return_address) {
        return Err(WalkEnd::NoRows);
    }
    if other_stack {
        // Could be a register that holds anything: the return address must follow a call.
        if !call_site::follows_call(memory, return_address) {
            return Err(WalkEnd::NoRows);
        }
        walk.stacks += 1;
    }
    let at = &mut walk.at;
    (at.pc, at.fp, at.sp, at.lr, at.exact) = (return_address, caller_fp, fp.wrapping_add(16), 0, 0);
    Ok(())
}
