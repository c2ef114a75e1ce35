//! Faults of ours, as Sentry gets them: what arrives, and what must not.

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::sidecar::SidecarBuilder;
use kit::snapshot::Draft;
use kit::{Request, Sentry, Sidecar, parts};
use serde_json::{Value, json};

use crate::common::{LIMIT, RawEdge, build_library, until_status};

const CLIENT: &str = "203.0.113.5";

/// A sidecar that sends its faults to `sentry`, from a test environment.
fn reporting_to(sentry: &Sentry) -> SidecarBuilder {
    let toml = "[sentry]\ndsn = \"secret:sentry\"\nenvironment = \"end-to-end\"\n\
                [secret.sentry]\nfrom = \"env\"\nname = \"THE_DSN\"";
    let builder = Sidecar::builder().unwrap().toml(toml);
    builder.env("THE_DSN", &sentry.dsn())
}

/// The event with this in its message, once it is there.
async fn event(sentry: &Sentry, message: &str) -> Value {
    let there = kit::eventually(LIMIT, || sentry.event(message).unwrap().is_some());
    assert!(there.await, "no event says {message:?}: {}", sentry.raw());
    let event = sentry.event(message).unwrap().unwrap();
    assert_eq!(event["environment"], "end-to-end");
    let release = event["release"].as_str().unwrap();
    assert!(release.starts_with("portcullis@"), "{release}");
    event
}

#[tokio::test]
async fn a_fault_arrives_with_its_causes_and_without_keys_and_addresses() {
    let (sentry, abuseipdb) = (
        Sentry::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    abuseipdb.accepts(&["another-key"]);
    let sidecar = reporting_to(&sentry).toml(&abuseipdb.toml());
    let sidecar = sidecar.env("ABUSEIPDB_KEY", KEY).start().await.unwrap();
    let asked = Request::get("/v1/check/8.8.4.4");
    assert_eq!(sidecar.ask_admin(asked).await.unwrap().status, 200);
    let event = event(&sentry, "the provider refuses our key").await;
    // `error` is what Sentry takes an event without a level for.
    assert!(
        event.get("level").is_none_or(|level| level == "error"),
        "{event}"
    );
    assert_eq!(event["tags"]["provider"], "abuseipdb");
    assert!(event["extra"]["why"].is_string(), "{event}");
    assert_eq!(event.get("server_name"), None);
    for private in [KEY, "8.8.4.4", "127.0.0.1", &sidecar.token()] {
        let raw = sentry.raw().replace(&sentry.dsn(), "");
        assert!(!raw.contains(private), "{private} was sent: {raw}");
    }
}

#[tokio::test]
async fn without_a_dsn_nothing_is_sent() {
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    abuseipdb.accepts(&["another-key"]);
    let sidecar = Sidecar::builder().unwrap().toml(&abuseipdb.toml());
    let sidecar = sidecar.env("ABUSEIPDB_KEY", KEY).env("SENTRY_DSN", "");
    let sidecar = sidecar.start().await.unwrap();
    let asked = Request::get("/v1/check/8.8.4.4");
    assert_eq!(sidecar.ask_admin(asked).await.unwrap().status, 200);
    let logged = kit::eventually(LIMIT, || sidecar.log().contains("refuses our key"));
    assert!(logged.await, "{}", sidecar.log());
    assert!(!sidecar.log().contains("Sentry"), "{}", sidecar.log());
}

/// A panic that no code of ours asks for: the system does not say what time it is.
#[tokio::test]
async fn a_panic_arrives_with_its_place_and_the_sidecar_goes_on() {
    let sentry = Sentry::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (library, order) = (folder.path().join("clock.so"), folder.path().join("order"));
    build_library(&parts::in_checkout("tests/src/broken_clock.c"), &library);
    let sidecar = reporting_to(&sentry)
        .env("LD_PRELOAD", library.to_str().unwrap())
        .env("BROKEN_CLOCK", order.to_str().unwrap());
    let sidecar = sidecar.start().await.unwrap();
    let told = kit::eventually(LIMIT, || {
        sidecar.log().contains("faults are sent to Sentry")
    });
    assert!(told.await, "{}", sidecar.log());
    std::fs::write(&order, "").unwrap();
    let met = kit::eventually_async(LIMIT, || async {
        // Whoever looks at the time next meets it, perhaps this request's task.
        let _answer = sidecar.ask_admin(Request::get("/v1/decisions")).await;
        !order.exists()
    });
    assert!(met.await, "{}", sidecar.log());
    let event = event(&sentry, "the program failed").await;
    assert_eq!(event["level"], "fatal");
    let place = event["culprit"].as_str().unwrap();
    assert!(place.contains("time.rs"), "{event}");
    let answer = sidecar.ask_admin(Request::get("/v1/decisions")).await;
    assert_eq!(answer.unwrap().status, 200);
}

#[tokio::test]
async fn the_end_of_a_filters_vm_is_reported_by_the_sidecar_that_reads_its_proxys_statistics() {
    let trap = parts::wasm_trap().unwrap();
    let edge = RawEdge::start_with(|envoy| {
        let envoy = envoy.plugin(json!({"trap": "request_headers"})).unwrap();
        envoy.change(|config| config.set_wasm(&trap)).unwrap()
    })
    .await;
    edge.sidecar.publish(Draft::version(1).build().unwrap());
    assert!(until_status(&edge.envoy, CLIENT, 200).await);
    let sentry = Sentry::start().await.unwrap();
    let stats = format!("http://{}", edge.envoy.stats_address());
    let reading = format!("[envoy]\nstats = [{stats:?}]\nevery = \"1s\"");
    let sidecar = reporting_to(&sentry).toml(&reading).start().await.unwrap();
    let poison = Request::get("/").from_client(CLIENT).header("x-trap", "1");
    // The first reading says what was before; a VM that ends after it is news.
    let reported = kit::eventually_async(LIMIT, || async {
        assert_eq!(edge.envoy.send(&poison).await.unwrap().status, 503);
        assert!(until_status(&edge.envoy, CLIENT, 200).await);
        sentry.event("VMs of the filter ended").unwrap().is_some()
    });
    assert!(reported.await, "{}", sidecar.log());
    let event = event(&sentry, "VMs of the filter ended").await;
    assert_eq!(event["tags"]["fault"], "vm_reloads");
    assert!(event["extra"]["number"].as_u64().unwrap() >= 1, "{event}");
    let proxy = event["tags"]["proxy"].as_str().unwrap();
    assert!(proxy.starts_with("http://127.0.0.0/24"), "{proxy}");
}
