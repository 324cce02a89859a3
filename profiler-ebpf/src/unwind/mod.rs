//! One step of a walk, for each kind of code.

mod call_site;
pub mod native;
