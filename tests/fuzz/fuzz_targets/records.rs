//! Records of the perf side-band and of the BPF programs.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| profiler_agent::kernel::fuzz::record(input));
