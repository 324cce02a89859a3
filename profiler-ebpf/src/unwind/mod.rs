//! One step of a walk, for each kind of code.

mod call_site;
pub mod frame_pointer;
pub mod native;
