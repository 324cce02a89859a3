//! What a binary tells about its own code, prepared for the kernel side: the second line, from a mapping
//! that was seen to what the kernel needs to unwind it.
//!
//! - [`native`]: tables by which code that a compiler made is unwound without frame pointers.

pub mod native;
