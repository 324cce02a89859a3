//! The agent's own capabilities, and what to say when the kernel refuses something for lack of one.

use std::io;

use super::error::KernelError;
use super::system;

/// A capability that the agent can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name in capabilities(7).
    pub name: &'static str,
    /// Its bit (include/uapi/linux/capability.h).
    bit: u32,
    /// What does not work without it.
    pub needed_for: &'static str,
    /// Nothing can be recorded without it.
    pub required: bool,
}

const fn capability(
    name: &'static str,
    bit: u32,
    required: bool,
    needed_for: &'static str,
) -> Capability {
    Capability { name, bit, needed_for, required }
}

/// Every capability that makes a difference, the required ones first.
pub const CAPABILITIES: &[Capability] = &[
    capability("CAP_BPF", 39, true, "load the BPF programs"),
    capability("CAP_PERFMON", 38, true, "sample other processes, read kernel stacks"),
    capability("CAP_SYS_PTRACE", 19, false, "read the mappings of processes of other users"),
    capability("CAP_DAC_READ_SEARCH", 2, false, "read binaries that only their owner may read"),
    capability(
        "CAP_CHECKPOINT_RESTORE",
        40,
        false,
        "open mapped files through /proc/PID/map_files",
    ),
    capability(
        "CAP_SYSLOG",
        34,
        false,
        "name kernel functions, unless kernel.kptr_restrict is 0 and kernel.perf_event_paranoid is at most 1",
    ),
];

/// `CAP_SYS_ADMIN`, which stands in for the first two and the checkpoint one.
const SYS_ADMIN: u32 = 21;
const SYS_ADMIN_COVERS: &[u32] = &[39, 38, 40];

/// The capabilities that are in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective(u64);

impl Effective {
    /// Those of the agent.
    pub fn of_self() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        Self::parse(&status).ok_or_else(|| io::Error::other("/proc/self/status shows no CapEff"))
    }

    fn parse(status: &str) -> Option<Self> {
        let set = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
        u64::from_str_radix(set.trim(), 16).ok().map(Self)
    }

    /// Whether a capability, or one that stands in for it, is in effect.
    pub fn has(self, capability: &Capability) -> bool {
        let set = |bit: u32| self.0 & 1 << bit != 0;
        set(capability.bit) || set(SYS_ADMIN) && SYS_ADMIN_COVERS.contains(&capability.bit)
    }

    /// Names of the required capabilities that are missing.
    pub fn missing(self) -> Vec<&'static str> {
        CAPABILITIES.iter().filter(|c| c.required && !self.has(c)).map(|c| c.name).collect()
    }
}

/// The error for an action of BPF that the kernel refused.
pub fn denied(action: impl Into<String>, source: io::Error) -> KernelError {
    KernelError::Denied { action: action.into(), remedy: remedy(|_| None), source }
}

/// The error for a perf event that the kernel refused to open.
pub fn event_denied(action: impl Into<String>, source: io::Error) -> KernelError {
    let remedy = remedy(|effective| Some(format!("{}: {PARANOID_REMEDY}", paranoid(effective)?)));
    KernelError::Denied { action: action.into(), remedy, source }
}

/// Whether an error means a lack of privileges.
pub fn is_refusal(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// What may be done after the kernel refused something; `also` is a cause of its own kind.
fn remedy(also: impl Fn(Option<Effective>) -> Option<String>) -> String {
    let effective = Effective::of_self().ok();
    let missing = effective.map(Effective::missing).unwrap_or_default();
    if !missing.is_empty() {
        return format!(
            "{} missing: run as root, or grant the capabilities",
            missing.join(" and ")
        );
    }
    let causes: Vec<String> = [seccomp(), also(effective)].into_iter().flatten().collect();
    let rest = "a security module or kernel lockdown forbids it: see `profiler-agent doctor`";
    if causes.is_empty() {
        return format!("the capabilities are there, so {rest}");
    }
    format!("the capabilities are there, but {}; or else {rest}", causes.join(", and "))
}

/// Where a seccomp filter is in force: what it must allow.
pub fn seccomp() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    has_filter(&status).then(|| {
        "a seccomp profile is in force, which must allow bpf and perf_event_open (in Kubernetes \
         securityContext.seccompProfile, for Docker and podman --security-opt seccomp=FILE)"
            .to_owned()
    })
}

/// Whether the mode in `/proc/PID/status` is that of a filter (proc_pid_status(5)).
fn has_filter(status: &str) -> bool {
    status.lines().filter_map(|line| line.strip_prefix("Seccomp:")).any(|mode| mode.trim() == "2")
}

/// Where `kernel.perf_event_paranoid` is above what the kernel itself knows: what that may mean. From 3 on, the kernels
/// of Debian and Ubuntu refuse perf events to whoever has no CAP_SYS_ADMIN, CAP_PERFMON or not.
pub fn paranoid(effective: Option<Effective>) -> Option<String> {
    let level: i32 = system::read_number(PARANOID)?;
    let is_admin = effective.is_some_and(|e| e.0 & 1 << SYS_ADMIN != 0);
    (level > 2 && !is_admin).then(|| {
        format!(
            "kernel.perf_event_paranoid is {level}, by which Debian and Ubuntu refuse perf events even with \
             CAP_PERFMON"
        )
    })
}

/// The setting that says who may open perf events.
pub const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";

/// What to do where [`paranoid`] finds something.
pub const PARANOID_REMEDY: &str = "sysctl kernel.perf_event_paranoid=2, or grant CAP_SYS_ADMIN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let missing = |set: &str| {
            Effective::parse(&format!("Name:\tx\nCapEff:\t{set}\n")).map(Effective::missing)
        };
        assert_eq!(missing("0000000000000000"), Some(vec!["CAP_BPF", "CAP_PERFMON"]));
        assert_eq!(missing("000000c000000000"), Some(vec![]));
        assert_eq!(missing("0000008000000000"), Some(vec!["CAP_PERFMON"]));
        assert_eq!(missing("0000000000200000"), Some(vec![]), "CAP_SYS_ADMIN stands in");
        assert_eq!(missing("zz"), None);
    }

    #[test]
    fn a_filter_is_mode_2() {
        for (status, want) in [
            ("NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n", true),
            ("Seccomp:\t0\nSeccomp_filters:\t2\n", false),
            ("Name:\tSeccomp:\t2\n", false),
            ("", false),
        ] {
            assert_eq!(has_filter(status), want, "{status:?}");
        }
    }
}
