//! `portcullis`: the sidecar and its command line.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidecar::api::listener::BindError;
use sidecar::api::token::{AdminToken, TokenError};
use sidecar::api::{Backing, Listeners, files};
use sidecar::cli::{self, Cli, Command, Exit};
use sidecar::clock::{Clock, SystemClock};
use sidecar::config::{Config, ConfigError};
use sidecar::http::HttpClient;
use sidecar::intelligence::{Intelligence, Parts, StartError};
use sidecar::orders::Trail;
use sidecar::patrol::Patrol;
use sidecar::proxies::Proxies;
use sidecar::reload::{Followers, Watch};
use sidecar::secrets::Vault;
use sidecar::store::{self, StoreError};
use sidecar::telemetry::otlp::{Export, OtlpError};
use sidecar::telemetry::sentry::{Connecting, Reports};
use sidecar::telemetry::{self, Metrics};
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Error)]
enum ServeError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the log cannot be sent to otlp.endpoint")]
    Export(#[from] OtlpError),
    #[error("signals cannot be caught")]
    Signal(#[source] std::io::Error),
}

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
    let served = serve(config, &reports).await;
    reports.flush().await;
    match served {
        Ok(()) => Exit::Good.into(),
        Err(error) => {
            cli::complain(&error);
            error.exit().into()
        }
    }
}

/// Runs the sidecar until it is told to stop.
async fn serve(path: &Path, reports: &Reports) -> Result<(), ServeError> {
    let config = Arc::new(Config::read(path)?);
    let metrics = Arc::new(Metrics::new());
    let http = HttpClient::new();
    let export = Export::open(&config.otlp, http.clone())?;
    let level = telemetry::log::start(&config.log, &metrics, reports, &export);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    files::raise_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let watch = Arc::new(Watch::new(path, Arc::clone(&config), &clock, &metrics));
    let shutdown = on_signal(&watch).map_err(ServeError::Signal)?;
    let vault = Arc::new(Vault::open(&config.store.path, &clock, &metrics));
    let secrets = Arc::new(vault.secrets(&config.secrets));
    vault.first_look().await;
    let (keeping, ended) = (Arc::clone(&vault), shutdown.clone());
    tokio::spawn(async move { ended.run_until_cancelled(keeping.keep()).await });

    let (reporting, ended) = (reports.clone(), shutdown.clone());
    let connecting = Connecting {
        config: config.sentry.clone(),
        secrets: Arc::clone(&secrets),
        http: http.clone(),
    };
    tokio::spawn(async move {
        ended
            .run_until_cancelled(reporting.connect(connecting))
            .await
    });
    let store = store::open(&config, &secrets, &clock, &metrics, &shutdown).await?;
    let token = AdminToken::prepare(&config, &secrets)?;
    let listeners = Listeners::bind(&config.listen).await?;
    listeners.log();
    http.log_routes();
    let proxies = Proxies::new(&config.envoy, http.clone(), Arc::clone(&clock));
    let proxies = Arc::new(proxies);
    let (keeping, ended) = (Arc::clone(&proxies), shutdown.clone());
    tokio::spawn(async move { ended.run_until_cancelled(keeping.keep()).await });
    let trail = Trail::open(&config.store.path, Arc::clone(&clock));
    let starting = Intelligence::start(Parts {
        config,
        store: Arc::clone(&store),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
        http,
        vault,
        shutdown: shutdown.clone(),
    });
    let keeping = Arc::clone(&store);
    let ended = shutdown.clone();
    let (counted, timed) = (Arc::clone(&metrics), Arc::clone(&clock));
    let backing = async {
        let intelligence = starting.await?;
        let patrol = Patrol {
            watch: Arc::clone(&watch),
            intelligence: Arc::clone(&intelligence),
            proxies: Arc::clone(&proxies),
            metrics: counted,
            clock: timed,
        };
        let patrolled = ended.clone();
        tokio::spawn(async move { patrolled.run_until_cancelled(patrol.run()).await });
        let followers = Followers {
            intelligence: Arc::clone(&intelligence),
            proxies: Arc::clone(&proxies),
            level: Arc::clone(&level),
        };
        let watching = Arc::clone(&watch);
        tokio::spawn(async move { ended.run_until_cancelled(watching.run(&followers)).await });
        Ok::<_, StartError>(Backing {
            intelligence,
            token,
            watch,
            store: keeping,
            proxies,
            level,
            trail,
            clock,
        })
    };
    listeners.serve(metrics, backing, shutdown).await?;

    store.flush().await?;
    tracing::info!("stopped");
    export.end().await;
    Ok(())
}

/// SIGTERM and SIGINT ask for the shut-down, SIGHUP has the configuration read again.
fn on_signal(watch: &Arc<Watch>) -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let shutdown = CancellationToken::new();
    let (told, watch) = (shutdown.clone(), Arc::clone(watch));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => tracing::info!(signal = "SIGTERM", "stopping"),
                _ = interrupt.recv() => tracing::info!(signal = "SIGINT", "stopping"),
                _ = hangup.recv() => {
                    tracing::info!(signal = "SIGHUP", "the configuration is read again");
                    watch.read_again();
                    continue;
                }
            }
            return told.cancel();
        }
    });
    Ok(shutdown)
}

impl ServeError {
    fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Token(_) | Self::Export(_) => Exit::Config,
            Self::Store(_) | Self::Bind(_) | Self::Start(_) | Self::Signal(_) => Exit::Failed,
        }
    }
}
