//! Finished records, up the ring buffer.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    cty::c_void,
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};
use profiler_common::record::{ResumeRecord, StackRecord};

use crate::{
    maps::{RECORD_BYTES, RING, Scratch},
    opaque::mask,
    settings,
};

/// Of so many stacks of a CPU, one asks how full the ring is, which costs as much as a frame. A busy CPU sends
/// hundreds between two rounds of the reader.
const ASK_EVERY: u32 = 8;

/// Sends the record of a stack, with so many bytes behind its header; false where the ring is full.
#[inline(always)]
pub fn stack(scratch: &mut Scratch, bytes: u64) -> bool {
    const MASK: u64 = RECORD_BYTES as u64 - 1;
    const { assert!(size_of::<StackRecord>() + size_of_val(&[0u64; 0x3ff + 0x7f]) < RECORD_BYTES) };
    let len = mask::<MASK>(size_of::<StackRecord>() as u64 + bytes);
    scratch.sent = scratch.sent.wrapping_add(1);
    let flags = if scratch.sent % ASK_EVERY == 0 { wake_up() } else { BPF_RB_NO_WAKEUP.into() };
    output((&raw mut *scratch).cast(), len, flags)
}

/// Sends the record of a thread that is back; false where the ring is full. Stacks fill the ring, and ask
/// for the reader.
#[inline(always)]
pub fn resume(record: &mut ResumeRecord) -> bool {
    let len = size_of::<ResumeRecord>() as u64;
    output((&raw mut *record).cast(), len, BPF_RB_NO_WAKEUP.into())
}

#[inline(always)]
fn output(data: *mut c_void, len: u64, flags: u64) -> bool {
    let ring = (&raw const RING).cast_mut().cast();
    // SAFETY: the verifier checks that `data` has `len` bytes.
    unsafe { bpf_ringbuf_output(ring, data, len, flags) == 0 }
}

/// A wake-up costs as much as several samples, so the reader polls on a timer, and is woken only when
/// the ring is more than half full.
#[inline(always)]
fn wake_up() -> u64 {
    let half_full = in_use() > u64::from(settings::ring_bytes()) >> 1;
    (if half_full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }).into()
}

/// Whether less than a quarter of the ring is in use.
#[inline(always)]
pub fn has_room() -> bool {
    in_use() < u64::from(settings::ring_bytes()) >> 2
}

/// Bytes of the ring in use.
#[inline(always)]
fn in_use() -> u64 {
    // SAFETY: a question about a ring buffer.
    unsafe { bpf_ringbuf_query((&raw const RING).cast_mut().cast(), BPF_RB_AVAIL_DATA.into()) }
}
