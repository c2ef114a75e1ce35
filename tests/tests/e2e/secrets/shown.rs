//! Values of every kind are planted, and everything that the sidecar and its commands say is searched for
//! them. What a panic says is searched in `sidecar/src/telemetry/panic.rs`.

use std::path::Path;

use kit::abuseipdb::AbuseIpDb;
use kit::{CrowdSec, Moto, Redis, Request, Sidecar};
use serde_json::json;

use super::{Folder, Strangers, lister, started, verdict};
use crate::common::sidecar_that_blocks;

const PROVIDER: [&str; 2] = ["canary-provider-one-a7", "canary-provider-two-b8"];
const DESCRIBED: &str = "canary-described-c9";
const LIST: &str = "canary-list-d1";
const REDIS: &str = "canary-redis-e2";
const ADMIN: [&str; 2] = ["canary-admin-token-one-f3", "canary-admin-token-two-g4"];
const CLOUD: &str = "canary-cloud-h5";
const UNUSED: &str = "canary-unused-i6";
/// What all of them begin with.
const PLANTED: &str = "canary-";

/// All that was said, and where.
#[derive(Default)]
struct Said(Vec<(String, Vec<u8>)>);

impl Said {
    fn add(&mut self, place: impl Into<String>, text: impl Into<Vec<u8>>) {
        self.0.push((place.into(), text.into()));
    }

    async fn command(&mut self, sidecar: &Sidecar, command: &[&str]) {
        let output = sidecar.cli(command).await.unwrap();
        self.add(command.join(" "), [output.stdout, output.stderr].concat());
    }

    async fn admin(&mut self, sidecar: &Sidecar, method: &str, path: &str) {
        let answer = sidecar.ask_admin(Request::new(method, path)).await.unwrap();
        let mut text = answer.body.clone();
        for (name, value) in answer.headers() {
            text.extend(format!("\n{name}: ").bytes().chain(value.iter().copied()));
        }
        self.add(format!("{method} {path}"), text);
    }

    /// Every file below `folder` but the token's.
    fn files(&mut self, folder: &Path) {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                self.files(&path);
            } else if !path.ends_with("admin.token") {
                self.add(path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    fn assert_holds_none_of(&self, values: &[&str]) {
        for (place, text) in &self.0 {
            let text = String::from_utf8_lossy(text);
            for value in values {
                let found = text.lines().find(|line| line.contains(value));
                assert!(found.is_none(), "{value} is in {place}: {found:?}");
            }
        }
    }
}

#[tokio::test]
async fn no_value_of_any_kind_is_shown_anywhere_however_much_is_logged() {
    let moto = Moto::start().await.unwrap();
    let abuseipdb = AbuseIpDb::start().await.unwrap();
    let crowdsec = CrowdSec::start().await.unwrap();
    let redis = Redis::builder().unwrap();
    let redis = redis.user("edge", &format!("on >{REDIS} ~pc:* &pc:* +@all"));
    let redis = redis.line("user default off").start().await.unwrap();
    let list = lister(&[LIST]).await;
    let bouncer = crowdsec.bouncer("edge").unwrap();
    let key = |key: &str| json!({"api_key": key, "expires": "2027-03-01"}).to_string();
    moto.create_secret("edge/provider", &key(PROVIDER[0]))
        .await
        .unwrap();
    moto.put_parameter("SecureString", "/edge/list", LIST)
        .await
        .unwrap();
    abuseipdb.accepts(&[PROVIDER[0], DESCRIBED]);
    let folder = Folder::new();
    folder.put("admin", ADMIN[0]);
    folder.put("crowdsec", &bouncer);
    let toml = format!(
        "[budget]\nreserve_percent = 0\nburst_percent = 100\nnetwork_percent = 100\nsightings = 1\n\
         [[provider]]\nkind = \"abuseipdb\"\nbase_url = \"http://{0}/api/v2/\"\n\
         key = \"secret:provider\"\nweight = 1.0\ntimeout = \"2s\"\n\
         [[provider]]\nkind = \"http-json\"\nname = \"described\"\n\
         url = \"http://{0}/api/v2/check?ipAddress={{ip}}\"\nheaders = {{ key = \"secret:described\" }}\n\
         score = \"/data/abuseConfidenceScore\"\nweight = 0.1\ntimeout = \"2s\"\n\
         [[feed]]\nname = \"keyed\"\nurl = \"http://{1}/list\"\nformat = \"plain\"\nblock = true\n\
         key = \"secret:list\"\n\
         [[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {2:?}\nkey = \"secret:crowdsec\"\n\
         [secret.provider]\nfrom = \"aws-secrets-manager\"\nname = \"edge/provider\"\n\
         field = \"api_key\"\nrefresh = \"1s\"\n\
         [secret.list]\nfrom = \"aws-ssm\"\nname = \"/edge/list\"\n\
         [secret.described]\nfrom = \"env\"\nname = \"DESCRIBED\"\n\
         [secret.redis]\nfrom = \"env\"\nname = \"REDIS\"\n\
         [secret.unused]\nfrom = \"env\"\nname = \"UNUSED\"\n",
        abuseipdb.address(),
        list.address(),
        crowdsec.url()
    );
    let builder = sidecar_that_blocks(&[]).toml(&toml);
    let builder = builder
        .toml(&folder.toml("admin"))
        .toml(&folder.toml("crowdsec"));
    let builder = builder.redis(&redis.url());
    let builder = builder.store("username = \"edge\"\npassword = \"secret:redis\"");
    let builder = builder.aws(&moto).env("AWS_SECRET_ACCESS_KEY", CLOUD);
    let builder = builder
        .env("PORTCULLIS__LISTEN__ADMIN_TOKEN", "secret:admin")
        .env("DESCRIBED", DESCRIBED)
        .env("REDIS", REDIS)
        .env("UNUSED", UNUSED)
        .env("RUST_LOG", "trace");
    let sidecar = started(builder).await;
    let token = sidecar.folder().join("store/admin.token");
    std::fs::write(&token, ADMIN[0]).unwrap();

    // Used, replaced, refused.
    let mut strangers = Strangers(0);
    strangers.all_known(3, &sidecar, &abuseipdb).await;
    moto.put_secret("edge/provider", &key(PROVIDER[1]))
        .await
        .unwrap();
    abuseipdb.accepts(&[PROVIDER[1], DESCRIBED]);
    folder.put("admin", ADMIN[1]);
    strangers.all_known(3, &sidecar, &abuseipdb).await;
    abuseipdb.accepts(&[]);
    abuseipdb.knows("8.8.8.8", 100);
    verdict(&sidecar, "8.8.8.8").await;
    std::fs::write(&token, ADMIN[1]).unwrap();

    let mut said = Said::default();
    for command in [
        &["secrets", "check"][..],
        &["secrets", "check", "--json"],
        &["secrets"],
        &["secrets", "--json"],
        &["providers"],
        &["providers", "--json"],
        &["feeds"],
        &["feeds", "--json"],
        &["explain", "8.8.1.1"],
        &["explain", "8.8.1.1", "--json"],
        &["check", "8.8.1.2"],
        &["ban", "203.0.113.9"],
        &["decisions"],
        &["mode"],
        &["doctor"],
        &["doctor", "--json"],
        &["ban", "0.0.0.0/1"],
        &["feeds", "release", "keyed"],
        &["check-config", &sidecar.config_file().display().to_string()],
    ] {
        said.command(&sidecar, command).await;
    }
    let broken = sidecar
        .config()
        .replace("weight = 0.1", "weight = \"secret:described\"");
    let faulty = sidecar.folder().join("faulty.toml");
    std::fs::write(&faulty, broken).unwrap();
    said.command(&sidecar, &["check-config", &faulty.display().to_string()])
        .await;
    for (method, path) in [
        ("GET", "/v1/secrets"),
        ("POST", "/v1/secrets/check"),
        ("GET", "/v1/secrets/check"),
        ("GET", "/v1/secrets/provider"),
        ("GET", "/v1/providers"),
        ("GET", "/v1/feeds"),
        ("GET", "/v1/doctor"),
        ("GET", "/v1/mode"),
        ("GET", "/v1/decisions"),
        ("GET", "/v1/check/8.8.2.2"),
        ("GET", "/v1/explain/8.8.2.2"),
        ("GET", "/v1/explain/nobody"),
        ("POST", "/v1/decisions"),
        ("DELETE", "/v1/decisions/0"),
        ("POST", "/v1/feeds/keyed/release"),
        ("PUT", "/v1/mode"),
        ("GET", "/v1/nothing"),
    ] {
        said.admin(&sidecar, method, path).await;
    }
    let forms = in_the_console(&sidecar).await;
    let refused = Request::get("/v1/mode").header("authorization", "Bearer nobody");
    said.add("401", refused.send(sidecar.admin()).await.unwrap().body);
    let edge = Request::get("/v1/verdict/8.8.2.3")
        .send(sidecar.edge())
        .await;
    said.add("the edge API", edge.unwrap().body);
    let metrics = Request::get("/metrics").send(sidecar.metrics()).await;
    said.add("the metrics", metrics.unwrap().body);
    let log = sidecar.log();
    assert!(log.contains("\"level\":\"trace\""), "it logs at trace");
    said.add("the log", log);
    said.files(sidecar.folder());
    let places = said.0.len();
    assert!(places > 40, "{places} places");
    let mut hidden = vec![PLANTED, &bouncer];
    hidden.extend(forms.iter().map(String::as_str));
    said.assert_holds_none_of(&hidden);
}

/// Signs in, sends a form that is refused, and returns what each request and each form of the session
/// carries.
async fn in_the_console(sidecar: &Sidecar) -> [String; 2] {
    let form = |path: &str, fields: String| {
        let request = Request::post(path, fields.into_bytes());
        request.header("content-type", "application/x-www-form-urlencoded")
    };
    let (admin, between) = (sidecar.admin(), |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap();
        rest.split_once(to).unwrap().0.to_owned()
    });
    let login = form("/login", format!("name=ada&token={}", ADMIN[1]));
    let entered = login.send(admin).await.unwrap();
    assert_eq!(entered.status, 303, "{}", entered.text());
    let session = between(&entered.header("set-cookie").unwrap(), "=", ";");
    let cookie = format!("portcullis={session}");
    let page = Request::get("/decisions").header("cookie", &cookie);
    let csrf = between(
        &page.send(admin).await.unwrap().text(),
        "name=\"csrf\" value=\"",
        "\"",
    );
    let faulty = form("/decide", format!("csrf={csrf}&of=nowhere&kind=ban&for=1h"));
    let refused = faulty.header("cookie", &cookie).send(admin).await.unwrap();
    assert_eq!(refused.status, 422, "{}", refused.text());
    [session, csrf]
}
