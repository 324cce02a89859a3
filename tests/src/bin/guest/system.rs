//! What an init has to do for its machine.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

/// File systems that the agent and the programs under test expect. Those marked optional are
/// missing where the kernel was built without them.
const MOUNTS: &[(&str, &str, bool)] = &[
    ("proc", "/proc", true),
    ("sysfs", "/sys", true),
    ("devtmpfs", "/dev", true),
    ("tmpfs", "/tmp", true),
    ("cgroup2", "/sys/fs/cgroup", true),
    ("tracefs", "/sys/kernel/tracing", false),
    ("debugfs", "/sys/kernel/debug", false),
    ("bpf", "/sys/fs/bpf", false),
];

/// Mounts them all.
pub fn mount_all() -> Result<()> {
    for &(kind, place, needed) in MOUNTS {
        if !Path::new(place).is_dir() && !needed {
            continue;
        }
        let none: Option<&str> = None;
        let mounted = mount(Some(kind), place, Some(kind), MsFlags::empty(), none);
        if needed {
            mounted.with_context(|| format!("cannot mount {kind} on {place}"))?;
        }
    }
    Ok(())
}

/// Compiles BPF programs, as hosts that run any do: the 5.10 of arm64 is built to interpret them, and
/// its interpreter refuses what the compiler takes.
pub fn compile_bpf() {
    // Where the kernel always compiles, there is nothing to set.
    let _ = fs::write("/proc/sys/net/core/bpf_jit_enable", "1");
}

/// As `uname -r` says.
pub fn kernel_release() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// Ends the machine.
pub fn power_off() {
    let _ = std::io::stdout().flush();
    let Err(error) = reboot(RebootMode::RB_POWER_OFF);
    println!("FAIL power-off: {error}");
}
