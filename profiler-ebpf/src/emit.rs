//! Finished records, up the ring buffer.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE},
    cty::c_void,
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
};
use profiler_common::record::{ResumeRecord, StackRecord};

use crate::{
    maps::{RECORD_BYTES, RING, Scratch},
    opaque::mask,
};

/// Sends the record of a stack, with so many bytes behind its header; false where the ring is full.
#[inline(always)]
pub fn stack(scratch: &mut Scratch, bytes: u64) -> bool {
    const MASK: u64 = RECORD_BYTES as u64 - 1;
    const { assert!(size_of::<StackRecord>() + size_of_val(&[0u64; 0x3ff + 0x7f]) < RECORD_BYTES) };
    let len = mask::<MASK>(size_of::<StackRecord>() as u64 + bytes);
    output((&raw mut *scratch).cast(), len)
}

/// Sends the record of a thread that is back; false where the ring is full.
#[inline(always)]
pub fn resume(record: &mut ResumeRecord) -> bool {
    output((&raw mut *record).cast(), size_of::<ResumeRecord>() as u64)
}

#[inline(always)]
fn output(data: *mut c_void, len: u64) -> bool {
    let ring = (&raw const RING).cast_mut().cast();
    // SAFETY: the verifier checks that `data` has `len` bytes.
    unsafe { bpf_ringbuf_output(ring, data, len, wake_up()) == 0 }
}

/// A wake-up costs as much as several samples, so the reader polls on a timer, and is woken only when
/// the ring is more than half full.
#[inline(always)]
fn wake_up() -> u64 {
    let (filled, size) = fill();
    let half_full = filled > size >> 1;
    (if half_full { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP }).into()
}

/// Whether less than a quarter of the ring is in use.
#[inline(always)]
pub fn has_room() -> bool {
    let (filled, size) = fill();
    filled < size >> 2
}

/// Bytes of the ring in use, and bytes in all.
#[inline(always)]
fn fill() -> (u64, u64) {
    let ring: *mut c_void = (&raw const RING).cast_mut().cast();
    // SAFETY: questions about a ring buffer.
    unsafe {
        (
            bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA.into()),
            bpf_ringbuf_query(ring, BPF_RB_RING_SIZE.into()),
        )
    }
}
