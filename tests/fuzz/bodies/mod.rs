//! What the fuzz targets do with an input, for ordinary tests as well.

pub mod rows;
pub mod tables;
pub mod walk;
