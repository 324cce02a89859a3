//! The step of native code: by unwind rows, and by frame pointer where there are none. How, is in
//! [`profiler_common::native::walk`], for the kernel and for the user side; here is what it needs.

use profiler_common::{
    native::{step::Stack, walk},
    walk::WalkEnd,
};

use super::call_site;
use crate::{
    arena::{Known, Tables},
    opaque::Unknown,
    regs::read_kernel,
    settings,
    walk::{Room, Walk},
    window::{Memory, WINDOW_WORDS, Window},
};

/// Moves `walk` to the caller; or says why it cannot.
#[inline(always)]
pub fn step<M: Memory>(
    walk: &mut Walk,
    table: &mut *const u8,
    known: Known,
    room: &mut Room<'_>,
    memory: &M,
) -> Result<(), WalkEnd> {
    let mut arena = Tables { unknown: room.answer, table, known };
    let (window, buffer) = (&mut walk.window, &mut *room.window);
    let mut stack = UserStack { window, buffer, memory, passing: room.passing };
    walk::caller(&mut walk.position, &mut arena, &mut stack, settings::is_arm())
}

/// The stack through the window.
struct UserStack<'a, M> {
    window: &'a mut Window,
    buffer: &'a mut [u64; WINDOW_WORDS],
    memory: &'a M,
    passing: &'a mut Unknown,
}

impl<M: Memory> Stack for UserStack<'_, M> {
    #[inline(always)]
    fn next(&mut self, floor: u64, address: u64) -> Option<u64> {
        let Self { window, buffer, memory, passing } = self;
        let there = address & 7 == 0 && window.cover(buffer, *memory, passing, floor, address);
        there.then(|| window.word(buffer, address))
    }

    #[inline(always)]
    fn word(&mut self, address: u64) -> Option<u64> {
        if address & 7 == 0 && self.window.holds(address) {
            return Some(self.window.word(self.buffer, address));
        }
        let read = self.memory.read(self.passing.place(), 8, address);
        read.then(|| self.passing.get())
    }

    #[inline(always)]
    fn words<const N: usize>(&mut self, address: u64, into: &mut [u64; N]) -> bool {
        self.memory.read(into.as_mut_ptr(), const { N as u32 * 8 }, address)
    }

    #[inline(always)]
    fn forget(&mut self, value: u64) -> u64 {
        self.passing.pass(value)
    }

    #[inline(always)]
    fn forget_slowly(&mut self, value: u64) -> u64 {
        self.passing.pass_slowly(value)
    }

    #[inline(always)]
    fn follows_call(&mut self, return_address: u64) -> Option<bool> {
        Some(call_site::follows_call(self.memory, return_address))
    }

    #[inline(always)]
    fn register(&mut self, offset: u64) -> Option<u64> {
        let from = self.memory.registers()?.wrapping_add(offset);
        read_kernel(self.passing.place(), 8, from).then(|| self.passing.get())
    }
}
