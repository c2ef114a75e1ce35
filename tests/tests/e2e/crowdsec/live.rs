//! Live mode: the real Local API is asked about addresses that no proxy knows.

use std::time::{Duration, Instant};

use kit::{CrowdSec, eventually_async};

use super::{CLIENT, OTHER};
use crate::common::{Edge, LIMIT, sidecar_that_blocks, until_status};

#[tokio::test]
async fn an_unknown_address_is_asked_about_and_what_is_deleted_passes_after_the_cache() {
    let crowdsec = CrowdSec::start().await.unwrap();
    let key = crowdsec.bouncer("edge").unwrap();
    let toml = format!(
        "[[feed]]\nname = \"crowdsec\"\nformat = \"crowdsec\"\nmode = \"live\"\nurl = {:?}\n\
         key = \"secret:crowdsec\"\ncache = \"1s\"\ntimeout = \"2s\"\n\
         [secret.crowdsec]\nfrom = \"env\"\nname = \"CROWDSEC_KEY\"\n",
        crowdsec.url()
    );
    let sidecar = sidecar_that_blocks(&[]).toml(&toml);
    let edge = Edge::start(sidecar.env("CROWDSEC_KEY", &key)).await;
    assert!(until_status(&edge.envoy, CLIENT, 200).await);

    let range = ["decisions", "add", "--range", "203.0.113.0/25", "-d", "1h"];
    crowdsec.cscli(&range).unwrap();
    assert!(
        until_status(&edge.envoy, CLIENT, 403).await,
        "{}",
        edge.sidecar.log()
    );
    let explained = edge.cli(&["explain", CLIENT]).await;
    for word in ["source_decision", "203.0.113.0/25", "crowdsec"] {
        assert!(explained.contains(word), "{word}: {explained}");
    }
    let delete = ["decisions", "delete", "--range", "203.0.113.0/25"];
    crowdsec.cscli(&delete).unwrap();
    assert!(
        until_status(&edge.envoy, CLIENT, 200).await,
        "{}",
        edge.sidecar.log()
    );

    let mut crowdsec = crowdsec;
    crowdsec.kill();
    let begun = Instant::now();
    assert_eq!(edge.envoy.status_for(OTHER).await, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let told = async || edge.cli(&["feeds"]).await.contains("cannot be reached");
    assert!(eventually_async(LIMIT, told).await);
}
