//! The test kit: starts the real parts (Envoy, the sidecar, Redis, PostgreSQL, CrowdSec) and stand-ins for all others (upstream,
//! AbuseIPDB and the other providers, a sidecar that misbehaves on command), speaks raw HTTP to them and waits for events.
//!
//! Used by the end-to-end tests beside it, by `cargo xtask demo` and by the benchmarks. Everything that
//! is started ends when its handle is dropped.

pub mod abuseipdb;
pub mod alertmanager;
pub mod browser;
pub mod child;
pub mod client;
pub mod collector;
pub mod config;
pub mod crowdsec;
pub mod envoy;
pub mod error;
pub mod forward_proxy;
pub mod inbox;
pub mod mmdb;
pub mod moto;
pub mod pages;
pub mod parts;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod prometheus_server;
pub mod raw_proxy;
pub mod raw_sidecar;
pub mod redis;
pub mod relay;
pub mod replay;
pub mod sentry;
pub mod serve;
pub mod shell;
pub mod sidecar;
pub mod snapshot;
pub mod upstream;
pub mod wait;
pub mod workers;

pub use alertmanager::Alertmanager;
pub use browser::Browser;
pub use client::{Connection, Request, Response};
pub use collector::Collector;
pub use crowdsec::{CrowdSec, CrowdSecTls};
pub use envoy::Envoy;
pub use error::KitError;
pub use forward_proxy::ForwardProxy;
pub use moto::Moto;
pub use postgres::Postgres;
pub use prometheus_server::PrometheusServer;
pub use raw_proxy::RawProxy;
pub use raw_sidecar::RawSidecar;
pub use redis::Redis;
pub use relay::Relay;
pub use sentry::Sentry;
pub use shell::Shell;
pub use sidecar::Sidecar;
pub use upstream::Upstream;
pub use wait::{eventually, eventually_async};
pub use workers::Workers;
