//! The command line.
pub mod client;
