//! Puts the sidecar together, runs it until it is told to stop, and takes it down in order.

use std::path::Path;
use std::sync::Arc;

use sidecar::api::listener::BindError;
use sidecar::api::token::{AdminToken, TokenError};
use sidecar::api::{Backing, Listeners, files};
use sidecar::cli::Exit;
use sidecar::clock::{Clock, SystemClock};
use sidecar::config::{Config, ConfigError};
use sidecar::history::History;
use sidecar::http::HttpClient;
use sidecar::intelligence::{Intelligence, Parts, StartError};
use sidecar::orders::Trail;
use sidecar::patrol::Patrol;
use sidecar::proxies::Proxies;
use sidecar::reload::{Followers, Watch};
use sidecar::secrets::{Secrets, Vault};
use sidecar::store::{self, Store, StoreError};
use sidecar::telemetry::level::Level;
use sidecar::telemetry::otlp::{Export, OtlpError};
use sidecar::telemetry::sentry::{Connecting, Reports};
use sidecar::telemetry::{self, Metrics};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Error)]
pub enum ServeError {
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

/// What everything else rests on.
struct Ground {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    http: HttpClient,
    level: Arc<Level>,
    clock: Arc<dyn Clock>,
    watch: Arc<Watch>,
    shutdown: CancellationToken,
}

/// Runs the sidecar until it is told to stop.
pub async fn serve(path: &Path, reports: &Reports) -> Result<(), ServeError> {
    let config = Arc::new(Config::read(path)?);
    let metrics = Arc::new(Metrics::new());
    let http = HttpClient::new();
    let export = Export::open(&config.otlp, http.clone())?;
    let level = telemetry::log::start(&config.log, &metrics, reports, &export);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), config = %path.display(), "starting");
    files::raise_limit();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let watch = Arc::new(Watch::new(path, Arc::clone(&config), &clock, &metrics));
    let ground = Ground {
        shutdown: on_signal(&watch).map_err(ServeError::Signal)?,
        config,
        metrics,
        http,
        level,
        clock,
        watch,
    };
    let (vault, secrets) = ground.open_secrets(reports).await;
    let store = ground.open_store(&secrets).await?;
    let token = AdminToken::prepare(&ground.config, &secrets)?;
    let listeners = Listeners::bind(&ground.config.listen).await?;
    listeners.log();
    ground.http.log_routes();
    let (metrics, shutdown) = (Arc::clone(&ground.metrics), ground.shutdown.clone());
    let history = History::new(Arc::clone(&ground.clock), Arc::clone(&metrics));
    let history = Arc::new(history);
    let backing = ground.back(vault, token, Arc::clone(&store), Arc::clone(&history));
    listeners.serve(metrics, backing, shutdown).await?;

    history.close().await;
    store.flush().await?;
    tracing::info!("stopped");
    export.end().await;
    Ok(())
}

impl Ground {
    /// From here on errors can be reported: where to is a secret.
    async fn open_secrets(&self, reports: &Reports) -> (Arc<Vault>, Arc<Secrets>) {
        let vault = Vault::open(&self.config.store.path, &self.clock, &self.metrics);
        let vault = Arc::new(vault);
        let secrets = Arc::new(vault.secrets(&self.config.secrets));
        vault.first_look().await;
        let keeping = Arc::clone(&vault);
        self.until_stopped(async move { keeping.keep().await });
        let connecting = Connecting {
            config: self.config.sentry.clone(),
            secrets: Arc::clone(&secrets),
            http: self.http.clone(),
        };
        let reporting = reports.clone();
        self.until_stopped(async move { reporting.connect(connecting).await });
        (vault, secrets)
    }

    async fn open_store(&self, secrets: &Arc<Secrets>) -> Result<Arc<dyn Store>, StoreError> {
        store::open(
            &self.config,
            secrets,
            &self.clock,
            &self.metrics,
            &self.shutdown,
        )
        .await
    }

    /// What the answers are made of, while probes are answered already.
    async fn back(
        self,
        vault: Arc<Vault>,
        token: AdminToken,
        store: Arc<dyn Store>,
        history: Arc<History>,
    ) -> Result<Backing, StartError> {
        let clock = Arc::clone(&self.clock);
        let proxies = Proxies::new(&self.config.envoy, self.http.clone(), clock);
        let proxies = Arc::new(proxies);
        let keeping = Arc::clone(&proxies);
        self.until_stopped(async move { keeping.keep().await });
        let trail = Trail::open(&self.config.store.path, Arc::clone(&self.clock));
        let intelligence = Intelligence::start(Parts {
            config: Arc::clone(&self.config),
            store: Arc::clone(&store),
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            http: self.http.clone(),
            vault,
            history,
            shutdown: self.shutdown.clone(),
        });
        let intelligence = intelligence.await?;
        self.watch_over(&intelligence, &proxies);
        Ok(Backing {
            intelligence,
            token,
            watch: self.watch,
            store,
            proxies,
            level: self.level,
            trail,
            clock: self.clock,
        })
    }

    /// Looks at the proxies' canary, and follows the configuration's file.
    fn watch_over(&self, intelligence: &Arc<Intelligence>, proxies: &Arc<Proxies>) {
        let patrol = Patrol {
            watch: Arc::clone(&self.watch),
            intelligence: Arc::clone(intelligence),
            proxies: Arc::clone(proxies),
            metrics: Arc::clone(&self.metrics),
            clock: Arc::clone(&self.clock),
        };
        self.until_stopped(async move { patrol.run().await });
        let followers = Followers {
            intelligence: Arc::clone(intelligence),
            proxies: Arc::clone(proxies),
            level: Arc::clone(&self.level),
        };
        let watch = Arc::clone(&self.watch);
        self.until_stopped(async move { watch.run(&followers).await });
    }

    /// Has `task` run beside everything else.
    fn until_stopped(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { shutdown.run_until_cancelled(task).await });
    }
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
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Token(_) | Self::Export(_) => Exit::Config,
            Self::Store(_) | Self::Bind(_) | Self::Start(_) | Self::Signal(_) => Exit::Failed,
        }
    }
}
