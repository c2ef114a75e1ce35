//! Several sidecars as the endpoints of one cluster. Each numbers and builds what it publishes, so the parts of one are
//! unknown to the other: a proxy has to ask one and the same until that one is gone.

use std::time::{Duration, Instant};

use kit::config::{EdgeConfig, insert};
use kit::error::KitError;
use kit::{Envoy, Redis, Sidecar, Upstream};
use serde_json::json;

use super::sidecar_on;
use crate::common::{CANARY, LIMIT, between, cli, until_status};

const CLIENT: &str = "203.0.113.5";
/// A word given at any of them is enforced within this.
const SOON: Duration = Duration::from_millis(500);
const CLUSTERS: [&str; 2] = ["portcullis", "portcullis_poll"];

struct Fleet {
    envoy: Envoy,
    sidecars: [Sidecar; 2],
    _upstream: Upstream,
    _redis: Redis,
}

/// One proxy of two sidecars; `change` is for its clusters.
async fn fleet(change: impl FnOnce(&mut EdgeConfig) -> Result<(), KitError>) -> Fleet {
    let redis = Redis::start().await.unwrap();
    let upstream = Upstream::start().await.unwrap();
    let sidecars = [
        sidecar_on(&redis).start().await.unwrap(),
        sidecar_on(&redis).start().await.unwrap(),
    ];
    let [first, second] = sidecars.each_ref().map(Sidecar::addresses);
    let builder = between(&upstream, &first).change(|config| {
        for cluster in CLUSTERS {
            config.add_endpoint(cluster, &second.edge, second.probes)?;
        }
        change(config)
    });
    let envoy = builder.unwrap().start().await.unwrap();
    assert!(
        envoy.until_snapshot(LIMIT).await.unwrap(),
        "{}",
        envoy.log()
    );
    Fleet {
        envoy,
        sidecars,
        _upstream: upstream,
        _redis: redis,
    }
}

impl Fleet {
    /// How often a sidecar was asked for a part that it does not have.
    async fn strayed(&self) -> u64 {
        let name = "cluster.portcullis_poll.upstream_rq_404";
        self.envoy.stat(name).await
    }

    /// How long a ban and its end take at the proxy, given at each of them in turn.
    async fn words(&self, rounds: usize) -> Vec<Duration> {
        let mut taken = Vec::new();
        for sidecar in self.sidecars.iter().cycle().take(rounds) {
            for (command, status) in [("ban", 403), ("unban", 200)] {
                cli(sidecar, &[command, CLIENT]).await;
                let begun = Instant::now();
                let done = until_status(&self.envoy, CLIENT, status).await;
                assert!(done, "{command}: {}", self.envoy.log());
                taken.push(begun.elapsed());
            }
        }
        taken
    }
}

#[tokio::test]
async fn of_several_sidecars_a_proxy_asks_one_and_the_next_takes_over_when_that_is_gone() {
    let mut fleet = fleet(|_| Ok(())).await;
    let taken = fleet.words(6).await;
    assert!(taken.iter().all(|taken| *taken < SOON), "{taken:?}");
    assert_eq!(fleet.strayed().await, 0);

    // One after the other, whichever it asks.
    for gone in 0..2 {
        fleet.sidecars[gone].kill();
        let address = format!("198.51.100.{gone}");
        cli(&fleet.sidecars[1 - gone], &["ban", &address]).await;
        let banned = until_status(&fleet.envoy, &address, 403).await;
        assert!(banned, "{}", fleet.envoy.log());
        assert_eq!(fleet.envoy.status_for(CANARY).await, 403);
        fleet.sidecars[gone].restart().await.unwrap();
    }
    for sidecar in &fleet.sidecars {
        assert!(!sidecar.log().contains("higher epoch"), "{}", sidecar.log());
    }
}

/// What the shipped clusters prevent, and what the plugin makes of it where somebody's own do not.
#[tokio::test]
async fn sidecars_that_are_asked_in_turn_miss_parts_and_words_arrive_all_the_same() {
    let fleet = fleet(|config| {
        for cluster in CLUSTERS {
            insert(config.cluster(cluster)?, "lb_policy", json!("ROUND_ROBIN"));
        }
        Ok(())
    })
    .await;
    let taken = fleet.words(6).await;
    assert!(fleet.strayed().await > 0, "nothing went astray");
    let limit = Duration::from_secs(2);
    assert!(taken.iter().all(|taken| *taken < limit), "{taken:?}");
}
