//! The arena: memory that the BPF programs read and the agent writes, without a system call. A few
//! large regions, made when they are needed, and ranges in them.
//!
//! What is freed rests for a second before its bytes are used again: a program that found its way
//! there before may still be reading.

mod free;
pub mod region;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use profiler_common::native::lookup::Region;
use profiler_common::native::{REGION_BYTES, REGION_RESERVE, REGIONS};

use self::free::{Free, whole};
use super::error::KernelError;
use crate::model::tables::{Place, Room};

/// Bytes of a region in which something may be placed.
const USABLE: u32 = REGION_BYTES - REGION_RESERVE;

/// So long what was freed rests. Programs run for microseconds; those that may sleep, for longer.
const REST: Duration = Duration::from_secs(1);

/// Where the regions come from.
pub trait Regions {
    /// Makes the region of the next number.
    fn add(&mut self) -> Result<(), KernelError>;

    /// Copies bytes into a region. What would go past its end is cut.
    fn write(&mut self, region: u32, offset: u32, bytes: &[u8]);

    /// Copies bytes out of a region; what would come from past its end stays as it is.
    fn read(&self, region: u32, offset: u32, bytes: &mut [u8]);
}

/// A region as a walk reads it.
pub struct View<'a, R> {
    regions: &'a R,
    number: u32,
}

impl<R: Regions> View<'_, R> {
    fn bytes<const N: usize>(&self, at: u32) -> [u8; N] {
        let mut bytes = [0; N];
        self.regions.read(self.number, at, &mut bytes);
        bytes
    }
}

impl<R: Regions> Region for View<'_, R> {
    fn u8(&self, at: u32) -> u64 {
        u8::from_le_bytes(self.bytes(at)).into()
    }

    fn u16(&self, at: u32) -> u64 {
        u16::from_le_bytes(self.bytes(at)).into()
    }

    fn u32(&self, at: u32) -> u64 {
        u32::from_le_bytes(self.bytes(at)).into()
    }

    fn u64(&self, at: u32) -> u64 {
        self.word(at)
    }

    fn word(&self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}

/// A range that was given out, and not yet given out again.
#[derive(Clone, Copy, Debug)]
struct Taken {
    len: u32,
    resting: bool,
}

/// Ranges of bytes in regions.
pub struct Arena<R> {
    regions: R,
    made: u32,
    at_most: u32,
    free: Free,
    taken: HashMap<Place, Taken>,
    used: u64,
    /// When each may be used again, oldest first.
    resting: VecDeque<(Instant, Place)>,
    resting_bytes: u64,
}

impl<R: Regions> Arena<R> {
    /// Empty, and without a budget.
    pub fn new(regions: R) -> Self {
        Self {
            regions,
            made: 0,
            at_most: 0,
            free: Free::default(),
            taken: HashMap::new(),
            used: 0,
            resting: VecDeque::new(),
            resting_bytes: 0,
        }
    }

    /// The region of this number, to read from.
    pub fn view(&self, number: u32) -> Option<View<'_, R>> {
        (number < self.made).then_some(View { regions: &self.regions, number })
    }

    /// Sets the budget. Regions that are there stay.
    pub fn allow(&mut self, budget_bytes: u64) {
        let at_most = u32::try_from(budget_bytes / u64::from(REGION_BYTES)).unwrap_or(REGIONS);
        self.at_most = at_most.clamp(self.made, REGIONS);
    }

    /// Writes bytes to a place of their own; `None` where no range is long enough.
    pub fn place(&mut self, bytes: &[u8], now: Instant) -> Option<Place> {
        let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= USABLE).map(whole)?;
        self.wake(now);
        let place = match self.free.take(len) {
            Some(place) => place,
            None if self.grow() => self.free.take(len)?,
            None => return None,
        };
        self.regions.write(place.region, place.offset, bytes);
        // The bytes, before whatever will lead to them.
        fence(Ordering::Release);
        self.taken.insert(place, Taken { len, resting: false });
        self.used += u64::from(len);
        Some(place)
    }

    /// Changes four bytes of what was placed. A place that is not given out is left alone.
    pub fn change(&mut self, place: Place, at: u32, word: u32) {
        let inside = |taken: &Taken| at.checked_add(4).is_some_and(|end| end <= taken.len);
        if self.taken.get(&place).is_some_and(inside) {
            self.regions.write(place.region, place.offset.saturating_add(at), &word.to_le_bytes());
        }
    }

    /// Gives a place back. One that is not given out is left alone.
    pub fn free(&mut self, place: Place, now: Instant) {
        let Some(Taken { len, resting }) = self.taken.get_mut(&place) else { return };
        if std::mem::replace(resting, true) {
            return;
        }
        self.used -= u64::from(*len);
        self.resting_bytes += u64::from(*len);
        self.resting.push_back((now + REST, place));
    }

    /// How full it is.
    pub fn room(&mut self, now: Instant) -> Room {
        self.wake(now);
        let unmade = u64::from(self.at_most - self.made) * u64::from(USABLE);
        Room {
            free: self.free.bytes() + unmade,
            resting: self.resting_bytes,
            used: self.used,
            total: u64::from(self.at_most) * u64::from(USABLE),
            mapped: u64::from(self.made) * u64::from(REGION_BYTES),
        }
    }

    /// Ends the rest of those that have rested.
    fn wake(&mut self, now: Instant) {
        while let Some((until, place)) = self.resting.front().copied()
            && until <= now
        {
            self.resting.pop_front();
            if let Some(Taken { len, .. }) = self.taken.remove(&place) {
                self.resting_bytes -= u64::from(len);
                self.free.give(place, len);
            }
        }
    }

    fn grow(&mut self) -> bool {
        if self.made >= self.at_most {
            return false;
        }
        match self.regions.add() {
            Ok(()) => {
                self.free.give(Place { region: self.made, offset: 0 }, USABLE);
                self.made += 1;
                true
            }
            Err(error) => {
                tracing::warn!(
                    regions = self.made,
                    "no more memory for unwind tables, so some stacks will not be whole: {error}"
                );
                self.at_most = self.made;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
