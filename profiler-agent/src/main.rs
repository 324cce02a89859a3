//! The command `profiler-agent`.

fn main() {}
