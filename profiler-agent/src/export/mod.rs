//! Sinks: what ships finished windows to backends, and to files.
