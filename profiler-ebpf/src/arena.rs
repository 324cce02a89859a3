//! The arena, where the unwind tables and the lists of mappings are.

use profiler_common::native::{REGION_BYTES, lookup::Region};

use crate::{
    maps::ARENA,
    opaque::{Unknown, load, mask},
};

/// One region, and a word through which values pass that the verifier is to forget.
pub struct Bytes<'a> {
    base: *const u8,
    answer: &'a mut Unknown,
}

/// The region of this number.
#[inline(always)]
pub fn region(number: u32, answer: &mut Unknown) -> Option<Bytes<'_>> {
    // A local: LLVM would merge a constant with a global of equal value, which the loader may change.
    let key = 0u32;
    let base = ARENA.get_value_ptr_mut(number, &key)?;
    Some(Bytes { base: base.cast_const().cast(), answer })
}

impl Bytes<'_> {
    /// The bytes from `at` on, of which 8 are there whatever `at` is.
    #[inline(always)]
    fn at(&self, at: u32) -> *const u8 {
        const MASK: u64 = REGION_BYTES as u64 - 1;
        const { assert!(REGION_BYTES.is_power_of_two()) };
        // SAFETY: the masked offset is within the region, and more bytes than 8 follow that.
        unsafe { self.base.add(mask::<MASK>(at.into()) as usize) }
    }
}

impl Region for Bytes<'_> {
    #[inline(always)]
    fn u8(&self, at: u32) -> u64 {
        load!(u8, self.at(at), "0")
    }

    #[inline(always)]
    fn u16(&self, at: u32) -> u64 {
        load!(u16, self.at(at), "0")
    }

    #[inline(always)]
    fn u32(&self, at: u32) -> u64 {
        load!(u32, self.at(at), "0")
    }

    #[inline(always)]
    fn u64(&self, at: u32) -> u64 {
        load!(u64, self.at(at), "0")
    }

    #[inline(always)]
    fn forget(&mut self, value: u32) -> u32 {
        self.answer.pass(value.into()) as u32
    }
}
