//! What the agent reads of itself in `/proc/self`.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// The agent's own resources. What cannot be read is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// CPU time of all its threads, those that ended included.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
}

/// Reads them now.
pub fn read() -> Own {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    // The directory that is being read is one of them.
    let files = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count().saturating_sub(1));
    Own {
        cpu: cpu(),
        resident_bytes: field(&status, "VmRSS:").saturating_mul(1024),
        open_files: files as u64,
        threads: field(&status, "Threads:"),
    }
}

/// CPU time of the process so far.
pub fn cpu() -> Duration {
    let duration = |time: TimeVal| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    };
    getrusage(UsageWho::RUSAGE_SELF)
        .map(|usage| duration(usage.user_time()) + duration(usage.system_time()))
        .unwrap_or_default()
}

fn field(status: &str, name: &str) -> u64 {
    let rest = status.lines().find_map(|line| line.strip_prefix(name));
    let number = rest.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let own = read();
        assert!(own.cpu > Duration::ZERO);
        assert!(own.resident_bytes > 1 << 20);
        assert!(own.threads >= 1);
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        let more = read();
        assert!(more.open_files >= 50, "{more:?}");
        drop(files);
    }
}
