//! The ABI between `profiler-ebpf` and `profiler-agent`.
//!
//! Everything here is read on one side and written on the other, by code that two compilers built
//! for two targets: `repr(C)`, fixed widths, explicit padding, sizes asserted at compile time, no
//! `usize`, `bool` or `Option`. Enumerations travel as their integer and are decoded with
//! `from_raw`, which knows that the other side may be newer.
//!
//! - [`settings`]: what the loader tells the programs before they are verified.
//! - [`live`]: what it may tell them otherwise later.
//! - [`record`]: what the programs send up the ring buffer.
//! - [`walk`]: why the walk of a stack ended.
//! - [`native`]: the tables by which native code is unwound, and how both sides read them.
//! - [`thread`]: why a thread is off the CPU, and what is remembered of it meanwhile.
//! - [`counter`]: what the programs count of themselves, losses first.
#![no_std]

pub mod counter;
pub mod live;
pub mod native;
pub mod record;
pub mod settings;
pub mod thread;
pub mod walk;

/// Declares a `u32` enumeration with its inverse, its list and a stable name for each value.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name { $($(#[$vmeta])* $variant = $value,)* }

        impl $name {
            /// Every value, in the order of its integers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The value of an integer that the other side wrote; `None` where this side does not know it.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                match raw { $($value => Some(Self::$variant),)* _ => None }
            }

            /// The integer that travels.
            pub const fn raw(self) -> u32 {
                self as u32
            }

            /// A stable, lower-case name, as metrics and profile comments show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}
pub(crate) use wire_enum;
