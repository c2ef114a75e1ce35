//! The proxy-wasm plugin: decides every request at the edge by the client's address.
//!
//! | module | owns |
//! | --- | --- |
//! | `abi` | the exports that Envoy calls, the imports, and all `unsafe` |
//! | `host` | the border as a trait, so that everything else is tested without Envoy |
//! | `vm`, `plugin` | which plugin a callback is about; what happens on a tick |
//! | `request` | the life of a request |
//! | `client`, `mode`, `cache`, `lookups`, `breaker` | its steps |
//! | `act`, `refuse`, `ready` | what is done about it, and what the client is told |
//! | `tally` | who was refused lately, for the sidecar |
//! | `snapshot` | fetching, loading and holding what is known |
//! | `neighbour` | whether the sidecar is near enough to be understood |
//! | `config`, `metrics` | what goes in from the operator, and what comes out for him |

#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "only the Wasm module has a host that calls in")
)]

#[cfg(target_arch = "wasm32")]
mod abi;
mod act;
#[cfg(test)]
mod allocations;
mod breaker;
mod cache;
mod client;
mod config;
mod exempt;
mod headers;
mod host;
mod logged;
mod lookups;
mod metrics;
mod mode;
mod neighbour;
mod plugin;
mod ready;
mod refuse;
mod request;
mod snapshot;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(feature = "timed")]
mod timed;
#[cfg(feature = "trap")]
mod trap;
mod turn;
mod verdict;
mod vm;
