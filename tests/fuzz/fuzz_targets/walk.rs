//! The walk over hostile tables and stacks.
#![no_main]

#[path = "../bodies/walk.rs"]
mod body;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::run(input));
