//! `/proc/PID/maps`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| profiler_agent::process::fuzz::maps(input));
