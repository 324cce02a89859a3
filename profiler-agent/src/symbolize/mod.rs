//! Names for frames: which functions stand at a place in a file, in the kernel or in generated code.
//!
//! Everything read here was written by someone else, and much of it by whom the agent must not trust.
//! The rules: no file of another process is ever mapped (its owner could truncate it, and the agent
//! would die of SIGBUS); nothing is read or allocated because a header says so, but only within bounds;
//! what exceeds them is left out, counted, and said.
//!
//! | where a frame lies | who names it |
//! |---|---|
//! | a binary with debug information that fits the budget | `dwarf`: blazesym, on a sealed excerpt |
//! | any other binary | `symbol_table`: one streaming pass |
//! | the kernel, its modules, BPF programs | `kernel`: `/proc/kallsyms` |
//! | generated code | `perf_map`: one streaming pass |

mod budget;
mod debug_file;
mod debug_sections;
mod demangle;
mod dwarf;
mod dwarf_cost;
mod dwarf_scan;
mod elf;
mod excerpt;
mod jit;
mod kernel;
mod lines;
mod memory_file;
mod native;
mod notes;
mod perf_map;
mod symbol_table;
mod symbolizer;
mod text;
mod wanted;

pub use symbolizer::{Config, DEFAULT_MEMORY_BUDGET, Symbolizer};
