//! The flight recorder: finished windows on disk, bounded by size and age.
