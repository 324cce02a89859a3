//! How the C library's allocator behaves: a profiler that runs beside others must give memory back.
//!
//! That of glibc must be told to. That of musl, which a static agent has, knows one arena and gives back by itself.

/// Free memory at the top of the heap beyond which it is given back, bytes.
#[cfg(target_env = "gnu")]
const TRIM_THRESHOLD: libc::c_int = 1 << 20;

/// Blocks from this size on get a mapping of their own, which goes back when they are freed, bytes.
/// Left alone, glibc would raise it to the largest block that was ever freed.
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD: libc::c_int = 256 << 10;

/// One arena instead of eight per CPU, and free memory goes back to the system at once. Symbolization
/// takes and frees large blocks, on a thread of its own: without this, the agent stays at half as much
/// again as it needs. To be called before the first thread starts.
pub fn prefer_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two integers, and no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Gives all free memory back to the system, also what lies between blocks in use: after work that took much,
/// and is not done often. It walks through what is free, and the next one to need it gets it page by page.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, so it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
