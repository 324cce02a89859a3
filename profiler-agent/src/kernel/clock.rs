//! The sampling clock: one perf event per online CPU that runs the BPF program.
//!
//! Opened here and not by aya, which has no way to leave idle CPUs out.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::programs::ProgramFd;
use perf_event::events::{Hardware, Software};
use perf_event::{Builder, Counter};

use super::error::KernelError;
use super::{privileges, system};
use crate::model::rates::period_of;

/// `kernel.perf_event_max_sample_rate`: the kernel refuses more, and lowers it by itself when sampling
/// takes too much time.
pub const MAX_SAMPLE_RATE: &str = "/proc/sys/kernel/perf_event_max_sample_rate";

/// What ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The processor's cycle counter, in frequency mode.
    Cycles,
    /// The kernel's high-resolution timer, where no counter answers (many virtual machines).
    CpuClock,
}

impl Clock {
    /// The best clock that answers on the first CPU.
    pub fn probe(allow_hardware: bool) -> Result<Self, KernelError> {
        let cpu = system::online_cpus()?.first().copied().unwrap_or(0);
        if allow_hardware && open(Self::Cycles, 1, cpu).is_ok() {
            return Ok(Self::Cycles);
        }
        match open(Self::CpuClock, 1, cpu) {
            Ok(_) => Ok(Self::CpuClock),
            Err(e) => Err(failure(Self::CpuClock, cpu, e)),
        }
    }

    /// The event's name as perf has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::CpuClock => "cpu-clock",
        }
    }
}

/// The running clock. Dropping it stops it.
pub struct Sampling {
    clock: Clock,
    frequency: u32,
    program: ProgramFd,
    counters: BTreeMap<u32, Counter>,
}

impl Sampling {
    /// Starts sampling on every CPU that is online.
    pub fn start(
        clock: Clock,
        frequency: u32,
        program: ProgramFd,
        cpus: &[u32],
    ) -> Result<Self, KernelError> {
        if let Some(limit) = system::read_number(MAX_SAMPLE_RATE).filter(|l| frequency > *l) {
            return Err(KernelError::FrequencyLimit { frequency, limit });
        }
        let mut sampling = Self { clock, frequency, program, counters: BTreeMap::new() };
        sampling.follow(cpus)?;
        Ok(sampling)
    }

    /// Samples on exactly these CPUs: those that came are added, those that went are let go, since the
    /// kernel does not revive the events of a CPU that comes back.
    pub fn follow(&mut self, cpus: &[u32]) -> Result<(), KernelError> {
        self.counters.retain(|cpu, _| cpus.contains(cpu));
        for cpu in cpus {
            if self.counters.contains_key(cpu) {
                continue;
            }
            match self.open(*cpu) {
                Ok(counter) => drop(self.counters.insert(*cpu, counter)),
                // It went offline again in between.
                Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
                Err(e) => return Err(failure(self.clock, *cpu, e)),
            }
        }
        Ok(())
    }

    /// Samples so often from now on. A clock that cannot be set is opened anew.
    pub fn set_frequency(&mut self, frequency: u32) -> Result<(), KernelError> {
        let cpus: Vec<u32> = self.counters.keys().copied().collect();
        let before = std::mem::replace(&mut self.frequency, frequency);
        for cpu in cpus {
            let Some(counter) = self.counters.get(&cpu) else { continue };
            if set_frequency(counter, self.clock, frequency).is_ok() {
                continue;
            }
            match self.open(cpu) {
                Ok(counter) => drop(self.counters.insert(cpu, counter)),
                Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
                Err(e) => {
                    self.frequency = before;
                    return Err(failure(self.clock, cpu, e));
                }
            }
        }
        Ok(())
    }

    fn open(&self, cpu: u32) -> io::Result<Counter> {
        let mut counter = open(self.clock, self.frequency, cpu)?;
        counter.set_bpf(self.program.as_fd().as_raw_fd())?;
        counter.enable()?;
        Ok(counter)
    }
}

fn open(clock: Clock, frequency: u32, cpu: u32) -> io::Result<Counter> {
    let mut builder = match clock {
        Clock::Cycles => Builder::new(Hardware::CPU_CYCLES),
        Clock::CpuClock => Builder::new(Software::CPU_CLOCK),
    };
    builder
        .any_pid()
        .one_cpu(cpu as usize)
        .include_kernel()
        .exclude_idle(true)
        .sample_frequency(frequency.into())
        .build()
}

/// Changes how often an event hits. The software clock has turned its frequency into a period when it was
/// opened (`perf_swevent_init_hrtimer` of kernel/events/core.c), and takes a period.
fn set_frequency(counter: &Counter, clock: Clock, frequency: u32) -> io::Result<()> {
    /// `_IOW('$', 4, __u64)` (include/uapi/linux/perf_event.h).
    const PERF_EVENT_IOC_PERIOD: libc::Ioctl = 0x4008_2404;
    let value: u64 = match clock {
        Clock::Cycles => frequency.into(),
        Clock::CpuClock => period_of(frequency),
    };
    // SAFETY: the kernel reads one u64, which lives until the call returns.
    let result =
        unsafe { libc::ioctl(counter.as_raw_fd(), PERF_EVENT_IOC_PERIOD, &raw const value) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn failure(clock: Clock, cpu: u32, source: io::Error) -> KernelError {
    if privileges::is_refusal(&source) {
        let action = format!("opening the perf event {} on CPU {cpu}", clock.name());
        return privileges::event_denied(action, source);
    }
    let remedy = match source.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n)",
        Some(libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV) => {
            "this kernel has no such event; see `profiler-agent doctor`"
        }
        _ => "see `profiler-agent doctor`",
    };
    KernelError::PerfEvent { event: clock.name(), cpu, remedy, source }
}
