//! What people wrote down: file, environment and flags, checked, as one struct for each stage.
