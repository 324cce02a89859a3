//! The arena, where the unwind tables and the lists of mappings are.

use profiler_common::native::{
    REGION_BYTES,
    known::{ENTRIES, Entry, Key},
    lookup::Region,
    rule::Rule,
    walk::Arena,
};

use crate::{
    maps::{ARENA, KNOWN},
    opaque::{Unknown, at_most, load, mask},
};

/// All regions, and words through which values pass that the verifier is to forget.
pub struct Tables<'a> {
    /// Those words.
    pub unknown: &'a mut Unknown,
    /// Where the region with the table of the code is that the walk is in.
    pub table: &'a mut *const u8,
    /// Rules that were looked up before.
    pub known: Known,
}

/// Rules that were looked up before, on any CPU.
#[derive(Clone, Copy)]
pub struct Known(*mut [Entry; ENTRIES]);

impl Known {
    /// Where they are; `None` never, but for the verifier.
    #[inline(always)]
    pub fn find() -> Option<Self> {
        KNOWN.get_ptr_mut(0).map(Self)
    }

    #[inline(always)]
    fn entry(self, key: Key) -> *mut Entry {
        const { assert!(ENTRIES.is_power_of_two()) };
        let index = mask::<{ ENTRIES as u64 - 1 }>(key.index()) as usize;
        // SAFETY: the masked index is less than the length.
        unsafe { self.0.cast::<Entry>().add(index) }
    }
}

/// Where a region is.
#[inline(always)]
pub fn region(number: u32) -> Option<*const u8> {
    // A local: LLVM would merge a constant with a global of equal value, which the loader may change.
    let key = 0u32;
    Some(ARENA.get_value_ptr_mut(number, &key)?.cast_const().cast())
}

impl Arena for Tables<'_> {
    type Region<'a>
        = Bytes<'a>
    where
        Self: 'a;

    #[inline(always)]
    fn region(&mut self, number: u32) -> Option<Bytes<'_>> {
        Some(Bytes { base: region(number)?, answer: self.unknown })
    }

    /// Remembered: to find it takes 25 instructions, of some 200 of a frame.
    #[inline(always)]
    fn enter(&mut self, number: u32) -> bool {
        let Some(base) = region(number) else { return false };
        *self.table = base;
        true
    }

    #[inline(always)]
    fn recall(&mut self, table: u32, place: u32) -> Option<Rule> {
        let key = Key::new(table, place);
        let entry = self.known.entry(key);
        // SAFETY: words of a map value. Each once: another CPU may write them.
        let entry = unsafe {
            let both = (&raw const (*entry).both).read_volatile();
            Entry { both, rule: (&raw const (*entry).rule).read_volatile() }
        };
        key.rule(entry)
    }

    #[inline(always)]
    fn remember(&mut self, table: u32, place: u32, rule: Rule) {
        let key = Key::new(table, place);
        let Entry { both, rule } = key.entry(rule);
        let entry = self.known.entry(key);
        // SAFETY: words of a map value.
        unsafe {
            (&raw mut (*entry).both).write_volatile(both);
            (&raw mut (*entry).rule).write_volatile(rule);
        }
    }

    #[inline(always)]
    fn entered(&mut self, _number: u32) -> Option<Bytes<'_>> {
        Some(Bytes { base: *self.table, answer: self.unknown })
    }

    #[inline(always)]
    fn forget(&mut self, value: u64) -> u64 {
        self.unknown.pass_slowly(value)
    }
}

/// One region.
pub struct Bytes<'a> {
    base: *const u8,
    answer: &'a mut Unknown,
}

impl Bytes<'_> {
    /// The place at `at & MASK`.
    #[inline(always)]
    fn at<const MASK: u64>(&self, at: u32) -> *const u8 {
        // SAFETY: the masks below leave offsets within the region.
        unsafe { self.base.add(mask::<MASK>(at.into()) as usize) }
    }
}

const INSIDE: u64 = REGION_BYTES as u64 - 1;
const _: () = assert!(REGION_BYTES.is_power_of_two());

impl Region for Bytes<'_> {
    #[inline(always)]
    fn u8(&self, at: u32) -> u64 {
        load!(u8, self.at::<INSIDE>(at), "0")
    }

    #[inline(always)]
    fn u16(&self, at: u32) -> u64 {
        load!(u16, self.at::<{ INSIDE & !1 }>(at), "0")
    }

    #[inline(always)]
    fn u32(&self, at: u32) -> u64 {
        load!(u32, self.at::<{ INSIDE & !3 }>(at), "0")
    }

    #[inline(always)]
    fn u64(&self, at: u32) -> u64 {
        load!(u64, self.at::<{ INSIDE & !7 }>(at), "0")
    }

    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let at = at_most::<{ INSIDE - 7 }>(mask::<INSIDE>(at.into()));
        // SAFETY: 8 bytes before the region's end.
        let place = unsafe { self.base.add(at as usize) };
        load!(u64, place, "0")
    }

    #[inline(always)]
    fn forget(&mut self, value: u32) -> u32 {
        self.answer.pass(value.into()) as u32
    }
}
