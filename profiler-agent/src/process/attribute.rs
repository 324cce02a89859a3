//! From addresses to frames. No I/O.
//!
//! The innermost address is where the thread was; each further one is where it would have returned to,
//! the instruction after a call. One less is inside the call: the right line, and the right function
//! where a call was the last thing in it.

use std::sync::Arc;

use profiler_common::walk::{FRAME_ADDRESS, FRAME_EXACT, WalkEnd};

use crate::model::event::RawStack;
use crate::model::frame::{Frame, JitMap, Marker};
use crate::model::space::{Code, Mapping, lookup};

/// The frames of one stack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resolved {
    /// Kernel frames, user frames, and a marker wherever some are missing; innermost first.
    pub(super) frames: Vec<Frame>,
    /// User frames that lie in no mapping.
    pub(super) unmapped: u64,
}

/// Resolves a stack. `jit` is asked for the map of generated code when a frame lies in such code.
pub(super) fn resolve(
    raw: &RawStack,
    space: &[Mapping],
    mut jit: impl FnMut() -> Arc<JitMap>,
) -> Resolved {
    let mut frames = Vec::with_capacity(raw.kernel.len() + raw.user.len() + 2);
    frames.extend(kernel_places(&raw.kernel).map(|address| Frame::Kernel { address }));
    if !raw.kernel_end.is_whole() {
        frames.push(Frame::Marker(Marker::KernelTruncated(raw.kernel_end)));
    }
    let (unmapped, end) = push_user(raw, space, &mut jit, &mut frames);
    if !end.is_whole() {
        frames.push(cut(end, frames.last()));
    }
    Resolved { frames, unmapped }
}

/// The frame that says why a user stack ends behind `last`.
fn cut(end: WalkEnd, last: Option<&Frame>) -> Frame {
    match (end, last) {
        (
            WalkEnd::NoRows | WalkEnd::NotReady | WalkEnd::BadRow,
            Some(Frame::Native { binary, .. }),
        ) => Frame::Truncated { end, binary: Arc::clone(binary) },
        _ => Frame::Marker(Marker::UserTruncated(end)),
    }
}

/// Adds the user frames; returns how many lie in no mapping, and why they end where they do.
///
/// A return address that lies in no code was not one: the walk left the chain of frame pointers there,
/// and what follows is noise.
fn push_user(
    raw: &RawStack,
    space: &[Mapping],
    jit: &mut impl FnMut() -> Arc<JitMap>,
    frames: &mut Vec<Frame>,
) -> (u64, WalkEnd) {
    let mut unmapped = 0;
    for (depth, address) in raw.user.iter().map(|word| user_place(*word)).enumerate() {
        let frame = match lookup(space, address) {
            Some(Mapping { code: Code::Generated, .. }) => Frame::Jit { map: jit(), address },
            Some(mapping @ Mapping { code: Code::Binary(binary), .. }) => {
                Frame::Native { binary: Arc::clone(binary), offset: mapping.offset_of(address) }
            }
            None => {
                unmapped += 1;
                if depth > 0 {
                    return (unmapped, WalkEnd::BrokenChain);
                }
                Frame::Unmapped { address }
            }
        };
        frames.push(frame);
    }
    (unmapped, raw.user_end)
}

/// The addresses to look up.
fn kernel_places(addresses: &[u64]) -> impl Iterator<Item = u64> {
    addresses.iter().enumerate().map(|(depth, address)| match depth {
        0 => *address,
        _ => address.wrapping_sub(1),
    })
}

/// Likewise. A signal may have interrupted a function anywhere in the stack, and a thread that is in a
/// system call returns behind the instruction that made it.
fn user_place(word: u64) -> u64 {
    (word & FRAME_ADDRESS).wrapping_sub(u64::from(word & FRAME_EXACT == 0))
}

#[cfg(test)]
mod tests;
