//! The rate limit of kept blocks, for each CPU: in a tick, as many as the loader allows, spread over
//! the tick by chance. What is not kept is counted by its thread.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use profiler_common::settings::TICK_NS;

use crate::maps::{RATE, live};

/// What a CPU knows of this tick and the one before.
#[repr(C)]
pub struct Rate {
    /// Number of this tick.
    tick: u64,
    /// Blocks that came in it.
    seen: u32,
    /// Blocks of it that were kept.
    kept: u32,
    /// A block is kept when a random number is not above.
    chance: u32,
    /// Padding.
    _pad: u32,
}

/// Whether the stack of a block that begins now is kept.
#[inline(always)]
pub fn keeps(now_ns: u64) -> bool {
    let Some(live) = live() else { return false };
    let limit = live.blocks_per_tick;
    if limit == 0 {
        return true;
    }
    let Some(rate) = RATE.get_ptr_mut(0) else { return false };
    // SAFETY: a map value of this CPU, which does not switch within a switch.
    let rate = unsafe { &mut *rate };
    let tick = now_ns / TICK_NS;
    if rate.tick != tick {
        rate.begin(tick, limit);
    }
    rate.seen = rate.seen.wrapping_add(1);
    // A burst after a quiet tick is bounded all the same.
    if rate.kept >= limit.wrapping_mul(2) {
        return false;
    }
    // SAFETY: the helper takes nothing.
    if rate.chance != u32::MAX && unsafe { bpf_get_prandom_u32() } > rate.chance {
        return false;
    }
    rate.kept += 1;
    true
}

impl Rate {
    /// As many as came in the tick before will come in this one, if that was the last.
    #[inline(always)]
    fn begin(&mut self, tick: u64, limit: u32) {
        let expected = if self.tick + 1 == tick { self.seen } else { 0 };
        self.chance = if expected > limit {
            ((u64::from(limit) << 32) / u64::from(expected | 1)) as u32
        } else {
            u32::MAX
        };
        self.tick = tick;
        self.seen = 0;
        self.kept = 0;
    }
}
