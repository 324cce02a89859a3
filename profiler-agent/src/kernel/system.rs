//! Small questions to the running system: its clock, its name, its CPUs.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::error::KernelError;

/// The architecture, as `uname -m` names it.
pub const ARCH: &str = std::env::consts::ARCH;

/// CLOCK_MONOTONIC in ns: the clock of every event.
pub fn monotonic_ns() -> u64 {
    // A clock that every kernel has cannot fail to be read.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        (t.tv_sec() as u64).saturating_mul(1_000_000_000).saturating_add(t.tv_nsec() as u64)
    })
}

/// Nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// CLOCK_MONOTONIC and the time since the Unix epoch, both in ns, as close together as can be had.
pub fn clocks() -> (u64, u64) {
    let read = || {
        let (before, unix, after) = (monotonic_ns(), unix_ns(), monotonic_ns());
        (after.saturating_sub(before), before, unix)
    };
    // A reader that is interrupted in between would be off by that.
    let closest = (0..4).map(|_| read()).min_by_key(|(gap, ..)| *gap);
    closest.map_or_else(|| (monotonic_ns(), unix_ns()), |(_, monotonic, unix)| (monotonic, unix))
}

/// `uname -r`.
pub fn kernel_release() -> Result<String, KernelError> {
    read_line("/proc/sys/kernel/osrelease")
}

/// `uname -n`.
pub fn hostname() -> Result<String, KernelError> {
    read_line("/proc/sys/kernel/hostname")
}

/// Numbers of the CPUs that are online, ascending.
pub fn online_cpus() -> Result<Vec<u32>, KernelError> {
    let path = "/sys/devices/system/cpu/online";
    let list = read_line(path)?;
    parse_cpu_list(&list).ok_or_else(|| KernelError::Read {
        path: path.into(),
        source: std::io::Error::other(format!("not a list of CPUs: {list:?}")),
    })
}

/// Lets this thread run soon after it is woken, also on a machine whose CPUs are all busy: what it has to
/// do is short, and the stacks of new processes wait for it. Without the right to (`CAP_SYS_NICE`), it
/// takes its turn.
pub fn run_soon() {
    /// As `nice -n -10`.
    const NICENESS: libc::c_int = -10;
    // SAFETY: numbers only; 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if result != 0 {
        tracing::debug!("no higher priority: {}", std::io::Error::last_os_error());
    }
}

/// How many threads the system has now.
pub fn thread_count() -> Result<u32, KernelError> {
    let path = "/proc/loadavg";
    let line = read_line(path)?;
    let total = line.split(' ').nth(3).and_then(|running| running.split_once('/'));
    total.and_then(|(_, total)| total.parse().ok()).ok_or_else(|| KernelError::Read {
        path: path.into(),
        source: std::io::Error::other(format!("no number of threads in {line:?}")),
    })
}

/// How many processes the system has now.
pub fn process_count() -> Result<u32, KernelError> {
    let path = "/proc";
    let read = |source| KernelError::Read { path: path.into(), source };
    let entries = fs::read_dir(path).map_err(read)?.filter_map(Result::ok);
    let is_number = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let processes = entries.filter(|e| e.file_name().to_str().is_some_and(is_number));
    Ok(u32::try_from(processes.count()).unwrap_or(u32::MAX))
}

/// A number in a file of the kernel; `None` where there is no such file or number.
pub fn read_number<T: std::str::FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read_line(path: &str) -> Result<String, KernelError> {
    let text = fs::read_to_string(path)
        .map_err(|source| KernelError::Read { path: path.into(), source })?;
    Ok(text.trim_end().to_owned())
}

/// Parses the kernel's notation for sets of CPUs: `0-3,5`.
fn parse_cpu_list(list: &str) -> Option<Vec<u32>> {
    /// No kernel is built for more.
    const MAX_CPUS: usize = 1 << 16;
    let mut cpus = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last.checked_sub(first)? as usize >= MAX_CPUS - cpus.len() {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists() {
        for (list, expected) in [
            ("0", Some(vec![0])),
            ("0-3,5", Some(vec![0, 1, 2, 3, 5])),
            ("1,3-4", Some(vec![1, 3, 4])),
            ("3-1", None),
            ("", None),
            ("0-4294967295", None),
        ] {
            assert_eq!(parse_cpu_list(list), expected, "{list:?}");
        }
    }

    #[test]
    fn this_system_answers() {
        assert!(monotonic_ns() > 0 && unix_ns() > 0);
        assert!(!kernel_release().unwrap().is_empty() && !hostname().unwrap().is_empty());
        assert!(!online_cpus().unwrap().is_empty());
        assert!((1..=thread_count().unwrap()).contains(&process_count().unwrap()));
    }
}
