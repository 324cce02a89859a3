//! The agent's own numbers and logs.
