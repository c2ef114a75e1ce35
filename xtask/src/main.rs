//! `cargo xtask`: what a developer runs. A table of contents; each command lives in its own module.

mod audit;
mod bench;
mod chromium;
mod cli;
mod collector;
mod compose;
mod debian;
mod demo;
mod engine;
mod envoy;
mod error;
mod fetched;
mod filter;
mod finish;
mod helm;
mod kubectl;
mod load;
mod manifests;
mod matrix;
mod moto;
mod package;
mod pin;
mod postgres;
mod redis;
mod release;
mod run;
mod say;
mod sidecar;
mod soak;
mod system;
mod tests;
mod toolchain;
mod upgrade;
mod wheel;
mod workflows;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failure(&error);
            ExitCode::FAILURE
        }
    }
}
