//! How fast the memory of this machine is, now.
//!
//! A sample that finds nothing in a cache waits for loads from memory, and on a shared machine a load takes
//! twice as long at one minute as at the next. So what it costs is told in such loads too.

use std::hint::black_box;
use std::time::Instant;

const LINE: usize = 64;
/// Larger than any cache that one CPU of a shared machine has for itself.
const LINES: usize = (128 << 20) / LINE;
const LOADS: u32 = 1 << 20;

/// A line of memory: which one to read next, and nothing else.
#[derive(Clone)]
#[repr(align(64))]
struct Line(u32);

const _: () = assert!(size_of::<Line>() == LINE);

/// Nanoseconds of a load from anywhere in 128 MiB, each waiting for the one before.
pub fn load_ns() -> f64 {
    let lines = one_round(LINES);
    let begun = Instant::now();
    let mut at = 0;
    for _ in 0..LOADS {
        at = lines.get(at as usize).map_or(0, |line| line.0);
    }
    black_box(at);
    begun.elapsed().as_nanos() as f64 / f64::from(LOADS)
}

/// Lines that lead to each other in one round through all of them, in a random order: Sattolo's
/// algorithm ("An algorithm to generate a random cyclic permutation", 1986).
fn one_round(count: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = (0..count as u32).map(Line).collect();
    let mut state = 88_172_645_463_325_252_u64;
    for last in (1..count).rev() {
        // xorshift64: any order that no CPU foresees does.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        lines.swap(last, (state % last as u64) as usize);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_leads_through_all_lines() {
        let lines = one_round(1000);
        let mut seen = vec![false; lines.len()];
        let mut at = 0;
        for _ in 0..lines.len() {
            assert!(!std::mem::replace(&mut seen[at], true));
            at = lines[at].0 as usize;
        }
        assert_eq!(at, 0);
    }
}
