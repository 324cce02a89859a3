//! Operations that the compiler must not see through, because the verifier has to find them where
//! they stand.

use core::arch::asm;

/// `value & MASK`, right before the access that it bounds. A plain `&` may be moved, or dropped as
/// needless, and kernels up to 6.1 then refuse the access.
#[inline(always)]
pub fn mask<const MASK: u64>(value: u64) -> u64 {
    let mut masked = value;
    // SAFETY: arithmetic on one register.
    unsafe {
        asm!("{0} &= {1}", inout(reg) masked, const MASK, options(pure, nomem, nostack));
    }
    masked
}

/// The element of `slice` at `index & MASK`.
#[inline(always)]
pub fn masked<const MASK: u64, T, const N: usize>(slice: &mut [T; N], index: u64) -> &mut T {
    const { assert!((MASK as usize) < N && (MASK & (MASK + 1)) == 0) };
    // SAFETY: the masked index is less than the length, as asserted.
    unsafe { slice.get_unchecked_mut(mask::<MASK>(index) as usize) }
}

/// Hides from the compiler what it knows of a value, so that it makes no other code of it.
#[inline(always)]
pub fn hidden(value: u64) -> u64 {
    let hidden;
    // A move, not nothing: LLVM writes line information for it, and two for one place are refused.
    // SAFETY: copies one register.
    unsafe { asm!("{0} = {1}", out(reg) hidden, in(reg) value, options(pure, nomem, nostack)) };
    hidden
}

/// Makes words zero, one by one: LLVM would call a `memset` that goes byte by byte, and on arm64 kernels
/// before 6.0 a program that calls functions may not make tail calls.
#[inline(always)]
pub fn clear<const N: usize>(words: *mut [u64; N]) {
    let mut index = 0;
    while index < N {
        // SAFETY: within the words.
        unsafe { words.cast::<u64>().add(index).write_volatile(0) }
        index += 1;
    }
}

/// 1 where `value` is 0, else 0, without a branch; for values below 2^63.
#[inline(always)]
pub fn is_zero(value: u64) -> u64 {
    let mut below = value.wrapping_sub(1);
    // SAFETY: arithmetic on one register; LLVM would make a branch of it.
    unsafe { asm!("{0} >>= 63", inout(reg) below, options(pure, nomem, nostack)) };
    below
}

/// A word of a map value that the verifier knows nothing of, whatever was written: the compiler keeps
/// no copy in a register, where its value would be followed on every path.
#[repr(transparent)]
pub struct Unknown(u64);

impl Unknown {
    /// Reads it.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: a reference.
        unsafe { (&raw const self.0).read_volatile() }
    }

    /// Writes it and reads it: what the verifier knew of it is forgotten.
    #[inline(always)]
    pub fn pass(&mut self, value: u64) -> u64 {
        self.set(value);
        self.get()
    }

    /// Writes it.
    #[inline(always)]
    pub fn set(&mut self, value: u64) {
        // SAFETY: a reference.
        unsafe { (&raw mut self.0).write_volatile(value) }
    }
}

/// A load of 2, 4 or 8 bytes at a constant offset of a context, or of a structure that the verifier knows
/// by its BTF. It refuses such a load when the compiler splits it into an addition and a load.
macro_rules! load {
    (u64, $base:expr, $offset:literal) => {
        $crate::opaque::load!(@ "u64", $base, $offset)
    };
    (u32, $base:expr, $offset:literal) => {
        $crate::opaque::load!(@ "u32", $base, $offset)
    };
    (u16, $base:expr, $offset:literal) => {
        $crate::opaque::load!(@ "u16", $base, $offset)
    };
    (@ $type:literal, $base:expr, $offset:literal) => {{
        let value: u64;
        // SAFETY: the verifier checks that the structure has such a field.
        unsafe {
            core::arch::asm!(
                concat!("{0} = *(", $type, " *)({1} + ", $offset, ")"),
                out(reg) value, in(reg) $base, options(nostack, readonly)
            );
        }
        value
    }};
}
pub(crate) use load;
