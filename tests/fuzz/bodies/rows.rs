//! Programs of call frame information, in descriptions that are well-formed and do not overlap: each
//! row leads where gimli says.
//!
//! Not of functions that return from signal handlers: of those the kernel's own layout is taken.
//!
//! The first byte of the input says for which machine and section; then each function is a byte with
//! the length of its program, and the program.

use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use crate::check::{self, Tally};
use crate::image::{CODE, CODE_BYTES, Frames, Image, Packing};

/// Bytes of code of each function.
const FUNCTION: u64 = 64;
/// Bytes of a program at most.
const PROGRAM: usize = 63;

const IS_ARM: u8 = 1;
const IS_DEBUG: u8 = 2;

pub fn run(input: &[u8]) {
    let Some((kind, programs)) = input.split_first() else { return };
    let file = image(*kind, programs).file();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut tally = Tally::default();
    check::file(&path, &mut tally);
    assert_eq!(tally.differences(), 0, "rows lead elsewhere: {tally}");
}

fn image(kind: u8, mut programs: &[u8]) -> Image {
    let is_debug = kind & IS_DEBUG != 0;
    let is_arm = kind & IS_ARM != 0 && !is_debug;
    let mut frames = match (is_debug, is_arm) {
        (true, _) => Frames::debug(),
        (false, true) => Frames::arm(),
        (false, false) => Frames::x86(),
    };
    let starts = (CODE..CODE + CODE_BYTES).step_by(FUNCTION as usize);
    for start in starts {
        let Some((len, rest)) = programs.split_first() else { break };
        let len = (usize::from(*len) & PROGRAM).min(rest.len());
        let (program, rest) = rest.split_at(len);
        frames = frames.function(start, FUNCTION, program);
        programs = rest;
    }
    let mut image = Image::new(frames.bytes);
    if is_arm {
        image.machine = object::elf::EM_AARCH64;
    }
    if is_debug {
        for section in &mut image.sections {
            (section.0, section.2) = (".debug_frame", Packing::Plain);
        }
    }
    image
}
