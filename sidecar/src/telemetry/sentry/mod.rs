//! Sends faults of ours to Sentry: each line at level error, and so each panic too. Off until a DSN is known, and
//! without one for good.
//!
//! What is sent is scrubbed: of an address the network is left, of a key nothing. A fault that comes
//! again and again is sent once in a while, with how often it came.

mod event;
mod outbox;
mod pace;
mod scrub;

use std::str::FromStr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use sentry::ClientOptions;
use sentry::protocol::Event;
use sentry::types::Dsn;
use thiserror::Error;
use tracing::{Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use crate::config;
use crate::http::HttpClient;
use crate::secrets::{SecretError, Secrets};
use outbox::Outbox;
use pace::Pace;
use scrub::Scrub;

/// Where faults go; clones are the same place.
#[derive(Clone, Default)]
pub struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    outbox: OnceLock<Outbox>,
    pace: Mutex<Pace>,
}

/// What it takes to send.
pub struct Connecting {
    pub config: config::Sentry,
    /// Where the DSN is found, and what no event may hold.
    pub secrets: Arc<Secrets>,
    pub http: HttpClient,
}

/// Why nothing can be sent.
#[derive(Debug, Error)]
pub enum ReportsError {
    #[error("its DSN cannot be read")]
    Secret(#[from] SecretError),
    // What is wrong with it is not told: the parser repeats parts of it.
    #[error("its DSN is not one: it looks like https://KEY@HOST/PROJECT")]
    Dsn,
}

const RELEASE: &str = concat!("portcullis@", env!("CARGO_PKG_VERSION"));
const ENVIRONMENT: &str = "production";
const AGAIN: Duration = Duration::from_secs(60);

impl Reports {
    /// Begins to send, as soon as the DSN can be read. Ends when it does, or if there is none.
    pub async fn connect(&self, connecting: Connecting) {
        loop {
            match self.try_to_connect(&connecting) {
                Ok(()) => return,
                Err(error) => {
                    let error = super::chain(&error);
                    tracing::warn!(error, "nothing can be sent to Sentry");
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn try_to_connect(&self, connecting: &Connecting) -> Result<(), ReportsError> {
        let Connecting {
            config,
            secrets,
            http,
        } = connecting;
        let Some(dsn) = dsn(config, secrets)? else {
            return Ok(());
        };
        let dsn = Dsn::from_str(dsn.expose_secret()).map_err(|_| ReportsError::Dsn)?;
        let from_environment = || std::env::var("SENTRY_ENVIRONMENT").ok();
        let environment = config.environment.clone().or_else(from_environment);
        let environment = environment.unwrap_or_else(|| ENVIRONMENT.to_owned());
        tracing::info!(environment, release = RELEASE, "faults are sent to Sentry");
        let scrub = Scrub::new(Arc::clone(secrets));
        let options = ClientOptions::new()
            .release(RELEASE)
            .environment(environment)
            .before_send(move |event| Some(scrub.event(event)));
        // Only here is it set.
        let _first = self.0.outbox.set(Outbox::open(dsn, options, http.clone()));
        Ok(())
    }

    /// Waits until what was sent so far is on its way, but not for long.
    pub async fn flush(&self) {
        if let Some(outbox) = self.0.outbox.get() {
            outbox.flush().await;
        }
    }

    /// Sends `event`, unless its like from the same `place` was sent just now.
    fn send(&self, outbox: &Outbox, place: String, event: Event<'static>) {
        let mut pace = self.0.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let next = pace.next(place, Instant::now());
        drop(pace);
        if let Some(left_out) = next {
            outbox.send(event::with_left_out(event, left_out));
        }
    }
}

impl<S> Layer<S> for Reports
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR {
            return;
        }
        let Some(outbox) = self.0.outbox.get() else {
            return;
        };
        let fields = Fields::of(event).with_request(context.event_scope(event));
        let line = metadata.line().unwrap_or_default();
        let place =
            event::place(&fields).unwrap_or_else(|| format!("{}:{line}", metadata.target()));
        self.send(outbox, place, event::of_line(metadata.target(), fields));
    }
}

fn dsn(config: &config::Sentry, secrets: &Secrets) -> Result<Option<SecretString>, ReportsError> {
    if let Some(name) = &config.dsn {
        return Ok(Some(secrets.get(name)?));
    }
    let given = std::env::var("SENTRY_DSN").ok();
    Ok(given.filter(|dsn| !dsn.is_empty()).map(SecretString::from))
}

#[cfg(test)]
mod tests;
