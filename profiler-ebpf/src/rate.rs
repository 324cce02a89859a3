//! The rate limit of kept blocks, for each CPU: in a tick, as many as the loader allows, spread over
//! the tick by chance. What is not kept is counted by its thread.

use profiler_common::{live::Live, settings::TICK_NS};

use crate::maps::RATE;

/// What a CPU knows of this tick and the one before.
#[repr(C)]
pub struct Rate {
    /// When this tick began (CLOCK_MONOTONIC, ns).
    begun_ns: u64,
    /// Blocks that came in it.
    seen: u32,
    /// Blocks of it that were kept.
    kept: u32,
    /// A block is kept when a random number is not above.
    chance: u32,
    /// The random number before.
    random: u32,
}

/// Whether the stack of a block that begins now is kept.
#[inline(always)]
pub fn keeps(live: &Live, now_ns: u64) -> bool {
    let limit = live.blocks_per_tick;
    if limit == 0 {
        return true;
    }
    let Some(rate) = RATE.get_ptr_mut(0) else { return false };
    // SAFETY: a map value of this CPU, which does not switch within a switch.
    let rate = unsafe { &mut *rate };
    if now_ns.wrapping_sub(rate.begun_ns) >= TICK_NS {
        rate.begin(now_ns, limit);
    }
    rate.seen = rate.seen.wrapping_add(1);
    // A burst after a quiet tick is bounded all the same.
    if rate.kept >= limit.wrapping_mul(2) {
        return false;
    }
    if rate.chance != u32::MAX && rate.roll() > rate.chance {
        return false;
    }
    rate.kept += 1;
    true
}

impl Rate {
    /// As many as came in the tick before will come in this one, if that was the last.
    #[inline(always)]
    fn begin(&mut self, now_ns: u64, limit: u32) {
        let begun_ns = now_ns / TICK_NS * TICK_NS;
        let expected = if self.begun_ns + TICK_NS == begun_ns { self.seen } else { 0 };
        self.chance = if expected > limit {
            ((u64::from(limit) << 32) / u64::from(expected | 1)) as u32
        } else {
            u32::MAX
        };
        self.begun_ns = begun_ns;
        self.seen = 0;
        self.kept = 0;
        if self.random == 0 {
            self.random = now_ns as u32 | 1;
        }
    }

    /// A random number, never 0 (Marsaglia, Xorshift RNGs, 2003): the helper costs more than all else here.
    #[inline(always)]
    fn roll(&mut self) -> u32 {
        let mut random = self.random;
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        self.random = random;
        random
    }
}
