//! One rule: how to get from a function's frame to its caller's, in 8 bytes.
//!
//! The canonical frame address (CFA, see the DWARF 5 standard, 6.4) is the value of the stack pointer
//! right after the return to the caller; on x86-64 the return address lies 8 bytes below it.

/// A rule, packed into one word:
///
/// | bits | what |
/// |---|---|
/// | 0–7 | [`Cfa`] |
/// | 8–11 | [`ReturnAddress`] |
/// | 12–15 | [`FramePointer`] |
/// | 16–31 | place of the saved frame pointer, in words from the CFA, signed |
/// | 32–39 | of the return address: likewise, or from the saved frame pointer |
/// | 40–47 | what belongs to the [`Cfa`]: an addend in words, a register, both, a byte; with [`Cfa::Sp`] and [`Cfa::Fp`], where rbx is saved |
/// | 48–63 | offset of the CFA from its register, in words, signed |
///
/// With [`Cfa::SpBytes`], bits 40–63 are one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Rule(pub u64);

crate::wire_enum! {
    /// Where the CFA comes from.
    Cfa {
        /// There is no rule for this place: no function, or one without unwind information.
        None = 0, "none";
        /// Stack pointer plus offset.
        Sp = 1, "sp";
        /// Frame pointer plus offset.
        Fp = 2, "fp";
        /// Another register plus offset, by its DWARF number: of a function that begins to align its stack,
        /// and in assembly. Code that calls other functions mostly has it in rbx, such as
        /// `_dl_runtime_resolve`, through which each function of a library is called for the first time.
        Register = 3, "register";
        /// The word at stack pointer plus offset, plus the addend.
        SpLoad = 4, "sp_load";
        /// The word at frame pointer plus offset, plus the addend: functions that align their stack.
        FpLoad = 5, "fp_load";
        /// An entry of the procedure linkage table of x86-64, 16 bytes long: stack pointer plus offset, and
        /// 8 more from the byte of the entry on that is the addend.
        Plt = 6, "plt";
        /// The return from a signal handler: all registers are in the context that the kernel left at
        /// stack pointer plus offset.
        Signal = 7, "signal";
        /// The outermost frame: no caller.
        End = 8, "end";
        /// There is unwind information, of a shape that no rule can hold.
        Unsupported = 9, "unsupported";
        /// Stack pointer plus a number of bytes: frames too large for a number of words, and code that
        /// does not keep its stack pointer aligned.
        SpBytes = 10, "sp_bytes";
        /// Behind a system call that begins a thread on a stack of its own: where it returned 0, that stack
        /// begins here; else as [`Cfa::Sp`].
        Clone = 11, "clone";
        /// Stack pointer plus offset, and the return address is in a register: `vfork`, whose child uses the
        /// stack meanwhile.
        SpReturnRegister = 12, "sp_return_register";
        /// The word at stack pointer plus offset plus 8 times a register, plus the addend: code that makes
        /// room for a table and keeps the former stack pointer behind it, as in libcrypto.
        SpIndexLoad = 13, "sp_index_load";
    }
}

crate::wire_enum! {
    /// Where the return address is.
    ReturnAddress {
        /// At a number of words from the CFA.
        AtCfa = 0, "cfa";
        /// At a number of words from where the frame pointer is saved.
        AtFramePointer = 1, "frame_pointer";
        /// In the link register still: only of the innermost function, or one that a signal interrupted.
        LinkRegister = 2, "link_register";
    }
}

crate::wire_enum! {
    /// What the caller's frame pointer is.
    FramePointer {
        /// The same: the function did not touch it.
        Same = 0, "same";
        /// Saved at a number of words from the CFA.
        Saved = 1, "saved";
        /// Not known: lost, or saved in a way that no rule can hold.
        Unknown = 2, "unknown";
        /// Saved at a number of words from the frame pointer itself: functions that align their stack.
        SavedAtFp = 3, "saved_at_fp";
    }
}

impl Rule {
    /// No rule for a place.
    pub const NONE: Self = Self::bare(Cfa::None);
    /// The outermost frame.
    pub const END: Self = Self::bare(Cfa::End);
    /// Unwind information that no rule can hold.
    pub const UNSUPPORTED: Self = Self::bare(Cfa::Unsupported);

    /// As the place of a saved rbx: it is lost, or further away.
    pub const RBX_LOST: u8 = u8::MAX;

    /// A rule whose kind says all; the return address of x86-64, the frame pointer untouched.
    pub const fn bare(cfa: Cfa) -> Self {
        Self(cfa.raw() as u64).with_return_address(ReturnAddress::AtCfa, -1)
    }

    /// A rule whose CFA is this many words from its register.
    pub const fn new(cfa: Cfa, words: i16) -> Self {
        Self(Self::bare(cfa).0 | (words as u16 as u64) << 48)
    }

    /// A rule whose CFA is this many bytes above the stack pointer; they have 24 bits.
    pub const fn sp_bytes(bytes: u32) -> Self {
        Self(Self::bare(Cfa::SpBytes).0 | (bytes as u64) << 40)
    }

    /// The same with a saved frame pointer.
    #[must_use]
    pub const fn with_frame_pointer(self, how: FramePointer, words: i16) -> Self {
        let rest = self.0 & !(0xffff << 16 | 0xf << 12);
        Self(rest | (how.raw() as u64) << 12 | (words as u16 as u64) << 16)
    }

    /// The same with the frame pointer as another rule has it.
    #[must_use]
    pub const fn with_frame_pointer_of(self, other: Self) -> Self {
        const BITS: u64 = 0xffff << 16 | 0xf << 12;
        Self(self.0 & !BITS | other.0 & BITS)
    }

    /// The same with another place of the return address.
    #[must_use]
    pub const fn with_return_address(self, how: ReturnAddress, words: i8) -> Self {
        let rest = self.0 & !(0xff << 32 | 0xf << 8);
        Self(rest | (how.raw() as u64) << 8 | (words as u8 as u64) << 32)
    }

    /// The same with an addend to a loaded CFA, in words; with the register of [`Cfa::Register`] and
    /// [`Cfa::SpReturnRegister`]; with the byte of [`Cfa::Plt`].
    #[must_use]
    pub const fn with_extra(self, extra: u8) -> Self {
        Self(self.0 & !(0xff << 40) | (extra as u64) << 40)
    }

    /// The same with the register, 0 to 31, and the addend in words, 0 to 7, of [`Cfa::SpIndexLoad`].
    #[must_use]
    pub const fn with_index(self, register: u8, addend: u8) -> Self {
        self.with_extra(register & 31 | addend << 5)
    }

    /// The same where rbx is saved at this many words below the CFA; 0 where it was not touched,
    /// [`Rule::RBX_LOST`] where it is not known. Only for [`Cfa::Sp`] and [`Cfa::Fp`] on x86-64.
    #[must_use]
    pub const fn with_rbx(self, words: u8) -> Self {
        self.with_extra(words)
    }

    /// The integer of its [`Cfa`].
    #[inline(always)]
    pub const fn cfa(self) -> u32 {
        (self.0 & 0xff) as u32
    }

    /// The integer of its [`ReturnAddress`].
    #[inline(always)]
    pub const fn return_address(self) -> u32 {
        (self.0 >> 8 & 0xf) as u32
    }

    /// The integer of its [`FramePointer`].
    #[inline(always)]
    pub const fn frame_pointer(self) -> u32 {
        (self.0 >> 12 & 0xf) as u32
    }

    /// Bytes from the CFA to the saved frame pointer, as a wrapping addend.
    #[inline(always)]
    pub const fn frame_pointer_offset(self) -> u64 {
        (((self.0 << 32) as i64 >> 48) * 8) as u64
    }

    /// Bytes to the return address, as a wrapping addend.
    #[inline(always)]
    pub const fn return_address_offset(self) -> u64 {
        (((self.0 << 24) as i64 >> 56) * 8) as u64
    }

    /// What [`Rule::with_extra`] or [`Rule::with_rbx`] set.
    #[inline(always)]
    pub const fn extra(self) -> u64 {
        self.0 >> 40 & 0xff
    }

    /// DWARF number of the register of a [`Cfa`] that has one.
    #[inline(always)]
    pub const fn register(self) -> u64 {
        self.extra() & 31
    }

    /// The addend of [`Cfa::SpIndexLoad`], in bytes.
    #[inline(always)]
    pub const fn index_addend(self) -> u64 {
        (self.extra() >> 5) * 8
    }

    /// Bytes from the stack pointer to the CFA of [`Cfa::SpBytes`].
    #[inline(always)]
    pub const fn bytes(self) -> u64 {
        self.0 >> 40
    }

    /// Bytes from its register to the CFA, as a wrapping addend.
    #[inline(always)]
    pub const fn offset(self) -> u64 {
        ((self.0 as i64 >> 48) * 8) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_comes_back() {
        for words in [i16::MIN, -2, -1, 0, 1, i16::MAX] {
            for near in [i8::MIN, -1, 0, i8::MAX] {
                let rule = Rule::new(Cfa::SpLoad, words)
                    .with_frame_pointer(FramePointer::Saved, words)
                    .with_return_address(ReturnAddress::AtFramePointer, near)
                    .with_extra(0xa5);
                assert_eq!(rule.cfa(), Cfa::SpLoad.raw());
                assert_eq!(rule.offset(), (i64::from(words) * 8) as u64);
                assert_eq!(rule.frame_pointer(), FramePointer::Saved.raw());
                assert_eq!(rule.frame_pointer_offset(), (i64::from(words) * 8) as u64);
                assert_eq!(rule.return_address(), ReturnAddress::AtFramePointer.raw());
                assert_eq!(rule.return_address_offset(), (i64::from(near) * 8) as u64);
                assert_eq!(rule.extra(), 0xa5);
                let rule = rule.with_index(9, 7);
                assert_eq!((rule.register(), rule.index_addend()), (9, 56));
            }
        }
    }

    #[test]
    fn a_large_frame_keeps_its_bytes() {
        for bytes in [0, 1, 8, 300_004, 0xff_ffff] {
            let rule = Rule::sp_bytes(bytes).with_frame_pointer(FramePointer::Saved, -2);
            assert_eq!((rule.bytes(), rule.cfa()), (bytes.into(), Cfa::SpBytes.raw()));
            assert_eq!(rule.return_address_offset(), 8u64.wrapping_neg());
            assert_eq!(rule.frame_pointer_offset(), 16u64.wrapping_neg());
        }
    }

    #[test]
    fn a_rule_of_x86_64_returns_by_the_word_below_the_cfa() {
        let rule = Rule::new(Cfa::Sp, 1);
        assert_eq!((rule.offset(), rule.return_address_offset()), (8, 8u64.wrapping_neg()));
        assert_eq!(rule.frame_pointer(), FramePointer::Same.raw());
    }
}
