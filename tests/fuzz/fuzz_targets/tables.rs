//! Files with unwind information.
#![no_main]

#[path = "../bodies/tables.rs"]
mod body;
#[path = "../../../profiler-agent/src/runtime/native/tests/image.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod image;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::run(input));
