//! Shared parts of the tests on the live kernel.
