//! The same stack by elfutils, which has its own reader of unwind information.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use profiler_tests::recorded::{Hex, KnownFrame};

/// The frames of a stopped thread, innermost first, from a program's beginning or a thread's.
pub fn frames(tid: u32) -> Result<Vec<KnownFrame>> {
    let output = Command::new("eu-stack")
        .args(["-1", "-n", "0", "-p", &tid.to_string()])
        .output()
        .context("cannot run eu-stack")?;
    let frames: Vec<KnownFrame> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect();
    let problem = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && frames.len() > 1, "eu-stack gave up: {}", problem.trim());
    Ok(frames)
}

/// `#1  0x00007fc36854fe53 __nanosleep`; where there is no name, nothing follows.
fn parse(line: &str) -> Option<KnownFrame> {
    let mut words = line.strip_prefix('#')?.split_whitespace().skip(1);
    let pc = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let name = words.filter(|word| !["-", "1"].contains(word)).collect::<Vec<_>>().join(" ");
    Some(KnownFrame { pc: Hex(pc), name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_with_and_without_names() {
        for (line, expected) in [
            (
                "#0  0x00007fc36854b503 clock_nanosleep@GLIBC_2.2.5",
                Some((0x7fc3_6854_b503, "clock_nanosleep@GLIBC_2.2.5")),
            ),
            ("#12 0x000055c488de94af", Some((0x55c4_88de_94af, ""))),
            ("TID 16836:", None),
        ] {
            let frame = parse(line);
            assert_eq!(frame.as_ref().map(|f| (f.pc.0, f.name.as_str())), expected);
        }
    }
}
