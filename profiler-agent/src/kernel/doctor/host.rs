//! What the system grants the agent: privileges, namespaces, settings.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};

use super::Check;
use crate::kernel::privileges::{CAPABILITIES, Capability, Effective};
use crate::kernel::{cgroup, clock, privileges, system};

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO` of include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// All of them.
pub fn checks(effective: Option<Effective>) -> Vec<Check> {
    let mut checks: Vec<Check> = CAPABILITIES.iter().map(|c| capability(c, effective)).collect();
    checks.extend([
        pid_namespace(),
        lockdown(),
        seccomp(),
        paranoid(effective),
        kernel_names(),
        sample_rate(),
        time_limit(),
        compiler(system::read_number("/proc/sys/net/core/bpf_jit_enable")),
        cgroups(),
        Check::ok("other profilers", "several agents may record at once: nothing is exclusive"),
    ]);
    checks
}

fn capability(capability: &Capability, effective: Option<Effective>) -> Check {
    let Capability { name, needed_for, required, .. } = *capability;
    if effective.is_some_and(|e| e.has(capability)) {
        return Check::ok(name, "granted");
    }
    let (detail, remedy) =
        (format!("not granted: cannot {needed_for}"), "run as root, or grant it");
    if required {
        Check::missing(name, detail, remedy)
    } else {
        Check::degraded(name, detail, remedy)
    }
}

/// The programs report ids of the initial namespace, `/proc` those of the agent's own.
fn pid_namespace() -> Check {
    let name = "pid namespace";
    match fs::read_link("/proc/self/ns/pid") {
        Ok(own) if own.as_os_str() == INITIAL_PID_NAMESPACE => Check::ok(name, "the host's"),
        Ok(own) => Check::missing(
            name,
            format!("{}, not the host's: process ids would not match", own.display()),
            "run the agent in the host's pid namespace (docker --pid=host, hostPID: true)",
        ),
        Err(e) => Check::missing(name, e.to_string(), "mount /proc"),
    }
}

fn lockdown() -> Check {
    let name = "kernel lockdown";
    let modes = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = modes.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    match mode.map_or("none", |(mode, _)| mode) {
        "confidentiality" => Check::missing(
            name,
            "confidentiality: BPF programs may not read memory",
            "boot with lockdown=integrity or lower",
        ),
        mode => Check::ok(name, mode),
    }
}

/// A filter need not forbid anything: whether it does, the recording tells.
fn seccomp() -> Check {
    Check::ok("seccomp", privileges::seccomp().unwrap_or_else(|| "no profile".to_owned()))
}

fn paranoid(effective: Option<Effective>) -> Check {
    let name = "kernel.perf_event_paranoid";
    let level: i32 = system::read_number(privileges::PARANOID).unwrap_or(2);
    if let Some(found) = privileges::paranoid(effective) {
        return Check::degraded(name, found, privileges::PARANOID_REMEDY);
    }
    if level < 0 || effective.is_some_and(|e| e.missing().is_empty()) {
        return Check::ok(name, format!("{level}, which CAP_PERFMON overrides"));
    }
    Check::missing(name, level.to_string(), "grant CAP_PERFMON, or set it to -1")
}

/// Whether kernel addresses are shown to the agent, which is what naming them needs.
fn kernel_names() -> Check {
    let name = "kernel symbols";
    if shows_addresses() {
        return Check::ok(name, "/proc/kallsyms shows addresses");
    }
    let restrict: u32 = system::read_number("/proc/sys/kernel/kptr_restrict").unwrap_or(0);
    Check::degraded(
        name,
        format!(
            "/proc/kallsyms shows no addresses (kernel.kptr_restrict is {restrict}): kernel frames have no names"
        ),
        if restrict >= 2 { "sysctl kernel.kptr_restrict=1" } else { "grant CAP_SYSLOG" },
    )
}

/// The first symbols may really be at address 0, and the file is long: it is read up to the first that
/// is not.
fn shows_addresses() -> bool {
    let Ok(symbols) = File::open("/proc/kallsyms") else { return false };
    let mut lines = BufReader::new(symbols).lines().map_while(Result::ok);
    lines.any(|line| !line.starts_with("0000000000000000 "))
}

fn sample_rate() -> Check {
    let name = "kernel.perf_event_max_sample_rate";
    match system::read_number::<u32>(clock::MAX_SAMPLE_RATE) {
        Some(rate) if rate < 10_000 => Check::degraded(
            name,
            format!("{rate}: higher frequencies are refused"),
            "sysctl kernel.perf_event_max_sample_rate=100000",
        ),
        Some(rate) => Check::ok(name, rate.to_string()),
        None => Check::missing(name, "this kernel has no perf events", "CONFIG_PERF_EVENTS=y"),
    }
}

/// The kernel lowers the sample rate when sampling takes more than this share of a CPU.
fn time_limit() -> Check {
    let name = "kernel.perf_cpu_time_max_percent";
    match system::read_number::<u32>("/proc/sys/kernel/perf_cpu_time_max_percent") {
        Some(percent @ 1..5) => Check::degraded(
            name,
            format!("{percent} %: the kernel may lower the sample rate early"),
            "sysctl kernel.perf_cpu_time_max_percent=25",
        ),
        Some(percent) => Check::ok(name, format!("{percent} %")),
        None => Check::ok(name, "no limit"),
    }
}

/// Whether BPF programs become machine code. A kernel that always compiles refuses 0; only root may
/// read the setting, and only in the host's network namespace.
fn compiler(level: Option<u32>) -> Check {
    let name = "net.core.bpf_jit_enable";
    match level {
        Some(0) => Check::degraded(
            name,
            "0: BPF programs are interpreted, and each sample and switch costs many times more",
            "sysctl net.core.bpf_jit_enable=1",
        ),
        Some(level) => Check::ok(name, format!("{level}: BPF programs are compiled")),
        None => Check::ok(name, "not shown here"),
    }
}

fn cgroups() -> Check {
    let name = "cgroup v2";
    match cgroup::mount_point().map(|path| (cgroup::filter(&path), path)) {
        Some((Ok(_), path)) => Check::ok(name, format!("mounted at {}", path.display())),
        Some((Err(e), _)) => Check::degraded(name, e.to_string(), "only needed for --cgroup"),
        None => Check::degraded(
            name,
            "not mounted: --cgroup has nothing to filter by",
            "mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn interpreted_programs_are_told() {
        let told = compiler(Some(0));
        assert_eq!(told.status, Status::Degraded);
        assert!(told.remedy.contains("bpf_jit_enable=1"), "{told:?}");
        for level in [Some(1), Some(2), None] {
            assert_eq!(compiler(level).status, Status::Ok);
        }
    }
}
