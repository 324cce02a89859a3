//! The life of processes, as the kernel tells it: a dummy perf event per CPU that counts nothing and
//! whose buffer receives a record of every executable mapping, new name, birth and death.
//!
//! Unlike samples, every record wakes the reader up: a process that lives 50 ms must be known while
//! its first samples arrive.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Duration;

use perf_event::events::Software;
use perf_event::{Builder, Clock, ReadFormat, SampleFlag, Sampler};

use super::error::KernelError;
use super::privileges;
use super::sideband_record::{self, HEADER_LEN};
use crate::model::event::{Event, SidebandLost};

/// Bytes of one CPU's buffer: about a thousand mappings, between two rounds of the reader.
const BUFFER_BYTES: usize = 128 << 10;

/// The buffers of all CPUs.
pub struct Sideband {
    build_ids: bool,
    samplers: BTreeMap<u32, Sampler>,
    /// How long each had been enabled when [`Sideband::stopped`] looked last.
    enabled: BTreeMap<u32, Duration>,
    /// One record, header first: the parser wants it in one piece.
    record: Vec<u8>,
    lost: u64,
    malformed: u64,
}

impl Sideband {
    /// Begins to listen on these CPUs.
    pub fn open(build_ids: bool, cpus: &[u32]) -> Result<Self, KernelError> {
        let mut sideband = Self {
            build_ids,
            samplers: BTreeMap::new(),
            enabled: BTreeMap::new(),
            record: Vec::with_capacity(1 << 10),
            lost: 0,
            malformed: 0,
        };
        sideband.follow(cpus)?;
        Ok(sideband)
    }

    /// Listens on exactly these CPUs, and returns the descriptors of those that are new. Call it after
    /// [`Sideband::drain`]: what a CPU that went has left in its buffer is gone.
    pub fn follow(&mut self, cpus: &[u32]) -> Result<Vec<RawFd>, KernelError> {
        self.samplers.retain(|cpu, _| cpus.contains(cpu));
        self.enabled.retain(|cpu, _| cpus.contains(cpu));
        let mut new = Vec::new();
        for cpu in cpus {
            if self.samplers.contains_key(cpu) {
                continue;
            }
            match open(self.build_ids, *cpu) {
                Ok(sampler) => {
                    new.push(sampler.as_raw_fd());
                    self.samplers.insert(*cpu, sampler);
                }
                // It went offline again in between.
                Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
                Err(e) => return Err(failure(*cpu, e)),
            }
        }
        Ok(new)
    }

    /// The CPUs whose events have stopped since the last call: they went, and may be back already. The
    /// kernel does not revive the events of a CPU that comes back, and says nothing of it either; but they
    /// are no longer enabled.
    pub fn stopped(&mut self) -> Vec<u32> {
        let Self { samplers, enabled, .. } = self;
        let mut stopped = Vec::new();
        for (cpu, sampler) in samplers {
            let Some(now) = sampler.read_full().ok().and_then(|data| data.time_enabled()) else {
                continue;
            };
            if enabled.insert(*cpu, now) == Some(now) {
                stopped.push(*cpu);
            }
        }
        stopped
    }

    /// Descriptors that become readable when a record arrives.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        self.samplers.values().map(|s| s.as_raw_fd())
    }

    /// Hands over every record that has arrived.
    pub fn drain(&mut self, mut sink: impl FnMut(Event)) {
        let Self { samplers, record, lost, malformed, .. } = self;
        for sampler in samplers.values_mut() {
            let config = sampler.config().clone();
            while let Some(raw) = sampler.next_record() {
                let Ok(size) = u16::try_from(HEADER_LEN + raw.len()) else {
                    *malformed += 1;
                    continue;
                };
                record.clear();
                record.extend(raw.ty().to_ne_bytes());
                record.extend(raw.misc().to_ne_bytes());
                record.extend(size.to_ne_bytes());
                raw.data().iter().for_each(|part| record.extend_from_slice(part));
                match sideband_record::parse(record, &config) {
                    Ok(Some(event)) => {
                        if let Event::SidebandLost(SidebandLost { records, .. }) = event {
                            *lost = lost.saturating_add(records);
                        }
                        sink(event);
                    }
                    Ok(None) => {}
                    Err(_) => *malformed += 1,
                }
            }
        }
    }

    /// Records that a full buffer swallowed.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that could not be understood.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }
}

/// Whether mapping records can carry build IDs.
pub fn build_ids_supported() -> bool {
    builder(true).observe_self().any_cpu().build().is_ok()
}

fn open(build_ids: bool, cpu: u32) -> io::Result<Sampler> {
    builder(build_ids).any_pid().one_cpu(cpu as usize).enabled(true).build()?.sampled(BUFFER_BYTES)
}

/// The event: what it records, and how its records look.
pub fn builder(build_ids: bool) -> Builder<'static> {
    let mut builder = Builder::new(Software::DUMMY);
    builder
        .include_kernel()
        // `mmap` asks for executable mappings only, `mmap2` for the better record.
        .mmap(true)
        .mmap2(true)
        .build_id(build_ids)
        .comm(true)
        .comm_exec(true)
        .task(true)
        .sample_id_all(true)
        .sample(SampleFlag::TIME)
        .read_format(ReadFormat::TOTAL_TIME_ENABLED)
        .clockid(Clock::MONOTONIC)
        // By the first byte: a wake-up by number counts samples only, which this event has none of.
        .wakeup_watermark(1);
    builder
}

fn failure(cpu: u32, source: io::Error) -> KernelError {
    if privileges::is_refusal(&source) {
        return privileges::event_denied(format!("following the processes of CPU {cpu}"), source);
    }
    let remedy = match source.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n)",
        Some(libc::ENOMEM) => "free some memory",
        _ => "see `profiler-agent doctor`",
    };
    KernelError::PerfEvent { event: "dummy", cpu, remedy, source }
}

#[cfg(test)]
mod root_tests {
    //! On the live kernel; they fail without root.

    use std::process::Command;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use nix::sched::{CpuSet, sched_setaffinity};
    use nix::unistd::Pid;

    use super::*;
    use crate::model::event::MmapId;

    /// One of them fills the buffers of all: where another waits for a record, it waits for that one.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_all() -> Sideband {
        let cpus = super::super::system::online_cpus().unwrap();
        Sideband::open(build_ids_supported(), &cpus).expect("this test needs root")
    }

    #[test]
    fn a_process_is_known_from_its_birth_to_its_death() {
        let _alone = alone();
        let mut sideband = open_all();
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let mut events = Vec::new();
        sideband.drain(|event| events.push(event));
        events.sort_by_key(Event::time_ns);

        let own = std::process::id();
        let story: Vec<&str> = events
            .iter()
            .filter_map(|event| match event {
                Event::Fork(e) if e.pid == pid && e.parent_pid == own => Some("born"),
                Event::Comm(e) if e.pid == pid && e.exec && e.comm.starts_with(b"true\0") => {
                    Some("named")
                }
                Event::Mmap(e) if e.pid == pid && e.path.ends_with(b"/true") => Some("mapped"),
                Event::Exit(e) if e.pid == pid => Some("dead"),
                _ => None,
            })
            .collect();
        assert_eq!(story, ["born", "named", "mapped", "dead"], "{events:?}");
        assert_eq!((sideband.lost(), sideband.malformed()), (0, 0));
    }

    #[test]
    fn mappings_carry_build_ids_or_inodes() {
        let _alone = alone();
        let expect_build_id = build_ids_supported();
        let mut sideband = open_all();
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let mut ids = Vec::new();
        sideband.drain(|event| match event {
            Event::Mmap(e) if e.pid == pid && e.path.ends_with(b"/true") => ids.push(e.id),
            _ => {}
        });
        match ids.as_slice() {
            [MmapId::BuildId(id)] => assert!(expect_build_id && id.len() == 20),
            [MmapId::Inode { inode, .. }] => assert!(!expect_build_id && *inode != 0),
            other => panic!("{other:?}"),
        }
    }

    /// Runs so many programs, one after the other, all on one CPU.
    fn run_on(cpu: u32, programs: u32) {
        let mut only = CpuSet::new();
        only.set(cpu as usize).unwrap();
        let run = || {
            // The thread is this one, and its children stay where it is.
            sched_setaffinity(Pid::from_raw(0), &only).unwrap();
            (0..programs)
                .for_each(|_| assert!(Command::new("/bin/true").status().unwrap().success()));
        };
        std::thread::scope(|scope| scope.spawn(run).join().unwrap());
    }

    #[test]
    fn what_a_full_buffer_swallows_is_counted() {
        let _alone = alone();
        let cpu = super::super::system::online_cpus().unwrap()[0];
        let mut sideband = open_all();
        // Nobody reads meanwhile, and the buffer holds half of them.
        run_on(cpu, 600);
        let mut lost = 0;
        let mut count = |event| {
            if let Event::SidebandLost(loss) = event {
                lost += loss.records;
            }
        };
        sideband.drain(&mut count);
        // The kernel reports the loss on that CPU with the next record: this one, if no other process was
        // faster while there was room again.
        run_on(cpu, 1);
        sideband.drain(&mut count);
        assert!(lost > 0 && sideband.lost() >= lost, "{lost} of {}", sideband.lost());
    }

    #[test]
    fn cpus_that_go_and_come_back_are_followed() {
        let cpus = super::super::system::online_cpus().unwrap();
        let mut sideband = open_all();
        assert!(sideband.follow(&cpus).unwrap().is_empty(), "nothing is new");
        assert!(sideband.follow(&[]).unwrap().is_empty());
        assert_eq!(sideband.descriptors().count(), 0);
        assert_eq!(sideband.follow(&cpus).unwrap().len(), cpus.len());
        // The first look has nothing to compare with.
        (0..3).for_each(|_| assert!(sideband.stopped().is_empty()));
    }
}
