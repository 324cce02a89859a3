//! Cuts the scheduler's own frames, and ours, off the top of a block's kernel stack.
//!
//! A block is seen inside `__schedule`, by a program that is called through a tracepoint: its stack
//! begins with frames that are the same for every block and differ between kernels. What the thread
//! waits for begins below `schedule`. Where kallsyms hides addresses, the frames stay.

use std::fs::File;
use std::io::{self, BufReader};
use std::ops::Range;
use std::thread::{self, JoinHandle};

/// The functions that say nothing of what is waited for.
const SCHEDULER: [&str; 2] = ["__schedule", "schedule"];

/// Frames of tracing that may lie above the scheduler's.
const MAX_TRACING_FRAMES: usize = 16;

/// Where the scheduler's functions are. They are looked up on a thread of their own: kallsyms takes
/// longer to read than the rest of a start.
#[derive(Debug)]
pub enum SchedulerText {
    /// Not known yet.
    Reading(JoinHandle<Vec<Range<u64>>>),
    /// Known; empty where kallsyms tells nothing.
    Known(Vec<Range<u64>>),
}

impl SchedulerText {
    /// Begins to look them up.
    pub fn read() -> Self {
        let reader = thread::Builder::new().name("kallsyms".to_owned());
        let reading = reader.spawn(|| {
            let ranges = File::open("/proc/kallsyms").and_then(|f| ranges(BufReader::new(f)));
            ranges.unwrap_or_default()
        });
        reading.map_or(Self::Known(Vec::new()), Self::Reading)
    }

    /// Cuts a kernel stack of a thread that leaves the CPU; waits for the first answer if it must.
    pub fn cut(&mut self, stack: &mut Vec<u64>) {
        if let Self::Reading(_) = self
            && let Self::Reading(reading) = std::mem::replace(self, Self::Known(Vec::new()))
        {
            *self = Self::Known(reading.join().unwrap_or_default());
        }
        let Self::Known(ranges) = self else { return };
        let inside = |address: &u64| ranges.iter().any(|range| range.contains(address));
        let Some(first) = stack.iter().take(MAX_TRACING_FRAMES).position(inside) else { return };
        let scheduler = stack.iter().skip(first).take_while(|address| inside(address)).count();
        stack.drain(..first + scheduler);
    }
}

/// The ranges of the scheduler's functions, in a list of symbols that is sorted by address.
fn ranges(mut kallsyms: impl io::BufRead) -> io::Result<Vec<Range<u64>>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut line = Vec::new();
    while kallsyms.read_until(b'\n', &mut line)? > 0 {
        if let Some((address, name)) = symbol(&line) {
            // A return address may be the first byte after a function that does not return.
            if let Some(open) = found.last_mut().filter(|range| range.is_empty())
                && address > open.start
            {
                open.end = address;
            }
            if SCHEDULER.contains(&name) && address != 0 {
                found.push(address..address);
            } else if found.len() == SCHEDULER.len() && found.iter().all(|r| !r.is_empty()) {
                break;
            }
        }
        line.clear();
    }
    found.retain(|range| !range.is_empty());
    Ok(found)
}

/// Address and name of a line such as `ffffffff81e114c0 t schedule`.
fn symbol(line: &[u8]) -> Option<(u64, &str)> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "0000000000000010 A fixed\n\
        0000000000000100 t __schedule\n\
        0000000000000180 t __pfx_schedule\n\
        0000000000000190 T schedule\n\
        00000000000001a0 T schedule_timeout\n\
        0000000000000200 t pipe_read\n";

    #[test]
    fn what_the_thread_waits_for_is_left() {
        for (stack, left) in [
            // Tracing, the scheduler, and what called it.
            (vec![0x900, 0x910, 0x120, 0x195, 0x204], vec![0x204]),
            (vec![0x120, 0x1a4, 0x204], vec![0x1a4, 0x204]),
            // A stack that the kernel cut already, and one that is not the scheduler's.
            (vec![0x204, 0x300], vec![0x204, 0x300]),
            (vec![], vec![]),
        ] {
            let mut text = SchedulerText::Known(ranges(KALLSYMS.as_bytes()).unwrap());
            let mut cut = stack.clone();
            text.cut(&mut cut);
            assert_eq!(cut, left, "{stack:x?}");
        }
    }

    #[test]
    fn hidden_addresses_cut_nothing() {
        let hidden = "0000000000000000 t __schedule\n0000000000000000 T schedule\nnot a line\n\n";
        assert_eq!(ranges(hidden.as_bytes()).unwrap(), []);
    }
}
