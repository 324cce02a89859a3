//! Splitting, by windows that are made for it.
