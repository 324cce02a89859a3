//! chain_rust DEPTH: main → chain_rust::graph::descend × DEPTH → chain_rust::graph::burn.

use std::hint::black_box;
use std::io::Write as _;

mod graph {
    use super::*;

    #[inline(never)]
    pub fn burn() -> u64 {
        println!("ready");
        std::io::stdout().flush().unwrap();
        let mut sum = 0_u64;
        loop {
            for round in 0..1000_u64 {
                sum = black_box(sum.wrapping_add(round));
            }
        }
    }

    #[inline(never)]
    pub fn descend(depth: u64) -> u64 {
        // The result is used after the call, so that it is no tail call.
        let below = if depth == 1 { burn() } else { descend(depth - 1) };
        black_box(below + depth)
    }
}

fn main() {
    let depth = std::env::args().nth(1).map_or(10, |depth| depth.parse().unwrap());
    black_box(graph::descend(depth));
}
