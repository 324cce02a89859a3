//! Rows of unwind information, against gimli.
#![no_main]

#[path = "../bodies/rows.rs"]
mod body;
#[path = "../../../profiler-agent/tests/rows/check.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod check;
#[path = "../../../profiler-agent/src/runtime/native/tests/image.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod image;
#[path = "../../../profiler-agent/tests/rows/reference.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|input: &[u8]| body::run(input));
