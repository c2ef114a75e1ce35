//! The domain of Portcullis: what an address is, who may say what about it, and what follows.
//!
//! Owns addresses and CIDRs, decisions, indicators and scores, policy, verdicts, the compiled IP set
//! with its file format, and what filter and sidecar say to each other. Owns no clock, no I/O and no
//! SDK: time is passed in, bytes are passed in, and it builds for the host and for Wasm alike.

pub mod address;
pub mod cidr;
pub mod decay;
pub mod decision;
pub mod digest;
mod embedding;
pub mod json;
pub mod lookup;
pub mod manifest;
pub mod mode;
pub mod policy;
pub mod precedence;
pub mod refusals;
pub mod score;
pub mod set;
pub mod special;
pub mod time;
pub mod verdict;
pub mod wire;

pub use address::{AddressError, ClientAddress};
pub use cidr::{Cidr, CidrError};
pub use decision::{Decision, DecisionId, DecisionKind};
pub use policy::{Action, Band, Policy};
pub use precedence::Rank;
pub use refusals::{RefusalReport, Refused};
pub use time::UnixSeconds;
pub use verdict::{Shadow, Verdict};
