//! The maps that both sides share: their sizes, and the ends that the user side holds.

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader};
use profiler_common::counter::Counter;
use profiler_common::live::Live;
use profiler_common::native::MappingList;
use profiler_common::thread::ThreadEntry;

use super::error::KernelError;
use super::load::words;
use super::ring::Ring;
use super::threads::Threads;
use crate::model::choice::EventChoice;
use crate::model::losses::Losses;

/// Room in the ring for each CPU: half of it holds 100 ms of 10,000 samples per second.
const RING_BYTES_PER_CPU: u32 = 512 << 10;
/// Room in the ring for each thread that sleeps at the start of an off-CPU recording: they all come at
/// once.
const RING_BYTES_PER_SLEEPER: u32 = 512;
const RING_MIN: u32 = 1 << 20;
const RING_MAX: u32 = 32 << 20;

/// Threads that are remembered while they are off the CPU.
const THREADS_MIN: u32 = 16 << 10;
const THREADS_MAX: u32 = 256 << 10;
/// Slots for them, at most: 11 MiB.
const SLOTS_MAX: u32 = 128 << 10;

/// Processes that can have a list of mappings.
const PROCESSES_MIN: u32 = 4 << 10;
const PROCESSES_MAX: u32 = 64 << 10;

/// Sizes that depend on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSizes {
    ring_bytes: u32,
    threads: u32,
    processes: u32,
}

impl MapSizes {
    /// For a machine with so many CPUs, and so many threads and processes now.
    pub fn new(event: EventChoice, cpus: usize, threads: u32, processes: u32) -> Self {
        let cpus = u32::try_from(cpus).unwrap_or(u32::MAX);
        let sleepers = if event.off_cpu() { threads } else { 0 };
        let ring = cpus.saturating_mul(RING_BYTES_PER_CPU);
        let ring = ring.max(sleepers.saturating_mul(RING_BYTES_PER_SLEEPER));
        Self {
            ring_bytes: ring.clamp(RING_MIN, RING_MAX).next_power_of_two(),
            // Room for four times as many, since they come and go.
            threads: if event.off_cpu() {
                threads.saturating_mul(4).clamp(THREADS_MIN, THREADS_MAX)
            } else {
                1
            },
            processes: processes.saturating_mul(4).clamp(PROCESSES_MIN, PROCESSES_MAX),
        }
    }

    /// Slots for threads: so many that few share one.
    fn slots(self) -> u32 {
        self.threads.next_power_of_two().min(SLOTS_MAX)
    }

    /// Threads whose slot is another's, at most. Of as many threads as there are slots, with random numbers,
    /// 37 % have none.
    fn without_slot(self) -> u32 {
        self.threads.div_ceil(2)
    }

    /// Which bits of a thread id are its slot.
    pub fn slot_mask(self) -> u32 {
        self.slots() - 1
    }

    /// Bytes of the ring.
    pub fn ring_bytes(self) -> u32 {
        self.ring_bytes
    }

    /// Bytes that the map of processes takes: its elements (`struct htab_elem` of kernel/bpf/hashtab.c, key and
    /// value) and its buckets are there from the beginning.
    pub fn processes_bytes(self) -> u64 {
        const ELEMENT: u64 = 48 + 8 + size_of::<MappingList>() as u64;
        const BUCKET: u64 = 16;
        u64::from(self.processes) * ELEMENT + u64::from(self.processes.next_power_of_two()) * BUCKET
    }

    /// Tells the loader.
    pub fn apply(self, loader: &mut EbpfLoader<'_>) {
        loader
            .map_max_entries("RING", self.ring_bytes)
            .map_max_entries("SLOTS", self.slots())
            .map_max_entries("THREADS", self.without_slot())
            .map_max_entries("PROCESSES", self.processes);
    }
}

/// The user side's ends of the maps, except the ring.
pub struct Maps {
    counters: PerCpuArray<MapData, u64>,
    threads: Threads,
    targets: HashMap<MapData, u32, u32>,
    live: Array<MapData, Live>,
}

impl Maps {
    /// Takes them out of the object, with the ring.
    pub fn take(ebpf: &mut Ebpf, sizes: MapSizes) -> Result<(Self, Ring), KernelError> {
        let maps = Self {
            counters: take(ebpf, "COUNTERS")?,
            threads: Threads::new(take(ebpf, "SLOTS")?, sizes.slots(), take(ebpf, "THREADS")?)?,
            targets: take(ebpf, "TARGETS")?,
            live: take(ebpf, "LIVE")?,
        };
        Ok((maps, Ring::new(take::<RingBuf<MapData>>(ebpf, "RING")?, sizes.ring_bytes)))
    }

    /// Tells the programs what holds from now on.
    pub fn set_live(&mut self, live: Live) -> Result<(), KernelError> {
        self.live.set(0, live, 0).map_err(failed)
    }

    /// Gives a process these marks, or takes them all where there are none. A table that is full is not an
    /// error: returns whether there was room.
    pub fn mark(&mut self, pid: u32, marks: u32) -> Result<bool, KernelError> {
        let result = match marks {
            0 => self.targets.remove(&pid),
            marks => self.targets.insert(pid, marks, 0),
        };
        match result {
            Ok(()) => Ok(true),
            Err(MapError::SyscallError(e)) if is_full_or_unknown(&e.io_error) => Ok(marks == 0),
            Err(MapError::KeyNotFound) => Ok(true),
            Err(other) => Err(failed(other)),
        }
    }

    /// Every process that has marks.
    pub fn marked(&self) -> Vec<u32> {
        self.targets.keys().filter_map(Result::ok).collect()
    }

    /// Remembers a thread as off the CPU, unless the programs know it already. Returns whether it was
    /// new.
    pub fn remember(&mut self, tid: u32, entry: ThreadEntry) -> Result<bool, KernelError> {
        self.threads.remember(tid, entry)
    }

    /// Every thread that left a CPU at least once and still lives.
    pub fn threads(&self) -> Vec<(u32, ThreadEntry)> {
        self.threads.all()
    }

    /// What the programs turned away, summed over the CPUs.
    pub fn losses(&self) -> Result<Losses, KernelError> {
        let mut losses = Losses::default();
        for counter in Counter::ALL.iter().filter(|c| is_loss(**c)) {
            losses.add(counter.name(), self.count(*counter)?);
        }
        Ok(losses)
    }

    /// One counter, summed over the CPUs.
    pub fn count(&self, counter: Counter) -> Result<u64, KernelError> {
        let per_cpu = self.counters.get(&counter.raw(), 0).map_err(failed)?;
        Ok(per_cpu.iter().fold(0, |sum, n| sum.saturating_add(*n)))
    }
}

/// Whether a counter tells of something that the recording does not contain.
const fn is_loss(counter: Counter) -> bool {
    !matches!(
        counter,
        Counter::Samples | Counter::Blocks | Counter::Filtered | Counter::BlocksCarried
    )
}

fn is_full_or_unknown(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::E2BIG))
}

/// Takes a map out of the object.
pub fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<M, KernelError> {
    let mismatch = |reason| KernelError::Mismatch { kind: "map", name, reason };
    let map = ebpf.take_map(name).ok_or_else(|| mismatch(String::new()))?;
    M::try_from(map).map_err(|e| mismatch(format!(": {}", words(&e))))
}

/// What a map answered that never should.
pub fn failed(error: MapError) -> KernelError {
    KernelError::System { call: "bpf", source: std::io::Error::other(words(&error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_machine_within_bounds() {
        let size = |event, cpus, threads| {
            let sizes = MapSizes::new(event, cpus, threads, threads / 2);
            (sizes.ring_bytes, sizes.threads)
        };
        let smallest = MapSizes::new(EventChoice::OnCpu, 1, 1, 1);
        assert_eq!(smallest.processes_bytes(), 4096 * (72 + 16));
        let processes = |now| MapSizes::new(EventChoice::OnCpu, 1, now, now).processes;
        let slots = |threads| MapSizes::new(EventChoice::OffCpu, 2, threads, threads).slot_mask();
        assert_eq!([1, 5_000, u32::MAX].map(slots), [0x3fff, 0x7fff, 0x1_ffff]);
        assert_eq!(smallest.slot_mask(), 0);
        assert_eq!([100, 5_000, 1 << 20].map(processes), [4 << 10, 20_000, 64 << 10]);
        assert_eq!(size(EventChoice::OnCpu, 1, 100_000), (1 << 20, 1));
        assert_eq!(size(EventChoice::OnCpu, 3, 100), (2 << 20, 1));
        assert_eq!(size(EventChoice::Wall, 2, 100), (1 << 20, 16 << 10));
        assert_eq!(size(EventChoice::OffCpu, 2, 20_000), (16 << 20, 80_000));
        assert_eq!(size(EventChoice::OffCpu, 512, u32::MAX), (32 << 20, 256 << 10));
    }
}
