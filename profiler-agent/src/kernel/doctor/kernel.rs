//! What the running kernel can do, and whether a recording really works.

use std::time::{Duration, Instant};

use profiler_common::settings::TaskRegs;
use profiler_common::walk::{USER_FRAMES_BASE, USER_FRAMES_DEEP};

use super::{Check, unusable};
use crate::kernel::clock::Clock;
use crate::kernel::error::KernelError;
use crate::kernel::features::{Features, KernelVersion};
use crate::kernel::limits;
use crate::kernel::plan::Plan;
use crate::kernel::session::Session;
use crate::kernel::tracefs;
use crate::model::choice::EventChoice;

/// The oldest kernel that is tested.
const FLOOR: KernelVersion = KernelVersion(5, 10);

/// What each feature is, and what is done without it.
pub fn checks(features: &Features) -> Vec<Check> {
    vec![
        release(features),
        Check::ok("ring buffer", "there"),
        types(features),
        clock(features),
        off_cpu(features),
        sleepers(features),
        user_registers(features),
        depth(features),
        build_ids(features),
        locked_memory(features),
    ]
}

/// A recording of both kinds, as short as can be.
pub fn recording() -> Check {
    let plan = Plan { event: EventChoice::Wall, ..Plan::default() };
    match try_recording(&plan) {
        Ok(took) => Check::ok("recording", format!("works, and starts in {} ms", took.as_millis())),
        Err(error) => unusable(&error),
    }
}

fn try_recording(plan: &Plan) -> Result<Duration, KernelError> {
    let begun = Instant::now();
    let session = Session::start(plan)?;
    let took = begun.elapsed();
    session.stop().map(|_| took)
}

fn release(features: &Features) -> Check {
    if features.version >= FLOOR {
        return Check::ok("kernel", features.release.clone());
    }
    let detail = format!("{} is older than any that is tested", features.release);
    Check::degraded("kernel", detail, "use 5.10 or later")
}

fn types(features: &Features) -> Check {
    match features.layout {
        Some(_) => Check::ok("BTF", "the kernel describes its types"),
        None => Check::degraded(
            "BTF",
            "the kernel does not describe its types: fallbacks are used",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

fn clock(features: &Features) -> Check {
    let name = "sampling clock";
    match features.clock {
        Clock::Cycles => Check::ok(name, "cycles, from the hardware counters"),
        Clock::CpuClock => Check::degraded(
            name,
            "cpu-clock: no hardware counter answers, so code that runs with interrupts off is not seen",
            "on a virtual machine, enable its performance counters (vPMU)",
        ),
    }
}

fn off_cpu(features: &Features) -> Check {
    let name = "off-CPU";
    if features.btf_tracepoints {
        return Check::ok(name, "BTF tracepoints");
    }
    match tracefs::events() {
        Some(path) => Check::ok(name, format!("classic tracepoints, by {}", path.display())),
        None => Check::degraded(
            name,
            "classic tracepoints need tracefs, which is not mounted: only on-CPU works",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
    }
}

fn sleepers(features: &Features) -> Check {
    let name = "threads asleep at the start";
    if features.sleepers {
        return Check::ok(name, "with their stacks, by the task iterator");
    }
    Check::degraded(name, "from /proc, without their stacks", "use kernel 5.18 or later")
}

fn user_registers(features: &Features) -> Check {
    let name = "user stacks of threads in the kernel";
    match features.task_regs {
        TaskRegs::Helper => Check::ok(name, "by bpf_task_pt_regs"),
        TaskRegs::StackTop => Check::ok(name, "by the registers on their kernel stacks"),
        TaskRegs::Unknown => Check::degraded(
            name,
            "by the kernel's own walker: this kernel has neither bpf_task_pt_regs nor BTF",
            "use kernel 5.15 or later, or one with BTF",
        ),
    }
}

fn depth(features: &Features) -> Check {
    if features.deep_stacks {
        return Check::ok("stack depth", format!("{USER_FRAMES_DEEP} user frames"));
    }
    Check::degraded(
        "stack depth",
        format!("{USER_FRAMES_BASE} user frames"),
        format!("for {USER_FRAMES_DEEP}, use kernel 6.1 or later"),
    )
}

fn build_ids(features: &Features) -> Check {
    let name = "build IDs of mappings";
    if features.mmap_build_id {
        return Check::ok(name, "from the kernel");
    }
    Check::degraded(name, "read from the files, if they still exist", "use kernel 5.12 or later")
}

fn locked_memory(features: &Features) -> Check {
    limits::raise(features.version);
    if !limits::is_memlock_limited(features.version) {
        return Check::ok("locked memory", "no limit");
    }
    Check::degraded(
        "locked memory",
        "limited, and before kernel 5.11 BPF maps count",
        "ulimit -l unlimited, or grant CAP_SYS_RESOURCE",
    )
}
