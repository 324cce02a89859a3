//! Perf maps.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| profiler_agent::symbolize::fuzz::perf_map(input));
