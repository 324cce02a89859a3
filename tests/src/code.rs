//! The code of binaries: whether a frame can be one, without believing a name.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSegment as _};

/// Bytes of the longest entry point: `_start` of glibc.
const ENTRY_BYTES: u64 = 0x30;
/// The longest `call` through memory; a prefix more is of no matter.
const LONGEST_CALL: usize = 7;

/// `mov $15, %rax; syscall`.
const SIGNAL_RETURN: &[u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

/// The code of files, read once.
#[derive(Debug, Default)]
pub struct Files(HashMap<String, Option<Code>>);

/// The code of one file.
#[derive(Debug)]
pub struct Code {
    /// Its segments: ELF virtual address and bytes.
    segments: Vec<(u64, Vec<u8>)>,
    entry: u64,
}

impl Files {
    /// The code of a file; `None` where it cannot be read, such as the vDSO.
    pub fn get(&mut self, path: &str) -> Option<&Code> {
        let read = || Code::read(Path::new(path)).ok();
        self.0.entry(path.to_owned()).or_insert_with(read).as_ref()
    }
}

impl Code {
    fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)?;
        let elf = object::File::parse(&*bytes).context("no ELF file")?;
        let bytes_of = |segment: &object::Segment<'_, '_>| {
            Some((segment.address(), segment.data().ok()?.to_vec()))
        };
        let segments = elf.segments().filter_map(|segment| bytes_of(&segment)).collect();
        Ok(Self { segments, entry: elf.entry() })
    }

    /// Whether an address lies in the program's entry point.
    pub fn is_entry(&self, address: u64) -> bool {
        (self.entry..self.entry + ENTRY_BYTES).contains(&address)
    }

    /// Whether a call ends with the byte at this address (x86-64: `call rel32`, or opcode FF whose second
    /// byte has 2 in its middle bits, in each length).
    pub fn is_call(&self, last_byte: u64) -> bool {
        let Some((before, _)) = self.around(last_byte) else { return false };
        let byte =
            |back: usize| before.len().checked_sub(back).and_then(|at| before.get(at)).copied();
        let is_indirect = |back: usize| {
            byte(back) == Some(0xff) && byte(back - 1).is_some_and(|modrm| modrm >> 3 & 7 == 2)
        };
        byte(5) == Some(0xe8) || (2..=LONGEST_CALL).any(is_indirect)
    }

    /// Whether a signal handler returns to what follows this address: libc's call of `rt_sigreturn`.
    pub fn is_before_signal_return(&self, address: u64) -> bool {
        self.around(address).is_some_and(|(_, after)| after.starts_with(SIGNAL_RETURN))
    }

    /// The bytes of a segment up to an address, that of the address included, and those after it.
    fn around(&self, address: u64) -> Option<(&[u8], &[u8])> {
        self.segments.iter().find_map(|(start, bytes)| {
            let at = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.split_at_checked(at + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_call_ends_with_is_behind_one() {
        for (bytes, expected) in [
            (&[0xe8, 1, 2, 3, 4][..], true),
            (&[0xff, 0xd0], true),
            (&[0x41, 0xff, 0xd3], true),
            (&[0xff, 0x53, 0x10], true),
            (&[0xff, 0x15, 1, 2, 3, 4], true),
            (&[0xff, 0x94, 0x24, 1, 2, 3, 4], true),
            (&[0xff, 0xe0], false),
            (&[0xe9, 1, 2, 3, 4], false),
            (&[0x48, 0x89, 0xc3], false),
            (&[], false),
        ] {
            let code = [&[0x90; 8][..], bytes].concat();
            let last = 0x1000 + code.len() as u64 - 1;
            let code = Code { segments: vec![(0x1000, code)], entry: 0x1000 };
            assert_eq!(code.is_call(last), expected, "{bytes:x?}");
            assert!(!code.is_call(last + 1) && !code.is_call(0xfff));
        }
    }

    #[test]
    fn a_handler_returns_to_the_call_that_ends_it() {
        let code = [&[0x90][..], SIGNAL_RETURN].concat();
        let code = Code { segments: vec![(0x1000, code)], entry: 0x1000 };
        let found = [0xfff, 0x1000, 0x1001, 0x1fff].map(|at| code.is_before_signal_return(at));
        assert_eq!(found, [false, true, false, false]);
    }
}
