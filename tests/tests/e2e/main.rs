//! End to end: real Envoy, the finished plugin, the real sidecar or one made by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    reason = "a test that finds something else than expected shall panic"
)]

mod attacks;
mod authority;
mod bans;
mod blocked;
mod blocking;
mod bodies;
mod budget;
mod bytes;
mod coalescing;
mod common;
mod compose;
mod config;
mod console;
mod crowdsec;
mod database;
mod disk;
mod doctor;
mod envoy_log;
mod errors;
mod exempt;
mod failures;
mod faults;
mod history;
mod install;
mod ipv6;
mod isolation;
mod limits;
mod local_replies;
mod logs;
mod many_proxies;
mod mesh;
mod metrics;
mod monitor;
mod monitoring;
mod otlp;
mod pages;
mod plugin_file;
mod precedence;
mod provider;
mod ready;
mod redis;
mod reload;
mod reputation_api;
mod request_id;
mod restart;
mod secrets;
mod shadow;
mod snapshots;
mod sources;
mod spoofing;
mod stats_listener;
mod strangers;
mod traps;
mod unix_peer;
