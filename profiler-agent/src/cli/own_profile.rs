//! The agent profiled by itself through signals (the `pprof` crate): what `/debug/pprof/self?by=signal`
//! answers with. It needs no BPF, so it also works where what is to be found out is why BPF does not.

use std::time::Duration;

use anyhow::Context as _;
use profiler_proto::pprof::encode_gz;

use crate::kernel::allocator;

/// Samples per second of CPU time. A prime, so that it does not beat with work that comes in rounds.
const FREQUENCY: i32 = 97;

/// Code that must not be interrupted by a walk of the stack.
const NOT_WALKED: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Profiles this process for a while. The names are found at the end, from the debug information of
/// the agent's own file: that takes seconds and much memory, which is given back afterwards.
///
/// # Errors
/// Where the timer cannot be set, or somebody profiles already.
pub async fn by_signal(length: Duration) -> anyhow::Result<Vec<u8>> {
    let guard = pprof::ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        .blocklist(&NOT_WALKED)
        .build()
        .context("cannot profile by signals")?;
    tokio::time::sleep(length).await;
    let named = tokio::task::spawn_blocking(move || {
        let report = guard.report().build().context("cannot name the frames")?;
        drop(guard);
        let profile = report.pprof().context("cannot make a profile of it")?;
        let packed = encode_gz(&profile)?;
        // The crate's symbolizer would keep all of the debug information for the next time.
        backtrace::clear_symbol_cache();
        allocator::give_back();
        anyhow::Ok(packed)
    });
    named.await?
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use profiler_proto::pprof::decode;

    use super::*;
    use crate::telemetry::own;

    #[inline(never)]
    fn work_that_is_to_be_found(stop: &AtomicBool) -> u64 {
        let mut n = 1u64;
        while !stop.load(Ordering::Relaxed) {
            n = std::hint::black_box(n.wrapping_mul(3));
        }
        n
    }

    #[test]
    fn the_process_finds_its_own_work_and_gives_the_memory_back() {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = std::thread::spawn({
            let stop = stop.clone();
            move || work_that_is_to_be_found(&stop)
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let before = own::read().resident_bytes;
        let profile = runtime.block_on(by_signal(Duration::from_secs(1))).unwrap();
        let after = own::read().resident_bytes;
        eprintln!("resident before {} MiB, after {} MiB", before >> 20, after >> 20);
        stop.store(true, Ordering::Relaxed);
        worker.join().unwrap();
        let profile = decode(&profile).unwrap();
        let found = profile.string_table.iter().any(|s| s.contains("work_that_is_to_be_found"));
        assert!(found, "{:?}", profile.string_table);
    }
}
