//! One step of a walk, for each kind of code.

mod arm64;
mod call_site;
pub mod code;
pub mod frame_pointer;
pub mod leaf;
pub mod x86_64;
mod x86_64_lengths;

use crate::settings;

/// A return address as the code would use it: arm64 may have signed it, in the bits above the 48 of
/// an address.
#[inline(always)]
pub fn plain_address(address: u64) -> u64 {
    if settings::is_arm() { address & ((1 << 48) - 1) } else { address }
}

/// Whether user code can lie at an address: not in the first page, and not where the kernel is.
#[inline(always)]
pub fn may_be_code(address: u64) -> bool {
    address.wrapping_sub(4096) < (1 << 48) - 4096
}
