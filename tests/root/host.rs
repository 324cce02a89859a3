//! The right to use the whole host, and facts about it.

use std::sync::{Mutex, MutexGuard, PoisonError};

static HOST: Mutex<()> = Mutex::new(());

/// Waits until no other test runs. Fails without root.
pub fn claim() -> MutexGuard<'static, ()> {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test loads BPF programs and needs root: run `sudo -E cargo xtask test`"
    );
    // A test that failed has let go of the host too.
    HOST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where classic tracepoints are told of.
const TRACEFS: &str = "/sys/kernel/tracing";

/// Tracefs, for as long as a test needs it: many hosts have not mounted it.
pub struct Tracefs {
    mounted: bool,
}

/// Mounts tracefs where it is not mounted.
pub fn tracefs() -> Tracefs {
    let mounted = !std::path::Path::new(TRACEFS).join("events").is_dir();
    if mounted {
        let (kind, none) = (Some("tracefs"), None::<&str>);
        nix::mount::mount(kind, TRACEFS, kind, nix::mount::MsFlags::empty(), none).unwrap();
    }
    Tracefs { mounted }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.mounted {
            // A recording that still ends may hold it: it goes with the last user.
            let _ = nix::mount::umount2(TRACEFS, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// CPU time of a process with one thread since it began, as the scheduler tells, ns.
pub fn cpu_until_now(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// CPUs that are online.
pub fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64)
}

/// Fails unless two numbers differ by no more than a share of the second.
#[track_caller]
pub fn assert_within(what: &str, found: u64, truth: u64, share: f64) {
    let (found, truth) = (found as f64, truth as f64);
    let off = (found - truth) / truth;
    assert!(
        off.abs() <= share,
        "{what}: {found} instead of {truth}, off by {:+.2} % where {:.1} % are allowed",
        off * 100.0,
        share * 100.0
    );
    println!("{what}: {found} instead of {truth}, off by {:+.2} %", off * 100.0);
}
