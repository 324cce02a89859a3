//! What the kernel side counts of itself, per CPU: the map `COUNTERS`, indexed by [`Counter`].

use crate::wire_enum;

wire_enum! {
    /// One per-CPU counter. Nothing that the kernel side turns away goes without one.
    Counter {
        /// Samples that were taken and sent.
        Samples = 0, "samples";
        /// Samples lost because the ring buffer was full.
        SamplesLost = 1, "samples_lost_ring_full";
        /// Blocks whose stack was sent.
        Blocks = 2, "blocks";
        /// Blocks whose stack was lost because the ring buffer was full; their time is carried by the thread.
        BlocksLost = 3, "blocks_lost_ring_full";
        /// Resume records lost because the ring buffer was full; their time is carried by the thread.
        ResumesLost = 4, "resumes_lost_ring_full";
        /// Blocks without a stack because of the rate limit; their time is carried by the thread.
        BlocksSkipped = 5, "blocks_skipped_rate_limit";
        /// Blocks shorter than the minimum.
        BlocksShort = 6, "blocks_shorter_than_minimum";
        /// Nanoseconds of the blocks shorter than the minimum.
        BlocksShortNs = 7, "blocks_shorter_than_minimum_ns";
        /// Blocks not followed because the thread table was full.
        ThreadsFull = 8, "blocks_lost_thread_table_full";
        /// Children not followed because the table of wanted processes was full.
        TargetsFull = 9, "processes_lost_target_table_full";
        /// Samples or switches of threads that the filter did not want.
        Filtered = 10, "filtered";
        /// New processes whose first stacks cannot be unwound, since the table of processes was full.
        ProcessesFull = 11, "processes_lost_mapping_table_full";
        /// Blocks whose thread carries their time although their stack was sent: they were too short for a
        /// record of their own.
        BlocksCarried = 12, "blocks_carried";
    }
}

/// How many counters there are.
pub const COUNTERS: u32 = 13;

const _: () = assert!(Counter::ALL.len() == COUNTERS as usize);
