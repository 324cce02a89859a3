//! Operations that the compiler must not see through, because the verifier has to find them where
//! they stand.

/// One instruction on a register and a constant.
macro_rules! arithmetic {
    ($instruction:literal, $value:expr, const $constant:expr) => {{
        let mut value: u64 = $value;
        // SAFETY: arithmetic on one register.
        unsafe {
            core::arch::asm!(
                $instruction,
                inout(reg) value, const $constant,
                options(pure, nomem, nostack)
            );
        }
        value
    }};
}

/// `value & MASK`, right before the access that it bounds. A plain `&` may be moved, or dropped as
/// needless, and kernels up to 6.1 then refuse the access.
#[inline(always)]
pub fn mask<const MASK: u64>(value: u64) -> u64 {
    arithmetic!("{0} &= {1}", value, const MASK)
}

/// `value`, or 0 where it is more than `MOST`.
#[inline(always)]
pub fn at_most<const MOST: u64>(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: arithmetic on one register.
    unsafe {
        core::arch::asm!(
            "if {0} <= {1} goto +1",
            "{0} = 0",
            inout(reg) value, const MOST,
            options(pure, nomem, nostack)
        );
    }
    value
}

/// The element of `slice` at `index & MASK`.
#[inline(always)]
pub fn masked<const MASK: u64, T, const N: usize>(slice: &mut [T; N], index: u64) -> &mut T {
    const { assert!((MASK as usize) < N && (MASK & (MASK + 1)) == 0) };
    // SAFETY: the masked index is less than the length, as asserted.
    unsafe { slice.get_unchecked_mut(mask::<MASK>(index) as usize) }
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

/// Words of a map value that the verifier knows nothing of.
#[repr(C)]
pub struct Unknown {
    /// 0, which nobody ever changes; but the verifier does not know.
    zero: u64,
    /// What a helper wrote.
    word: u64,
}

impl Unknown {
    /// The value, of which the verifier knows nothing any more: 0 was added, that could be any number. So a
    /// value is on its way for one cycle; through memory it would be for five.
    #[inline(always)]
    pub fn pass(&self, value: u64) -> u64 {
        let mut value = value;
        // SAFETY: a reference.
        let zero = unsafe { (&raw const self.zero).read_volatile() };
        // SAFETY: arithmetic on a register. The compiler must not see it, or it would take it out of a
        // difference of two that passed.
        unsafe {
            core::arch::asm!(
                "{0} += {1}",
                inout(reg) value, in(reg) zero,
                options(pure, nomem, nostack)
            );
        }
        value
    }

    /// The same through memory, for what nothing waits for: it takes five cycles, but what the verifier finds
    /// out of the value later, it does not trace back to how the value was made.
    #[inline(always)]
    pub fn pass_slowly(&mut self, value: u64) -> u64 {
        // SAFETY: a reference.
        unsafe { (&raw mut self.word).write_volatile(value) }
        self.get()
    }

    /// Where a helper may write a word.
    #[inline(always)]
    pub fn place(&mut self) -> *mut u64 {
        &raw mut self.word
    }

    /// The word that it wrote.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        // SAFETY: a reference.
        unsafe { (&raw const self.word).read_volatile() }
    }
}

/// A load of 1, 2, 4 or 8 bytes at a constant offset of a context, or of a structure that the verifier knows
/// by its BTF. It refuses such a load when the compiler splits it into an addition and a load.
/// In a map value it need not be aligned, where the compiler would load byte by byte.
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
    (u8, $base:expr, $offset:literal) => {
        $crate::opaque::load!(@ "u8", $base, $offset)
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
