//! A recording by perf, which copies the stacks' bytes and unwinds them later.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;

use super::Folded;
use super::naming::Naming;
use crate::sh;

/// Bytes of a stack that perf copies; it cuts deeper ones.
const CALL_GRAPH: &str = "dwarf,32768";
/// Frames that perf shows, at most: as many as the agent walks, and the kernel's.
const DEPTH: &str = "640";

/// Records these processes for a slice of time.
pub fn record(
    pids: &[u32],
    frequency: &str,
    slice: Duration,
    naming: &mut Naming,
    into: &mut Folded,
) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("perf.data");
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let mut perf = Command::new("perf");
    perf.args(["record", "-q", "-e", "cpu-clock", "-F", frequency, "--call-graph", CALL_GRAPH]);
    // Of all processes, as the agent does it: an event of a process alone has its timer started anew with
    // each switch to it, and sees more of what comes right after.
    // Without build IDs: perf would read those of all files of the host, and has died of one of them.
    perf.args(["-a", "--no-buildid", "-o"]).arg(&data);
    perf.args(["--", "sleep", &slice.as_secs().to_string()]);
    sh::output(&mut perf)?;
    let mut script = Command::new("perf");
    script.args(["script", "--no-inline", "--max-stack", DEPTH, "-F", "pid,ip,sym,dso"]);
    script.args(["--pid", &pids.join(","), "-i"]);
    // It tells of every file without symbols.
    let script = script.arg(&data).stderr(Stdio::null()).output()?;
    read(&String::from_utf8_lossy(&script.stdout), naming, into);
    Ok(())
}

/// Samples as perf prints them: a line with the process, a line for each frame, innermost first, and an
/// empty line.
fn read(script: &str, naming: &mut Naming, into: &mut Folded) {
    let mut frames: Vec<String> = Vec::new();
    for line in script.lines() {
        if let Some(frame) = line.strip_prefix('\t') {
            frames.push(name(frame, frames.is_empty(), naming).unwrap_or_default());
        } else if line.is_empty() && !frames.is_empty() {
            frames.reverse();
            into.add(frames.join(";"), 1);
            frames.clear();
        }
    }
}

/// `1f6222 EVP_MD_free (/usr/lib/x86_64-linux-gnu/libcrypto.so.3)`: the address is an offset in the file;
/// that of a caller lies inside of its call.
fn name(frame: &str, is_leaf: bool, naming: &mut Naming) -> Option<String> {
    let (address, rest) = frame.trim_start().split_once(' ')?;
    let (symbol, file) = rest.rsplit_once(" (")?;
    let file = file.strip_suffix(')')?;
    if file.starts_with("[kernel") || file.starts_with("[guest.kernel") {
        return Some(naming.kernel(symbol));
    }
    let offset = u64::from_str_radix(address, 16).ok()?;
    // perf has it at one less than the place of return already; the call is longer than that.
    let offset = if is_leaf { offset } else { offset.saturating_sub(1) };
    Some(naming.offset(file, offset))
}
