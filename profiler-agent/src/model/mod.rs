//! The vocabulary that the stages share: what a sample, a frame, a file and a name are. No logic.

pub mod choice;
pub mod conventions;
pub mod event;
pub mod fence;
pub mod finished;
pub mod frame;
pub mod hottest;
pub mod losses;
pub mod names;
pub mod observation;
pub mod query;
pub mod rates;
pub mod space;
pub mod tables;
