//! The agent's own resource limits, raised as far as they go before anything is opened.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::features::KernelVersion;

/// From this version on, BPF memory is charged to the memory cgroup and no more to a limit of locked
/// memory.
const MEMCG_ACCOUNTING: KernelVersion = KernelVersion(5, 11);

/// Raises the limits that a recording runs into. What is refused is not an error yet: the small default
/// may do, and if it does not, the failing call says so.
pub fn raise(version: KernelVersion) {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Two descriptors per CPU, and one for every binary that is held open.
        log_refusal("open files", setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    }
    if is_memlock_limited(version) {
        let unlimited = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
        log_refusal("locked memory", unlimited);
    }
}

/// Whether BPF maps count against a limit of locked memory that is set.
pub fn is_memlock_limited(version: KernelVersion) -> bool {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft);
    version < MEMCG_ACCOUNTING && limit != RLIM_INFINITY
}

fn log_refusal(what: &str, result: nix::Result<()>) {
    if let Err(error) = result {
        tracing::debug!("the limit of {what} could not be raised: {error}");
    }
}
