//! What the instruction before a return address called: evidence of which function a word on the
//! stack belongs to.

use core::mem::MaybeUninit;

use super::x86_64_lengths::ENDBR64;
use crate::{opaque::hidden, settings, window::Memory};

const PAGE: u64 = 4096;

/// The bytes before a return address.
#[derive(Clone, Copy)]
pub struct CallSite {
    return_address: u64,
    /// Up to 8 bytes, the last one on top; 0 where they could not be read.
    bytes: u64,
}

/// Reads the instruction before `return_address`.
#[inline(always)]
pub fn read<M: Memory>(memory: &M, return_address: u64) -> CallSite {
    // No further back than the page of the call's last byte: the page before may be absent.
    let in_page = (return_address.wrapping_sub(1) & (PAGE - 1)) + 1;
    let back = if in_page < 8 { in_page } else { 8 };
    let mut bytes = 0u64;
    if !memory.read(&raw mut bytes, 8, return_address.wrapping_sub(back)) {
        bytes = 0;
    }
    CallSite { return_address, bytes: bytes << ((8 - back) * 8) }
}

impl CallSite {
    /// Whether the instruction is a call at all.
    #[inline(always)]
    pub fn is_call(self) -> bool {
        if settings::is_arm() {
            let instruction = self.bytes >> 32;
            // bl; blr, blraa, blrab and their kin
            instruction >> 26 == 0b100101 || instruction & 0xfeff_f000 == 0xd63f_0000
        } else {
            self.is_x86_direct() || self.is_x86_indirect()
        }
    }

    /// `call rel32`.
    #[inline(always)]
    fn is_x86_direct(self) -> bool {
        (self.bytes >> 24) & 0xff == 0xe8
    }

    /// `call r/m64`: opcode FF, whose second byte has 2 in its middle three bits, in each length.
    #[inline(always)]
    fn is_x86_indirect(self) -> bool {
        const CALL: u64 = 0x10ff;
        const FIELD: u64 = 0x38ff;
        let bytes = hidden(self.bytes);
        (bytes >> 48) & FIELD == CALL
            || (bytes >> 40) & FIELD == CALL
            || (bytes >> 32) & FIELD == CALL
            || (bytes >> 16) & FIELD == CALL
            || (bytes >> 8) & FIELD == CALL
    }

    /// Where the call went, if the instruction says so; through a linkage table, where that leads to.
    #[inline(always)]
    pub fn target<M: Memory>(self, memory: &M) -> Option<u64> {
        if settings::is_arm() {
            let instruction = self.bytes >> 32;
            if instruction >> 26 != 0b100101 {
                return None;
            }
            // A signed number of instructions, in the low 26 bits.
            let distance = ((instruction << 38) as i64 >> 36) as u64;
            return Some(self.return_address.wrapping_sub(4).wrapping_add(distance));
        }
        let distance = (self.bytes >> 32) as i32 as i64 as u64;
        let place = self.return_address.wrapping_add(distance);
        if self.is_x86_direct() {
            return Some(place);
        }
        // call [rip + distance]
        if (self.bytes >> 16) & 0xffff == 0x15ff { word(memory, place) } else { None }
    }
}

/// Where an entry of the procedure linkage table of x86-64 leads to; `None` where there is no entry.
#[inline(always)]
pub fn linked<M: Memory>(memory: &M, entry: u64) -> Option<u64> {
    let mut bytes = MaybeUninit::<[u64; 2]>::uninit();
    if !memory.read(bytes.as_mut_ptr(), 16, entry) {
        return None;
    }
    // `jmp [rip + distance]`, with `bnd` (f2) and `endbr64` before it where there is CET.
    const JUMP: u64 = 0x25ff;
    // SAFETY: read just now.
    let [low, high] = unsafe { bytes.assume_init() };
    let (distance, end) = if low & 0xffff == JUMP {
        (low >> 16, 6)
    } else if low as u32 == ENDBR64 && (low >> 32) & 0xffff == JUMP {
        ((low >> 48) | (high << 16), 10)
    } else if low as u32 == ENDBR64 && (low >> 32) & 0xff_ffff == JUMP << 8 | 0xf2 {
        ((low >> 56) | (high << 8), 11)
    } else {
        return None;
    };
    word(memory, entry.wrapping_add(end).wrapping_add(distance as i32 as i64 as u64))
}

#[inline(always)]
fn word<M: Memory>(memory: &M, address: u64) -> Option<u64> {
    let mut word = 0u64;
    memory.read(&raw mut word, 8, address).then_some(word)
}
