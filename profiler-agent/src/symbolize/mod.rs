//! Names for frames: which functions stand at a place in a file, in the kernel or in generated code.
//!
//! Everything read here was written by someone else, and much of it by whom the agent must not trust.
//! The rules: no file of another process is ever mapped (its owner could truncate it, and the agent
//! would die of SIGBUS); nothing is read or allocated because a header says so, but only within bounds;
//! what exceeds them is left out, counted, and said.
//!
//! | where a frame lies | who names it |
//! |---|---|
//! | a binary | `symbol_table`: one streaming pass; lines and inlined functions by `dwarf`: blazesym, on a sealed excerpt, within a `budget`; stubs by `plt` |
//! | the kernel, its modules, BPF programs | `kernel`: `/proc/kallsyms` in a compact table |
//! | generated code | `perf_map`: one streaming pass |
//!
//! Not read, so that their lines are missing (the functions still have their names): split debug
//! information (`.dwo`, `.dwp`), what `dwz` moved to a file shared by several (`.gnu_debugaltlink`), and
//! the packing of before 2016 (`.zdebug_*`).

mod budget;
pub mod debug_file;
mod debug_sections;
mod demangle;
mod dwarf;
mod dwarf_cost;
mod dwarf_scan;
mod elf;
mod excerpt;
pub use crate::model::fence;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod jit;
mod kernel;
mod lines;
mod memory_file;
mod native;
mod notes;
mod perf_map;
mod plt;
mod symbol_table;
mod symbolizer;
mod text;
mod wanted;

pub use symbolizer::{Config, DEFAULT_MEMORY_BUDGET, Symbolizer};
