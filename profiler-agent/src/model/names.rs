//! What symbolization found: for each frame, the functions that stand at it.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

use super::frame::FrameKey;

/// One function at a frame: the function itself, or one that the compiler inlined there.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NamedLine {
    /// Name for people: demangled where it was mangled.
    pub function: Arc<str>,
    /// Name in the symbol table; equal to `function` where nothing was mangled.
    pub system_name: Arc<str>,
    /// Source file, empty where unknown.
    pub file: Arc<str>,
    /// Line in that file, 0 where unknown.
    pub line: u32,
}

/// The names of one frame, innermost (most inlined) first; empty where nothing was found.
pub type FrameNames = Arc<[NamedLine]>;

/// Names by frame. A frame that is not in it, or has no lines, has no name.
pub type Names = HashMap<FrameKey, FrameNames, RandomState>;
