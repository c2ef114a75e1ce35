//! The sidecar of Portcullis: the hyper service that Envoy and operators talk to, and the command line.
//!
//! `main.rs` is the table of contents; here are the rooms. Depends on `reputation` for the domain and
//! never on the filter.

pub mod api;
mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod doctor;
pub mod duration;
pub mod history;
pub mod http;
pub mod intelligence;
pub mod orders;
pub mod patrol;
pub mod plain_http;
pub mod proxies;
pub mod refusals;
pub mod reload;
pub mod secrets;
mod small_file;
pub mod snapshot;
pub mod store;
mod strangers;
pub mod telemetry;
mod tls;
pub mod trials;
