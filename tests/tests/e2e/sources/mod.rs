//! Every source that is asked about single addresses, by stand-ins that replay what it documents to the
//! recipes of docs/providers.md: what comes of each answer, and that a bad one harms nobody.

mod tls;

use std::time::{SystemTime, UNIX_EPOCH};

use kit::replay::{Case, KEY, Replay, Source, recipes};
use kit::sidecar::SidecarBuilder;
use kit::{Request, Sidecar, eventually_async};
use serde_json::{Value, json};

use crate::common::{Edge, LIMIT, cli, sidecar_that_blocks, until_status};

const BAD: &str = "8.8.4.4";
const OTHER: &str = "8.8.8.8";
const REQUESTS: &str = "portcullis_provider_requests_total";

/// What a sidecar shows after it asked.
struct Shown {
    explained: Value,
    providers: Value,
    metrics: String,
    at: u64,
}

/// Asks whom `toml` names, with the keys of `replay`.
fn asking(builder: SidecarBuilder, replay: &Replay, toml: &str) -> SidecarBuilder {
    let keys = replay.environment();
    let builder = builder.toml(toml);
    keys.iter()
        .fold(builder, |builder, (name, key)| builder.env(name, key))
}

fn is_known(_: &Source, case: &Case) -> bool {
    case.name == "known"
}

async fn ask_about(sidecar: &Sidecar, address: &str) {
    let ask = Request::get(&format!("/v1/verdict/{address}?wait_ms=2000"));
    assert_eq!(ask.send(sidecar.edge()).await.unwrap().status, 200);
}

/// Waits until so many calls with these labels have come back.
async fn until_counted(sidecar: &Sidecar, labels: &[&str], calls: usize) -> bool {
    let calls = f64::from(u32::try_from(calls).unwrap());
    let counted = || async { sidecar.metric(REQUESTS, labels).await == calls };
    eventually_async(LIMIT * 2, counted).await
}

async fn admin(sidecar: &Sidecar, path: &str) -> Value {
    let answer = sidecar.ask_admin(Request::get(path)).await.unwrap();
    serde_json::from_str(&answer.text()).unwrap()
}

impl Shown {
    async fn by(sidecar: &Sidecar) -> Self {
        let metrics = Request::get("/metrics").send(sidecar.metrics()).await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            explained: admin(sidecar, &format!("/v1/explain/{BAD}")).await,
            providers: admin(sidecar, "/v1/providers").await,
            metrics: metrics.unwrap().text(),
            at: now.unwrap().as_secs(),
        }
    }

    /// What is not as the fixture says.
    fn faults(&self, name: &str, case: &Case) -> Vec<String> {
        let outcome = case.expected["outcome"].as_str().unwrap();
        let labels = [
            format!("provider=\"{name}\""),
            format!("outcome=\"{outcome}\""),
        ];
        let labels = labels.each_ref().map(String::as_str);
        let counted = kit::prometheus::sum(&self.metrics, REQUESTS, &labels);
        let mut faults = vec![(
            counted != 1.0,
            format!("{outcome} is counted {counted} times"),
        )];
        faults.extend(self.faults_of_word(name, &case.expected));
        faults.extend(self.faults_of_status(name, &case.expected, outcome));
        let found = faults.into_iter().filter(|(is_fault, _)| *is_fault);
        found.map(|(_, fault)| format!("{name}: {fault}")).collect()
    }

    /// What `explain` shows of it.
    fn faults_of_word(&self, name: &str, expected: &Value) -> Vec<(bool, String)> {
        let words = self.explained["sources"].as_array().unwrap();
        let word = words.iter().find(|word| word["source"] == name);
        let Some(word) = word else {
            return vec![(
                expected.get("score").is_some(),
                "is not explained".to_owned(),
            )];
        };
        let named = word.get("categories").cloned().unwrap_or(json!([]));
        let stance = if expected["trusted"] == true {
            "trusted"
        } else {
            "rated"
        };
        let seen = expected.get("observed");
        vec![
            (word["score"] != expected["score"], format!("{word}: score")),
            (
                named != expected["categories"],
                format!("{word}: categories"),
            ),
            (word["stance"] != stance, format!("{word}: stance")),
            (
                seen.is_some_and(|seen| word["observed"] != *seen),
                format!("{word}: when something was seen"),
            ),
        ]
    }

    /// What `portcullis providers` shows of it.
    fn faults_of_status(&self, name: &str, expected: &Value, outcome: &str) -> Vec<(bool, String)> {
        let providers = self.providers["providers"].as_array().unwrap();
        let mut named = providers.iter().filter(|provider| provider["name"] == name);
        let status = named.next().unwrap();
        let error = status.get("last_error").and_then(Value::as_str);
        let told = match expected["says"].as_str() {
            Some(says) => error.is_some_and(|error| error.contains(says)),
            None => error.is_some() == (outcome != "ok"),
        };
        let pause = expected["closed_for"].as_u64();
        let closed = match outcome {
            "key_refused" => Some("key"),
            "quota" => Some("quota"),
            "unavailable" if pause.is_some() => Some("failing"),
            _ => None,
        };
        let shown = status.get("closed").and_then(Value::as_str);
        let until = status.get("closed_until").and_then(Value::as_u64);
        let left = until.unwrap_or_default().saturating_sub(self.at);
        // It was asked some time ago, and who is told "too many" comes back up to a minute later.
        let fits = |pause: u64| left <= pause + 60 && left + 2 * LIMIT.as_secs() >= pause;
        vec![
            (!told, format!("{status}: its error")),
            (shown != closed, format!("{status}: why it is not asked")),
            (
                pause.is_some_and(|pause| !fits(pause)),
                format!("{status}: until when"),
            ),
        ]
    }
}

/// Each case of each source is a provider of its own, and all are asked about one address at once: so each
/// answers badly beside all others.
#[tokio::test]
async fn every_documented_answer_of_every_source_is_understood_and_none_harms_another() {
    let replay = Replay::start(|_, _| true).await.unwrap();
    let builder = asking(sidecar_that_blocks(&[]), &replay, &replay.toml());
    let sidecar = builder
        .toml("[log]\nlevel = \"debug\"")
        .start()
        .await
        .unwrap();
    ask_about(&sidecar, BAD).await;
    let cases = replay.sources().iter();
    let cases: Vec<_> = cases
        .flat_map(|source| {
            source
                .cases
                .iter()
                .map(|case| (source.provider(case), case))
        })
        .collect();
    assert!(cases.len() > 100, "{}", cases.len());
    assert!(
        until_counted(&sidecar, &[], cases.len()).await,
        "{}",
        sidecar.log()
    );
    assert_eq!(replay.complaints(), Vec::<String>::new());
    let shown = Shown::by(&sidecar).await;
    let faults: Vec<_> = cases
        .iter()
        .flat_map(|(name, case)| shown.faults(name, case))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    for (place, text) in [
        ("the log", sidecar.log()),
        ("the metrics", shown.metrics),
        ("providers", cli(&sidecar, &["providers"]).await),
        ("explain", cli(&sidecar, &["explain", BAD]).await),
        ("secrets", cli(&sidecar, &["secrets"]).await),
    ] {
        assert!(!text.contains(KEY), "the key is in {place}");
        // Some sources want the key in the path: no URL is shown.
        let paths = replay.sources().iter().map(Source::path);
        for path in paths.filter(|path| path.len() > 1) {
            assert!(!text.contains(path), "{path} is in {place}");
        }
        // What a redirect names is nobody's to read or to go to.
        assert!(!text.contains("169.254.169.254"), "{place}");
    }
}

#[tokio::test]
async fn all_recipes_together_refuse_a_bad_address_at_the_edge_and_go_on_doing_so_when_all_break() {
    let replay = Replay::start(is_known).await.unwrap();
    // With four calls a day, strangers are not asked about any more after three.
    let toml = replay
        .toml()
        .replace("daily_quota = 4\n", "daily_quota = 400\n");
    let edge = Edge::start(asking(sidecar_that_blocks(&[]), &replay, &toml)).await;
    assert!(
        until_status(&edge.envoy, BAD, 403).await,
        "{}",
        edge.sidecar.log()
    );
    assert_eq!(replay.complaints(), Vec::<String>::new());
    let names: Vec<_> = replay
        .sources()
        .iter()
        .map(|source| source.provider(&source.cases[0]))
        .collect();
    assert_eq!(names.len(), 8);
    let words = async |address: &str| edge.cli(&["explain", address]).await;
    let before = words(BAD).await;
    assert!(names.iter().all(|name| before.contains(name)), "{before}");
    for page in ["<html>maintenance</html>", "[", "null"] {
        let asked = replay.asked().len();
        replay.answer_instead(Some(kit::serve::Answer::body("text/html", page)));
        // Three failures close a gate; until then each is asked about somebody else.
        let other = format!("9.9.9.{}", asked % 200);
        assert_eq!(edge.envoy.status_for(&other).await, 200);
        let heard = kit::eventually(LIMIT, || replay.asked().len() == asked + names.len());
        assert!(heard.await, "{:?}", replay.asked());
    }
    let failing = eventually_async(LIMIT, || async {
        edge.cli(&["providers"]).await.matches("failing").count() == names.len()
    });
    assert!(failing.await, "{}", edge.cli(&["providers"]).await);
    let after = words(BAD).await;
    assert!(names.iter().all(|name| after.contains(name)), "{after}");
    assert_eq!(edge.envoy.status_for(BAD).await, 403);
    assert_eq!(edge.envoy.status_for(OTHER).await, 200);
}

#[tokio::test]
async fn no_source_is_asked_about_an_address_that_is_not_public() {
    let replay = Replay::start(is_known).await.unwrap();
    let builder = Sidecar::builder().unwrap().shipped_guard();
    let sidecar = asking(builder, &replay, &replay.toml())
        .start()
        .await
        .unwrap();
    for address in [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "127.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "2001:db8::1",
        "3fff::1",
        // IPv4 inside IPv6: mapped, NAT64, local NAT64, 6to4, Teredo of 10.0.0.1.
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    ] {
        ask_about(&sidecar, address).await;
    }
    ask_about(&sidecar, OTHER).await;
    let asked = kit::eventually(LIMIT, || replay.asked().len() >= replay.sources().len());
    assert!(asked.await, "{:?}", replay.asked());
    assert_eq!(replay.asked(), vec![OTHER; replay.sources().len()]);
}

#[tokio::test]
async fn every_recipe_of_the_document_is_a_good_configuration_and_is_tried() {
    let sources = Source::all().unwrap();
    let blocks = recipes().unwrap();
    let of_providers = blocks.iter().filter(|block| block.contains("[[provider]]"));
    assert_eq!(of_providers.count(), sources.len());
    let folder = tempfile::tempdir().unwrap();
    for block in &blocks {
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, block).unwrap();
        let mut command = tokio::process::Command::new(kit::parts::portcullis().unwrap());
        command.arg("check-config").arg(&file);
        let output = command.output().await.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}\n{block}");
    }
}
