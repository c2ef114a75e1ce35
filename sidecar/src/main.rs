//! `portcullis`: the sidecar and its command line.

mod serve;

use std::process::ExitCode;
use std::time::Duration;

use sidecar::cli::{self, Cli, Command, Exit};
use sidecar::telemetry;
use sidecar::telemetry::sentry::Reports;
use tokio::runtime::Runtime;

/// How long the system may take with what was begun on other threads, such as resolving a name.
const LEAVING: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    telemetry::panic::tell();
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            cli::complain(&error);
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(run());
    runtime.shutdown_timeout(LEAVING);
    exit
}

async fn run() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    let config = match &cli.command {
        Command::Task(task) => return cli::run(task, &cli.remote).await.into(),
        Command::Serve { config } => config,
    };
    let reports = Reports::default();
    let served = serve::serve(config, &reports).await;
    reports.flush().await;
    match served {
        Ok(()) => Exit::Good.into(),
        Err(error) => {
            cli::complain(&error);
            error.exit().into()
        }
    }
}
