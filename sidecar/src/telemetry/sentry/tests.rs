use std::collections::BTreeMap;

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::config::{Config, Sentry};
use crate::intelligence::testing::StandIn;

fn secrets() -> Arc<Secrets> {
    Arc::new(Secrets::new(BTreeMap::new()))
}

/// Sends to `url` as if that were configured.
fn sending_to(url: &str) -> Reports {
    let reports = Reports::default();
    let dsn = url.replacen("http://", "http://public@", 1) + "7";
    let dsn = Dsn::from_str(&dsn).unwrap();
    let options = ClientOptions::new().release(RELEASE);
    let outbox = Outbox::open(dsn, options, HttpClient::new());
    let _first = reports.0.outbox.set(outbox);
    reports
}

#[tokio::test]
async fn errors_are_sent_and_nothing_else_is() {
    let sentry = StandIn::start(200, "{}").await;
    let reports = sending_to(&sentry.url);
    let subscriber = tracing_subscriber::registry().with(reports.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!("a warning");
        tracing::error!(feed = "drop", "an error");
    });
    reports.flush().await;
    let seen = sentry.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].path, "/api/7/envelope/");
    let auth = seen[0].headers["x-sentry-auth"].to_str().unwrap();
    assert!(auth.contains("sentry_key=public"), "{auth}");
}

#[tokio::test]
async fn a_server_that_asks_for_less_is_left_alone() {
    let sentry = StandIn::start(200, "{}").await;
    sentry.tell(
        429,
        &[("x-sentry-rate-limits", "60:error:organization")],
        "",
    );
    let reports = sending_to(&sentry.url);
    for line in 0..3 {
        let outbox = reports.0.outbox.get().unwrap();
        reports.send(outbox, format!("a.rs:{line}"), Event::default());
        reports.flush().await;
    }
    assert_eq!(sentry.seen().len(), 1);
}

#[tokio::test]
async fn without_a_dsn_nothing_is_sent_and_a_faulty_one_is_named_and_not_repeated() {
    let reports = Reports::default();
    let config = Config::parse(
        "[sentry]\ndsn = \"secret:sentry\"\n[secret.sentry]\nfrom = \"file\"\nname = \"/dev/null\"",
        std::iter::empty(),
    );
    let config = config.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dsn");
    std::fs::write(&file, "https://hunter2/no/project?").unwrap();
    let mut configured = config.secrets.clone();
    for secret in configured.values_mut() {
        secret.origin = crate::config::SecretOrigin::File(file.clone());
    }
    let secrets = Arc::new(Secrets::new(configured));
    let connecting = |config, secrets| Connecting {
        config,
        secrets,
        http: HttpClient::new(),
    };
    let fault = reports.try_to_connect(&connecting(config.sentry, secrets));
    let fault = crate::telemetry::chain(&fault.unwrap_err());
    assert!(
        fault.contains("its DSN is not one") && !fault.contains("hunter2"),
        "{fault}"
    );
    let off = Sentry::default();
    let nobody = reports.try_to_connect(&connecting(off, self::secrets()));
    assert!(nobody.is_ok() && reports.0.outbox.get().is_none());
}
