//! The compiled IP set.
