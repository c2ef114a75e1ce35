//! A Local API behind TLS: certificates in place of keys, replaced while it runs, of the wrong unit, expired.

use std::path::PathBuf;

use kit::{CrowdSec, CrowdSecTls, eventually_async};
use serde_json::Value;

use super::{CLIENT, OTHER, shows};
use crate::authority::Authority;
use crate::common::{Edge, LIMIT, sidecar_that_blocks, until_status};

const UNIT: &str = "bouncers";

async fn crowdsec_by(authority: &Authority) -> CrowdSec {
    let [certificate, key] = authority.pair("server");
    let tls = CrowdSecTls {
        certificate,
        key,
        authority: authority.root(),
        bouncers: UNIT.to_owned(),
    };
    CrowdSec::start_with(Some(tls)).await.unwrap()
}

/// An edge whose sidecar is let in by `access`, lines of its feed.
async fn edge(crowdsec: &CrowdSec, authority: &Authority, access: &str) -> Edge {
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\nrefresh = \"2s\"\n\
         ca = {:?}\n{access}\n",
        crowdsec.url(),
        authority.root(),
    );
    Edge::start(sidecar_that_blocks(&[]).toml(&toml)).await
}

fn shown([certificate, key]: &[PathBuf; 2]) -> String {
    format!("client_certificate = {certificate:?}\nclient_key = {key:?}")
}

/// Puts copies of these files in the place of those.
fn put([from, key_from]: [PathBuf; 2], [to, key_to]: &[PathBuf; 2]) {
    for (from, to) in [(key_from, key_to), (from, to)] {
        let fresh = to.with_extension("new");
        std::fs::copy(from, &fresh).unwrap();
        std::fs::rename(fresh, to).unwrap();
    }
}

async fn until_told(edge: &Edge, what: &str) -> bool {
    let told = async || edge.cli(&["feeds"]).await.contains(what);
    eventually_async(LIMIT, told).await
}

/// The bouncers that the Local API noted.
fn bouncers(crowdsec: &CrowdSec) -> Vec<String> {
    let text = crowdsec.cscli(&["bouncers", "list", "-o", "json"]).unwrap();
    let listed: Value = serde_json::from_str(&text).unwrap();
    let each = listed.as_array().unwrap().iter();
    each.map(|bouncer| bouncer["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_certificate_lets_in_and_one_that_replaces_it_loses_no_decision() {
    let authority = Authority::new("ours");
    let crowdsec = crowdsec_by(&authority).await;
    let client = authority.client("portcullis", UNIT);
    let edge = edge(&crowdsec, &authority, &shown(&client)).await;
    let add = |address| ["decisions", "add", "--ip", address, "-d", "1h"];
    shows(&crowdsec, &edge, &add(CLIENT), CLIENT, 403).await;
    assert_eq!(bouncers(&crowdsec), ["portcullis@127.0.0.1"]);

    let second = authority.client("portcullis-2", UNIT);
    put(second, &client);
    let noted = async || bouncers(&crowdsec).len() == 2;
    assert!(
        eventually_async(LIMIT, noted).await,
        "{:?}",
        bouncers(&crowdsec)
    );
    shows(&crowdsec, &edge, &add(OTHER), OTHER, 403).await;
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    let delete = ["decisions", "delete", "--ip", CLIENT];
    shows(&crowdsec, &edge, &delete, CLIENT, 200).await;
}

#[tokio::test]
async fn a_certificate_of_another_unit_is_refused_and_told() {
    let authority = Authority::new("ours");
    let crowdsec = crowdsec_by(&authority).await;
    let client = authority.client("portcullis", "machines");
    let edge = edge(&crowdsec, &authority, &shown(&client)).await;
    let refused = until_told(&edge, "refuses the certificate").await;
    assert!(refused, "{}", edge.cli(&["feeds"]).await);
    assert!(edge.cli(&["feeds"]).await.contains("bouncers_allowed_ou"));
}

#[tokio::test]
async fn a_key_goes_by_tls_too_and_a_file_that_is_missing_is_named() {
    let authority = Authority::new("ours");
    let crowdsec = crowdsec_by(&authority).await;
    let key = crowdsec.bouncer("edge").unwrap();
    let by_key = format!(
        "key = \"secret:crowdsec\"\n[secret.crowdsec]\nfrom = \"env\"\nname = \"CROWDSEC_KEY\"\n\
         [[feed]]\nname = \"lost\"\nformat = \"crowdsec\"\nurl = {:?}\nclient_certificate = \
         \"/nowhere/bouncer.pem\"\nclient_key = \"/nowhere/bouncer.key\"",
        crowdsec.url()
    );
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nurl = {:?}\nrefresh = \"2s\"\n\
         ca = {:?}\n{by_key}\n",
        crowdsec.url(),
        authority.root(),
    );
    let sidecar = sidecar_that_blocks(&[]).toml(&toml);
    let edge = Edge::start(sidecar.env("CROWDSEC_KEY", &key)).await;
    let add = ["decisions", "add", "--ip", CLIENT, "-d", "1h"];
    shows(&crowdsec, &edge, &add, CLIENT, 403).await;
    let named = until_told(&edge, "/nowhere/bouncer.pem cannot be read").await;
    assert!(named, "{}", edge.cli(&["feeds"]).await);
}

#[tokio::test]
async fn an_expired_certificate_marks_the_source_and_what_was_known_stays() {
    let authority = Authority::new("ours");
    let mut crowdsec = crowdsec_by(&authority).await;
    let client = authority.client("portcullis", UNIT);
    let edge = edge(&crowdsec, &authority, &shown(&client)).await;
    let add = ["decisions", "add", "--ip", CLIENT, "-d", "1h"];
    shows(&crowdsec, &edge, &add, CLIENT, 403).await;
    let (used, good) = (authority.pair("server"), authority.pair("good"));
    put(used.clone(), &good);
    put(authority.pair("expired"), &used);
    crowdsec.restart().await.unwrap();
    assert!(
        until_told(&edge, "expired").await,
        "{}",
        edge.cli(&["feeds"]).await
    );
    assert_eq!(edge.envoy.status_for(CLIENT).await, 403);
    put(good, &used);
    crowdsec.restart().await.unwrap();
    crowdsec
        .cscli(&["decisions", "delete", "--ip", CLIENT])
        .unwrap();
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "{}",
        edge.sidecar.log()
    );
}
