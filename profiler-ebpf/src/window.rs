//! The local copy of a stack's next bytes: one read of 2 KiB serves all frames that lie in it, which
//! costs a third of a read for each.

use aya_ebpf::{
    bindings::task_struct,
    cty::c_void,
    helpers::generated::{bpf_copy_from_user_task, bpf_probe_read_user, bpf_task_pt_regs},
};

use crate::{
    opaque::{Unknown, mask},
    regs,
};

/// Bytes of one copy.
const WINDOW: u64 = 2048;
/// Words of the buffer: those that a masked length could name, though the copy is half as long.
pub const WINDOW_WORDS: usize = 4096 / 8;
/// Index of the last word of a copy.
const LAST_WORD: u64 = WINDOW / 8 - 1;
const _: () = assert!(WINDOW_WORDS > LAST_WORD as usize);
const PAGE: u64 = 4096;

/// Which part of the stack the buffer holds.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Window {
    /// Address of its first byte, a multiple of 8.
    start: u64,
    /// How many bytes may follow `start` so that a whole word still follows them.
    words: u64,
}

/// Memory of a process.
pub trait Memory {
    /// Copies user memory; false where any byte of it is absent.
    fn read<T>(&self, to: *mut T, bytes: u32, from: u64) -> bool;
    /// Where the kernel keeps the registers of the thread whose stack it is.
    fn registers(&self) -> Option<u64>;
}

/// The memory of the current thread, as far as it is resident.
pub struct Current;

impl Memory for Current {
    #[inline(always)]
    fn read<T>(&self, to: *mut T, bytes: u32, from: u64) -> bool {
        // SAFETY: the verifier checks that `to` has room; the helper checks `from`.
        unsafe { bpf_probe_read_user(to.cast(), bytes, from as *const c_void) == 0 }
    }

    #[inline(always)]
    fn registers(&self) -> Option<u64> {
        regs::place_of_current()
    }
}

/// The memory of another thread; pages that are not resident are brought in.
pub struct OtherTask(pub *mut task_struct);

impl Memory for OtherTask {
    #[inline(always)]
    fn read<T>(&self, to: *mut T, bytes: u32, from: u64) -> bool {
        // SAFETY: the verifier checks that `to` has room and that the task is one; the helper checks
        // `from`.
        unsafe { bpf_copy_from_user_task(to.cast(), bytes, from as *const c_void, self.0, 0) == 0 }
    }

    #[inline(always)]
    fn registers(&self) -> Option<u64> {
        // SAFETY: the helper takes any task.
        Some(unsafe { bpf_task_pt_regs(self.0) } as u64)
    }
}

impl Window {
    /// Makes the buffer hold the word at `address`, a multiple of 8; false where it cannot be
    /// read. Nothing below `floor` is read.
    ///
    /// `floor` is the stack pointer, or the end of the frame before: what lies below is dead, and its
    /// page may be absent. The copy ends with the page that holds the word, since a read that meets an
    /// absent page fails as a whole, and takes ten times as long.
    #[inline(always)]
    pub fn cover<M: Memory>(
        &mut self,
        buffer: &mut [u64; WINDOW_WORDS],
        memory: &M,
        passing: &mut Unknown,
        floor: u64,
        address: u64,
    ) -> bool {
        if self.holds(address) {
            return true;
        }
        let floor = floor & !7;
        let near = address.wrapping_sub(floor) <= WINDOW / 2;
        let start = passing.pass(if near { floor } else { address });
        self.copy(buffer, memory, passing, start, address)
            // The live end of a large frame may not have been touched yet.
            || (start != address && self.copy(buffer, memory, passing, address, address))
    }

    #[inline(always)]
    fn copy<M: Memory>(
        &mut self,
        buffer: &mut [u64; WINDOW_WORDS],
        memory: &M,
        passing: &mut Unknown,
        start: u64,
        address: u64,
    ) -> bool {
        let page_end = (address.wrapping_add(7) | (PAGE - 1)).wrapping_add(1);
        let mut len = page_end.wrapping_sub(start);
        if len > WINDOW {
            len = WINDOW;
        }
        let done = memory.read(buffer.as_mut_ptr(), mask::<{ PAGE - 1 }>(len) as u32, start);
        // As the window was when it held the word: the verifier then follows one way.
        let (start, words) = if done { (start, len.wrapping_sub(7)) } else { (0, 0) };
        *self = Self { start: passing.pass_slowly(start), words: passing.pass_slowly(words) };
        done
    }

    /// Whether the word at `address` is in the buffer.
    #[inline(always)]
    pub fn holds(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.words
    }

    /// The word at `address`, of which [`Self::holds`] is true.
    #[inline(always)]
    pub fn word(&self, buffer: &[u64; WINDOW_WORDS], address: u64) -> u64 {
        let index = mask::<LAST_WORD>(address.wrapping_sub(self.start) >> 3) as usize;
        // SAFETY: the masked index is less than the length.
        unsafe { *buffer.get_unchecked(index) }
    }
}
