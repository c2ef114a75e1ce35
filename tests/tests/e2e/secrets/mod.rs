//! Secrets from AWS, as moto plays it: replaced under load, and away at the start.

mod check;
mod places;
mod shown;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::abuseipdb::AbuseIpDb;
use kit::serve::{Answer, Server};
use kit::sidecar::SidecarBuilder;
use kit::{Moto, Request, Sidecar, eventually, eventually_async};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::common::{CANARY, LIMIT, cli, sidecar_that_blocks};

const SECRET: &str = "edge/abuseipdb";

/// A provider whose key is the field `api_key` of a secret in AWS, asked for so often.
fn provider(abuseipdb: &AbuseIpDb, refresh: &str) -> String {
    format!(
        "[budget]\nreserve_percent = 0\nburst_percent = 100\nnetwork_percent = 100\nsightings = 1\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"http://{}/api/v2/\"\n\
         key = \"secret:abuseipdb\"\nweight = 1.0\ntimeout = \"2s\"\n\
         [secret.abuseipdb]\nfrom = \"aws-secrets-manager\"\nname = {SECRET:?}\n\
         field = \"api_key\"\nrefresh = {refresh:?}\n",
        abuseipdb.address()
    )
}

fn value(key: &str) -> String {
    json!({"api_key": key, "expires": "2027-03-01"}).to_string()
}

async fn verdict(sidecar: &Sidecar, address: &str) -> Value {
    let request = Request::get(&format!("/v1/verdict/{address}?wait_ms=2000"));
    request.send(sidecar.edge()).await.unwrap().json()
}

/// A folder of secrets, each in a file of its own, as an orchestrator mounts them.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, value: &str) {
        std::fs::write(self.0.path().join(name), value).unwrap();
    }

    /// The section of a secret in it.
    fn toml(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        format!("[secret.{name}]\nfrom = \"file\"\nname = {path:?}\n")
    }
}

/// Whoever has a list for those with one of these keys, as a bearer token.
async fn lister(keys: &'static [&'static str]) -> Server {
    let answer = move |asked: kit::serve::Asked| async move {
        let given = asked.header("authorization").unwrap_or_default();
        let known = given
            .strip_prefix("Bearer ")
            .is_some_and(|key| keys.contains(&key));
        match known {
            true => Answer::body("text/plain", "203.0.113.77\n"),
            false => Answer::status(401),
        }
    };
    Server::start(0, answer).await.unwrap()
}

/// Addresses that nobody asked about before, each of which the provider knows to be bad.
struct Strangers(u8);

impl Strangers {
    /// Looks up so many; each must get the provider's word.
    async fn all_known(&mut self, count: u8, sidecar: &Sidecar, abuseipdb: &AbuseIpDb) {
        self.0 += 1;
        for host in 1..=count {
            let address = format!("8.8.{}.{host}", self.0);
            abuseipdb.knows(&address, 100);
            let verdict = verdict(sidecar, &address).await;
            assert_eq!(verdict["action"], "deny", "{address}: {verdict}");
            assert_eq!(verdict["provisional"], false, "{address}: {verdict}");
        }
    }
}

async fn started(builder: SidecarBuilder) -> Sidecar {
    builder.start().await.unwrap()
}

/// Several clients at once, each with a stranger after the other; says which look-ups failed.
async fn load(sidecar: Arc<Sidecar>, abuseipdb: Arc<AbuseIpDb>) -> Vec<String> {
    let mut clients = JoinSet::new();
    for client in 1..=4 {
        let (sidecar, abuseipdb) = (Arc::clone(&sidecar), Arc::clone(&abuseipdb));
        clients.spawn(async move {
            let mut failed = Vec::new();
            for host in 1..=50 {
                let address = format!("8.8.{client}.{host}");
                abuseipdb.knows(&address, 100);
                let verdict = verdict(&sidecar, &address).await;
                if verdict["action"] != "deny" || verdict["provisional"] != false {
                    failed.push(format!("{address}: {verdict}"));
                }
            }
            failed
        });
    }
    clients.join_all().await.concat()
}

#[tokio::test]
async fn a_key_that_is_replaced_under_load_fails_no_look_up() {
    let moto = Moto::start().await.unwrap();
    let abuseipdb = Arc::new(AbuseIpDb::start().await.unwrap());
    moto.create_secret(SECRET, &value("one")).await.unwrap();
    abuseipdb.accepts(&["one"]);
    abuseipdb.delay(Duration::from_millis(20));
    let builder = sidecar_that_blocks(&[]).toml(&provider(&abuseipdb, "1h"));
    let sidecar = Arc::new(started(builder.aws(&moto)).await);
    let load = tokio::spawn(load(Arc::clone(&sidecar), Arc::clone(&abuseipdb)));
    let asked = |count| {
        let abuseipdb = Arc::clone(&abuseipdb);
        eventually(LIMIT, move || abuseipdb.asked().len() >= count)
    };
    assert!(asked(40).await);
    // The place has the new value first; nobody looks there before the old one is refused.
    moto.put_secret(SECRET, &value("two")).await.unwrap();
    assert!(asked(80).await);
    assert_eq!(abuseipdb.refused(), 0);
    abuseipdb.accepts(&["two"]);
    let failed = load.await.unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(abuseipdb.asked().len() >= 200, "the load went on after it");
    let refused = abuseipdb.refused();
    assert!(
        (1..=4).contains(&refused),
        "{refused} calls with the old key"
    );
    let shown = cli(&sidecar, &["secrets"]).await;
    assert!(shown.contains("2027-03-01"), "{shown}");
}

#[tokio::test]
async fn a_key_that_is_not_taken_yet_waits_behind_the_one_before() {
    let (moto, abuseipdb) = (
        Moto::start().await.unwrap(),
        AbuseIpDb::start().await.unwrap(),
    );
    moto.create_secret(SECRET, &value("one")).await.unwrap();
    moto.put_secret(SECRET, &value("two")).await.unwrap();
    // The sidecar has never seen the value before: AWS remembers it.
    abuseipdb.accepts(&["one"]);
    let builder = sidecar_that_blocks(&[]).toml(&provider(&abuseipdb, "1s"));
    let sidecar = started(builder.aws(&moto)).await;
    let mut strangers = Strangers(0);
    strangers.all_known(20, &sidecar, &abuseipdb).await;
    assert_eq!(abuseipdb.refused(), 1, "the new key was tried once");
    abuseipdb.accepts(&["two"]);
    strangers.all_known(20, &sidecar, &abuseipdb).await;
    assert_eq!(abuseipdb.refused(), 2, "the old key was tried once");
}

#[tokio::test]
async fn a_sidecar_starts_and_serves_while_aws_is_away() {
    let (mut moto, abuseipdb) = (Moto::prepare().unwrap(), AbuseIpDb::start().await.unwrap());
    abuseipdb.accepts(&["one"]);
    abuseipdb.knows("8.8.8.8", 100);
    let builder = sidecar_that_blocks(&[]).toml(&provider(&abuseipdb, "1s"));
    let begun = Instant::now();
    let sidecar = started(builder.aws(&moto)).await;
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(verdict(&sidecar, CANARY).await["action"], "deny");
    let shown = cli(&sidecar, &["secrets"]).await;
    assert!(shown.contains("AWS cannot be asked"), "{shown}");
    moto.come().await.unwrap();
    moto.create_secret(SECRET, &value("one")).await.unwrap();
    let known = eventually_async(LIMIT * 3, || async {
        verdict(&sidecar, "8.8.8.8").await["action"] == "deny"
    });
    assert!(known.await, "{}", sidecar.log());
    // Away again, the value that was read serves.
    moto.go();
    Strangers(0).all_known(5, &sidecar, &abuseipdb).await;
}
