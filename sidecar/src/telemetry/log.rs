//! The log: one JSON object a line on standard error. Its errors are counted, its level can be changed.

use std::sync::Arc;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use super::Metrics;
use super::level::{Level, Wanted};
use super::line::Line;
use super::otlp::Export;
use super::sentry::Reports;
use crate::config::Log;

/// Counts the lines at level error that the filter lets through.
struct ErrorCount(Arc<Metrics>);

/// Starts logging. `RUST_LOG` wins over the configuration if it is there and good.
pub fn start(log: &Log, metrics: &Arc<Metrics>, reports: &Reports, export: &Export) -> Arc<Level> {
    let (wanted, handle) = reload::Layer::new(usual(log.level));
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(JsonFields::new())
        .event_format(Line)
        // A full disk behind standard error must not end us: complaining there would panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry()
        .with(wanted)
        .with(lines)
        .with(ErrorCount(Arc::clone(metrics)))
        .with(reports.clone())
        .with(export.records());
    // It fails only if somebody set one before, as tests may; that one serves as well.
    let _already_set = subscriber.try_init();
    Level::new(log, from_environment().is_some(), move |wanted| {
        let filter = match wanted {
            Wanted::Usual(level) => usual(level),
            Wanted::Ordered(level) => filter(level),
        };
        // It fails only if the subscriber is gone, and with it the log.
        let _gone = handle.reload(filter);
    })
}

fn from_environment() -> Option<EnvFilter> {
    EnvFilter::try_from_default_env().ok()
}

fn usual(level: tracing::Level) -> EnvFilter {
    from_environment().unwrap_or_else(|| filter(level))
}

/// The level is ours; libraries below it speak up when something is wrong.
fn filter(level: tracing::Level) -> EnvFilter {
    EnvFilter::new(format!("warn,sidecar={level},portcullis={level}"))
}

impl<S: Subscriber> Layer<S> for ErrorCount {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            self.0.error_logged();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_and_warnings_are_not() {
        let metrics = Arc::new(Metrics::new());
        let counted = tracing_subscriber::registry().with(ErrorCount(Arc::clone(&metrics)));
        tracing::subscriber::with_default(counted, || {
            tracing::error!("one");
            tracing::warn!("none");
            tracing::error!("two");
        });
        assert_eq!(metrics.errors_logged(), 2);
    }
}
