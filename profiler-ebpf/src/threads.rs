//! What is remembered of each thread that has left a CPU: in a slot of an array, which a switch finds at once,
//! or in a hash map, where the slot is another thread's.
//!
//! Only a thread itself takes a slot or gives it up, while it is on its CPU; who looks for a thread looks into
//! its slot first. Two threads that leave a CPU for the first time, on two CPUs within some nanoseconds, may
//! both find the same slot free: the later one has it, and that block of the other is not seen. With a thousand
//! new threads a second that happens once in decades.

use aya_ebpf::bindings::BPF_NOEXIST;
use profiler_common::thread::ThreadEntry;

use crate::{
    maps::{self, Owner, SLOTS, THREADS},
    opaque::clear,
    settings,
};

const WORDS: usize = size_of::<ThreadEntry>() / 8;

/// What is remembered of a thread.
#[inline(always)]
pub fn get(tid: u32) -> Option<&'static mut ThreadEntry> {
    match slot(tid) {
        Some(slot) if slot.tid == tid => Some(slot),
        _ => in_hash(tid),
    }
}

/// The same of the current thread, from now on at the latest; `None` where there is no room.
#[inline(always)]
pub fn get_or_insert(tid: u32) -> Option<&'static mut ThreadEntry> {
    let slot = slot(tid)?;
    if slot.tid == tid {
        return Some(slot);
    }
    let known = in_hash(tid);
    if slot.tid == 0 {
        if let Some(known) = known {
            copy(known, slot);
            let _ = THREADS.remove(tid);
        }
        slot.tid = tid;
        return Some(slot);
    }
    if known.is_none() {
        let new = &maps::scratch(Owner::Switch)?.entry;
        THREADS.insert(tid, new, BPF_NOEXIST.into()).ok()?;
        return in_hash(tid);
    }
    known
}

/// Enters another thread; false where it is known already, or there is no room.
#[inline(always)]
pub fn insert_other(tid: u32, entry: &ThreadEntry) -> bool {
    THREADS.insert(tid, entry, BPF_NOEXIST.into()).is_ok()
}

/// Takes back what [`insert_other`] entered. What the thread itself entered since stays.
#[inline(always)]
pub fn remove_other(tid: u32) {
    let _ = THREADS.remove(tid);
}

/// Forgets the current thread, which dies.
#[inline(always)]
pub fn remove(tid: u32) {
    if let Some(slot) = slot(tid)
        && slot.tid == tid
    {
        clear(core::ptr::from_mut(slot).cast::<[u64; WORDS]>());
    }
    let _ = THREADS.remove(tid);
}

/// The slot of a thread, whoever has it.
#[inline(always)]
fn slot(tid: u32) -> Option<&'static mut ThreadEntry> {
    // SAFETY: a map value lives as long as the program. Its own thread writes it; the iterator may clear `kept`.
    SLOTS.get_ptr_mut(tid & settings::slot_mask()).map(|slot| unsafe { &mut *slot })
}

#[inline(always)]
fn in_hash(tid: u32) -> Option<&'static mut ThreadEntry> {
    // SAFETY: an entry is removed only by its own thread, which is here.
    THREADS.get_ptr_mut(tid).map(|entry| unsafe { &mut *entry })
}

/// Word by word, for the reason of [`clear`].
#[inline(always)]
fn copy(from: &ThreadEntry, to: &mut ThreadEntry) {
    let (from, to) =
        (core::ptr::from_ref(from).cast::<u64>(), core::ptr::from_mut(to).cast::<u64>());
    let mut index = 0;
    while index < WORDS {
        // SAFETY: within the entries, which are whole words.
        unsafe { to.add(index).write_volatile(from.add(index).read_volatile()) }
        index += 1;
    }
}
