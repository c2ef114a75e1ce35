//! `secrets check`: each value is tried on whomever it opens, for as few calls as possible.

use kit::abuseipdb::AbuseIpDb;
use kit::{CrowdSec, Redis, Sidecar};
use serde_json::Value;

use super::{Folder, lister, started};
use crate::common::{cli, sidecar_that_blocks};

const RULES: &str = "~pc:* &pc:* +@all";
/// As long as an admin token must be.
const ADMIN: &str = "an-admin-token-of-a-test-word";
const OTHER_ADMIN: &str = "another-admin-token-of-a-test-word";

struct Parts {
    abuseipdb: AbuseIpDb,
    sidecar: Sidecar,
    folder: Folder,
    _crowdsec: CrowdSec,
    _list: kit::serve::Server,
    _redis: Redis,
}

/// A secret for each kind of user, and one for nobody, all of them good.
async fn everything() -> Parts {
    let (abuseipdb, crowdsec) = (
        AbuseIpDb::start().await.unwrap(),
        CrowdSec::start().await.unwrap(),
    );
    abuseipdb.accepts(&["provider-word"]);
    let redis = Redis::builder().unwrap();
    let redis = redis.user("edge", &format!("on >redis-word {RULES}"));
    let redis = redis.line("user default off").start().await.unwrap();
    let list = lister(&["list-word"]).await;
    let folder = Folder::new();
    folder.put("provider", "provider-word");
    folder.put("crowdsec", &crowdsec.bouncer("edge").unwrap());
    folder.put("redis", "redis-word");
    folder.put("list", "list-word");
    folder.put("admin", ADMIN);
    folder.put("idle", "idle-word");
    let toml = format!(
        "[[provider]]\nkind = \"abuseipdb\"\nbase_url = \"http://{}/api/v2/\"\n\
         key = \"secret:provider\"\ntimeout = \"2s\"\n\
         [[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\nkey = \"secret:crowdsec\"\n\
         [[feed]]\nname = \"keyed\"\nurl = \"http://{}/list\"\nformat = \"plain\"\nblock = true\n\
         key = \"secret:list\"\n",
        abuseipdb.address(),
        crowdsec.url(),
        list.address()
    );
    let names = ["provider", "crowdsec", "redis", "list", "admin", "idle"];
    let secrets: String = names.iter().map(|name| folder.toml(name)).collect();
    let builder = sidecar_that_blocks(&[]).toml(&toml).toml(&secrets);
    let builder = builder.redis(&redis.url());
    let builder = builder.store("username = \"edge\"\npassword = \"secret:redis\"");
    let builder = builder.env("PORTCULLIS__LISTEN__ADMIN_TOKEN", "secret:admin");
    let sidecar = started(builder).await;
    std::fs::write(sidecar.folder().join("store/admin.token"), ADMIN).unwrap();
    Parts {
        abuseipdb,
        sidecar,
        folder,
        _crowdsec: crowdsec,
        _list: list,
        _redis: redis,
    }
}

/// Each trial as `secret user value result`, and whether the command ended well.
async fn checked(sidecar: &Sidecar) -> (Vec<String>, bool) {
    let output = sidecar.cli(&["secrets", "check", "--json"]).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let answer: Value = serde_json::from_str(&shown).unwrap();
    let line = |trial: &Value| {
        let text = |key: &str| trial[key].as_str().unwrap_or("-").to_owned();
        ["secret", "used_by", "value", "result"].map(text).join(" ")
    };
    let trials = answer["trials"].as_array().unwrap().iter();
    assert!(!shown.contains("-word"), "{shown}");
    (trials.map(line).collect(), output.status.success())
}

#[tokio::test]
async fn each_value_is_tried_on_whomever_it_opens() {
    let parts = everything().await;
    let (trials, good) = checked(&parts.sidecar).await;
    let all_taken = [
        "admin listen.admin_token current taken",
        "crowdsec feed crowdsec current taken",
        "idle - current not_tried",
        "list feed keyed current taken",
        "provider provider abuseipdb current taken",
        "redis store.password current taken",
    ];
    assert_eq!(trials, all_taken);
    assert!(good);
    assert_eq!(parts.abuseipdb.asked(), ["1.1.1.1"]);
    let left = cli(&parts.sidecar, &["providers", "--json"]).await;
    let left: Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left["providers"][0]["remaining"], 999, "the call is booked");

    for name in ["provider", "crowdsec", "redis", "list"] {
        parts.folder.put(name, "wrong-word");
    }
    parts.folder.put("admin", OTHER_ADMIN);
    parts.folder.put("idle", "");
    std::fs::write(
        parts.sidecar.folder().join("store/admin.token"),
        OTHER_ADMIN,
    )
    .unwrap();
    let (trials, good) = checked(&parts.sidecar).await;
    let mixed = [
        "admin listen.admin_token current taken",
        "admin listen.admin_token previous taken",
        "crowdsec feed crowdsec current refused",
        "crowdsec feed crowdsec previous taken",
        "idle - current not_tried",
        "list feed keyed current refused",
        "list feed keyed previous taken",
        "provider provider abuseipdb current refused",
        "provider provider abuseipdb previous taken",
        "redis store.password current refused",
        "redis store.password previous taken",
    ];
    assert_eq!(trials, mixed);
    assert!(!good, "a refused value is a reason to end badly");
    assert_eq!(parts.abuseipdb.asked().len(), 3, "a call for each value");
    let output = parts.sidecar.cli(&["secrets", "check"]).await.unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(
        page.contains("2 calls of the providers' quota used"),
        "{page}"
    );
    assert!(page.contains("4 values fall short"), "{page}");
}
