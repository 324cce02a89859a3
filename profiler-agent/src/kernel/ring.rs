//! The BPF ring buffer: bytes up, events out.
//!
//! The programs wake nobody up: the reader comes by on a timer, so how full it finds the ring is worth
//! knowing.

use std::os::fd::{AsRawFd as _, RawFd};

use aya::maps::{MapData, RingBuf};

use super::ring_record;
use super::spare::Spare;
use crate::model::event::Event;

/// Length of the kernel's header in front of each record.
const RECORD_HEADER: u64 = 8;

/// How full the ring buffer was when it was last drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingFill {
    /// Bytes that the last round found in it.
    pub last_bytes: u64,
    /// The most that any round found in it.
    pub peak_bytes: u64,
    /// Its size in bytes.
    pub capacity_bytes: u64,
}

/// The reader's end.
pub struct Ring {
    buffer: RingBuf<MapData>,
    fill: RingFill,
    malformed: u64,
    spare: Spare,
}

impl Ring {
    /// Reads a ring of this many bytes.
    pub fn new(buffer: RingBuf<MapData>, capacity_bytes: u32) -> Self {
        let fill = RingFill { capacity_bytes: capacity_bytes.into(), ..RingFill::default() };
        Self { buffer, fill, malformed: 0, spare: Spare::default() }
    }

    /// Becomes readable when the programs ask for a reader: the ring is half full.
    pub fn descriptor(&self) -> RawFd {
        self.buffer.as_raw_fd()
    }

    /// Hands over what has arrived, but no more than the ring holds at once: programs that are faster
    /// than their reader must not keep it here.
    pub fn drain(&mut self, mut sink: impl FnMut(Event)) {
        let mut bytes = 0;
        while bytes < self.fill.capacity_bytes {
            let Some(item) = self.buffer.next() else { break };
            bytes += RECORD_HEADER + (item.len() as u64).next_multiple_of(8);
            match ring_record::decode(&item, &mut self.spare) {
                Some(event) => sink(event),
                None => self.malformed += 1,
            }
        }
        self.fill.last_bytes = bytes;
        self.fill.peak_bytes = self.fill.peak_bytes.max(bytes);
    }

    /// Takes the memory of an event that nobody needs any more.
    pub fn reuse(&mut self, event: Event) {
        self.spare.reuse(event);
    }

    /// How full it gets.
    pub fn fill(&self) -> RingFill {
        self.fill
    }

    /// Records that could not be understood.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}
