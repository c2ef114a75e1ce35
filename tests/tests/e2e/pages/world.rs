//! The machine that the documentation speaks of: an edge that runs as in production, with the sidecar's store in
//! Redis, a provider, secrets in files, the canary; and something to see in each place that a page looks at.

use std::cell::Cell;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::OnceLock;

use kit::abuseipdb::AbuseIpDb;
use kit::config::{EdgeConfig, insert};
use kit::envoy::EnvoyBuilder;
use kit::pages::Page;
use kit::sidecar::SidecarBuilder;
use kit::{CrowdSec, Postgres, Redis, Sentry, Shell, Sidecar, eventually_async, parts};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::desk::{desk, plugin_file, write_program};
use crate::common::{Edge, LIMIT};

/// A list of which the guard holds a new version.
pub const FEED: &str = "ipsum";
const REDIS_PASSWORD: &str = "redis-password";
const ADMINISTRATOR: &str = "administrator";
const ABUSEIPDB_KEYS: [&str; 2] = ["abuseipdb-key", "abuseipdb-key-2"];

pub struct World {
    pub edge: Edge,
    folder: TempDir,
    redis: Redis,
    postgres: Postgres,
    _abuseipdb: AbuseIpDb,
    _sentry: Sentry,
    crowdsec: OnceLock<CrowdSec>,
    /// The sidecar's configuration and the plugin's file, to which every page returns.
    config: String,
    plugin: String,
    /// How often curl moved.
    moved: Cell<usize>,
}

impl World {
    pub async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        write_secret(&secrets, "redis", REDIS_PASSWORD);
        write_secret(&secrets, "abuseipdb", ABUSEIPDB_KEYS[0]);
        let abuseipdb = AbuseIpDb::start().await.unwrap();
        abuseipdb.accepts(&ABUSEIPDB_KEYS);
        let redis = Redis::builder().unwrap().append_only();
        let redis = redis
            .user("portcullis", &redis_rules())
            .password(ADMINISTRATOR);
        let redis = redis.start().await.unwrap();
        let postgres = Postgres::start().await.unwrap();
        let sentry = Sentry::start().await.unwrap();
        let sidecar = sidecar(&redis, &abuseipdb, &secrets).toml(&postgres.toml());
        let sidecar = sidecar.env("SENTRY_DSN", &sentry.dsn());
        let edge = edge_with(sidecar, name_a_page).await;
        let config = watched(&edge);
        edge.sidecar.rewrite(&config).unwrap();
        let plugin = std::fs::read_to_string(plugin_file(&edge)).unwrap();
        imitate_checkout(folder.path(), &edge);
        Self {
            edge,
            folder,
            redis,
            postgres,
            _abuseipdb: abuseipdb,
            _sentry: sentry,
            crowdsec: OnceLock::new(),
            config,
            plugin,
            moved: Cell::new(0),
        }
    }

    /// A look-up that failed, and a list to release.
    pub async fn let_something_happen(&mut self) {
        let Edge { envoy, sidecar, .. } = &mut self.edge;
        envoy.status_for("8.8.8.8").await;
        sidecar.kill();
        let failed = || async {
            envoy.status_for("8.8.4.4").await;
            envoy.metric("portcullis_failures_total", &[]).await >= 1.0
        };
        assert!(eventually_async(LIMIT, failed).await);
        sidecar.restart().await.unwrap();
        let path = sidecar.folder().join(format!("{FEED}.list"));
        std::fs::write(path, numbered(350)).unwrap();
        let label = format!("feed=\"{FEED}\"");
        let labels = [label.as_str()];
        let held = || async {
            sidecar
                .metric("portcullis_feed_refused_total", &labels)
                .await
                >= 1.0
        };
        assert!(eventually_async(LIMIT, held).await, "{}", sidecar.log());
    }

    /// From now on curl is at an address of its own, so that no block is limited for another's requests.
    pub fn move_curl(&self) {
        let number = self.moved.get() + 1;
        self.moved.set(number);
        let from = format!("127.0.{}.{}", 1 + number / 250, 1 + number % 250);
        let lines = format!("interface = {from:?}\nsilent\nshow-error\n");
        std::fs::write(self.folder.path().join(".curlrc"), lines).unwrap();
    }

    /// A terminal for one page.
    pub fn shell(&self) -> Shell {
        let home = self.folder.path();
        let mut desk = desk(&self.edge, &self.folder.path().join("programs"));
        desk.directory = self.folder.path().join("checkout");
        desk.environment.extend([
            ("HOME".to_owned(), home.display().to_string()),
            ("CURL_HOME".to_owned(), home.display().to_string()),
            ("REDISCLI_AUTH".to_owned(), ADMINISTRATOR.to_owned()),
        ]);
        let here = |place: &str| self.folder.path().join(place).display().to_string();
        desk.places.extend([
            ("/run/secrets".to_owned(), here("secrets")),
            (
                "postgres://127.0.0.1:5432".to_owned(),
                format!("postgres://{}", self.postgres.address()),
            ),
            (
                "redis://127.0.0.1:6379".to_owned(),
                format!("redis://{}", self.redis.address()),
            ),
            (
                "-p 6379".to_owned(),
                format!("-p {}", self.redis.address().port()),
            ),
        ]);
        if let Some(crowdsec) = self.crowdsec.get() {
            let shipped = "127.0.0.1:8080".to_owned();
            desk.places.push((shipped, crowdsec.address().to_string()));
        }
        Shell::open(&desk).unwrap()
    }

    /// From now on there is a Local API, and `cscli`.
    pub async fn with_crowdsec(&self) {
        if self.crowdsec.get().is_none() {
            let crowdsec = CrowdSec::start().await.unwrap();
            let script = format!("exec {} \"$@\"", crowdsec.cscli_command());
            write_program(&self.folder.path().join("programs"), "cscli", &script);
            let _first = self.crowdsec.set(crowdsec);
        }
    }

    /// Whether somebody's mode is in force.
    pub async fn has_modes(&self) -> bool {
        let said = self.edge.cli(&["mode", "--json"]).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        said["modes"] != json!([])
    }

    /// Takes back whatever a page left behind.
    pub async fn tidy(&self) {
        let Edge { envoy, sidecar, .. } = &self.edge;
        // After a new password Redis is away for a moment.
        let cleared = || async {
            let output = sidecar.cli(&["mode", "--clear"]).await.unwrap();
            output.status.success()
        };
        assert!(eventually_async(LIMIT, cleared).await, "{}", sidecar.log());
        let said = self.edge.cli(&["decisions", "--json"]).await;
        let said: Value = serde_json::from_str(&said).unwrap();
        for decision in said["decisions"].as_array().unwrap() {
            let word = if decision["type"] == "allow" {
                "unallow"
            } else {
                "unban"
            };
            if decision["origin"] == "operator" {
                self.edge
                    .cli(&[word, decision["cidr"].as_str().unwrap()])
                    .await;
            }
        }
        if std::fs::read_to_string(plugin_file(&self.edge)).unwrap_or_default() != self.plugin {
            envoy.push_plugin_file(&self.plugin).unwrap();
        }
        if sidecar.config() != self.config {
            sidecar.rewrite(&self.config).unwrap();
        }
    }
}

/// An edge with the plugin's file as a person writes it, enforcing.
pub async fn edge_with(
    sidecar: SidecarBuilder,
    change: impl FnOnce(EnvoyBuilder) -> EnvoyBuilder,
) -> Edge {
    let edge = Edge::start_with(sidecar, change).await;
    let shipped = std::fs::read_to_string(parts::in_checkout("envoy/portcullis.yaml")).unwrap();
    let wasm = parts::wasm().unwrap();
    let file = shipped
        .replace("/etc/envoy/portcullis.wasm", &wasm.display().to_string())
        .replace("\n          mode: monitor\n", "\n          mode: enforce\n");
    let taken = edge.envoy.plugin_stat("update_success").await;
    edge.envoy.push_plugin_file(&file).unwrap();
    let again = || async { edge.envoy.plugin_stat("update_success").await > taken };
    assert!(eventually_async(LIMIT, again).await, "{}", edge.envoy.log());
    edge
}

/// Pages of one origin may read the reputation API.
fn name_a_page(envoy: EnvoyBuilder) -> EnvoyBuilder {
    let name = |config: &mut EdgeConfig| {
        let manager = config.manager("reputation_api")?;
        let policy = &mut manager["route_config"]["virtual_hosts"][0]["typed_per_filter_config"]["envoy.filters.http.cors"];
        let named = json!([{"exact": "https://console.example.com"}]);
        insert(policy, "allow_origin_string_match", named);
        Ok(())
    };
    envoy.change(name).unwrap()
}

/// What docs/redis.md lets the sidecar's user do.
fn redis_rules() -> String {
    let page = Page::read("docs/redis.md").unwrap();
    let (_, rules) = page.text.split_once("ACL SETUSER portcullis ").unwrap();
    let rules = rules.lines().next().unwrap();
    rules.replace("PASSWORD", REDIS_PASSWORD)
}

fn sidecar(redis: &Redis, abuseipdb: &AbuseIpDb, secrets: &Path) -> SidecarBuilder {
    let sample = parts::in_checkout("envoy/demo/sample.netset");
    let builder = Sidecar::builder().unwrap().redis(&redis.url());
    let builder = builder.store("username = \"portcullis\"\npassword = \"secret:redis\"");
    let builder = builder
        .list(FEED, "block = true", "plain", &numbered(100))
        .unwrap();
    let secret = |name: &str| {
        let path = secrets.join(name);
        format!("[secret.{name}]\nfrom = \"file\"\nname = {path:?}\nexpires = \"2999-01-01\"\n")
    };
    let (provider, _) = abuseipdb
        .toml()
        .split_once("[secret")
        .map_or_else(Default::default, |(a, b)| (a.to_owned(), b.to_owned()));
    let sample = format!(
        "[[feed]]\nname = \"sample\"\npath = {sample:?}\nformat = \"netset\"\nblock = true\n"
    );
    builder
        .toml(&sample)
        .toml(&provider)
        .toml(&secret("redis"))
        .toml(&secret("abuseipdb"))
}

/// The configuration with the proxy's statistics and the canary, whose places are known only now.
fn watched(edge: &Edge) -> String {
    let (stats, front) = (edge.envoy.stats_address(), edge.envoy.edge());
    let watch = format!(
        "[envoy]\nstats = [\"http://{stats}\"]\nevery = \"1s\"\n\n[canary]\nedge = \"http://{front}\"\ninterval = \"1s\"\n\n"
    );
    watch + &edge.sidecar.config()
}

/// So many addresses of a network that is for measurements.
fn numbered(number: usize) -> String {
    (0..number)
        .map(|at| format!("198.18.{}.{}\n", at / 250, at % 250))
        .collect()
}

/// What a reader has in a clone after the demo has begun.
fn imitate_checkout(folder: &Path, edge: &Edge) {
    let checkout = folder.join("checkout");
    let [demo, debug] = ["target/demo", "target/debug"].map(|name| checkout.join(name));
    for folder in [&demo, &debug, &folder.join("programs")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for name in ["docs", "envoy"] {
        symlink(
            std::path::absolute(parts::in_checkout(name)).unwrap(),
            checkout.join(name),
        )
        .unwrap();
    }
    symlink(edge.sidecar.config_file(), demo.join("portcullis.toml")).unwrap();
    symlink(
        edge.sidecar.folder().join("store/admin.token"),
        demo.join("admin.token"),
    )
    .unwrap();
    symlink(folder.join("programs/portcullis"), debug.join("portcullis")).unwrap();
    let promtool = parts::prometheus().unwrap().join("promtool");
    let promtool = std::path::absolute(promtool).unwrap();
    symlink(promtool, folder.join("programs/promtool")).unwrap();
}

fn write_secret(folder: &Path, name: &str, value: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    std::fs::write(&path, value).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}
