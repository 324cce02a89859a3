//! A writer that is killed at any moment.
