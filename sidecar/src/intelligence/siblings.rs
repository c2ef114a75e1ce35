//! Keeps up with other sidecars that share the store: what they decide counts here as well, and an epoch
//! that one of them opens is everybody's.

use std::sync::Arc;
use std::time::Duration;

use super::decisions::Decisions;
use super::modes::Modes;
use crate::snapshot::{Changed, Publisher};
use crate::store::{Store, StoreError};
use crate::telemetry::{Sparing, chain};

/// How long to wait after the store could not be read or written.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub struct Siblings {
    pub decisions: Arc<Decisions>,
    pub modes: Arc<Modes>,
    pub store: Arc<dyn Store>,
    pub publisher: Publisher,
}

impl Siblings {
    /// Follows them for as long as it is polled.
    pub async fn follow(self) {
        let warning = Sparing::once_a_minute();
        loop {
            tokio::select! {
                () = self.store.changed() => {}
                () = self.modes.overdue() => {}
            }
            while let Err(error) = self.catch_up().await {
                if warning.is_due() {
                    tracing::warn!(
                        error = chain(&error),
                        "what is decided cannot be shared through the store"
                    );
                }
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        let decided = self.decisions.read_again().await?;
        let switched = self.modes.read_again().await?;
        let epoch = self.store.latest().await?.epoch;
        let ours = self.publisher.current();
        if ours.is_some_and(|ours| ours.manifest.version.epoch < epoch) {
            tracing::info!(epoch, "another sidecar opened an epoch: it is followed");
            self.publisher.changed(Changed::Epoch);
        } else if decided || switched {
            self.publisher.changed(Changed::Words);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use reputation::mode::Mode;
    use reputation::{Action, DecisionKind};

    use super::super::{Claim, NewDecision, Removal};
    use super::*;
    use crate::intelligence::testing::{Harness, until};
    use crate::store::redis::tests::server::Server;

    async fn both(redis: &Server) -> [Harness; 2] {
        [
            Harness::start_beside(redis).await,
            Harness::start_beside(redis).await,
        ]
    }

    fn ban(address: &str) -> NewDecision {
        NewDecision {
            cidr: address.parse().unwrap(),
            kind: DecisionKind::Ban,
            reason: "scanner".to_owned(),
            author: "anna".to_owned(),
            ttl: None,
            force: false,
        }
    }

    #[tokio::test]
    async fn what_one_decides_the_other_publishes_within_half_a_second() {
        let redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        other.published(|_| true).await;
        let address = "9.9.9.9";
        one.intelligence.add_decision(ban(address)).await.unwrap();
        let told = tokio::time::Instant::now();
        other
            .published(|snapshot| other.reason(snapshot, address).is_some())
            .await;
        assert!(told.elapsed() < Duration::from_millis(500));
        assert_eq!(other.verdict(address).await.action, Action::Deny);

        let taken_back = Removal::Bans(address.parse().unwrap());
        let taken_back = other.intelligence.remove_decisions(taken_back).await;
        assert_eq!(taken_back.unwrap().removed.len(), 1);
        one.published(|snapshot| one.reason(snapshot, address).is_none())
            .await;
        let modes = one.intelligence.set_mode(Mode::Monitor, None, None);
        modes.await.unwrap();
        until(|| other.intelligence.modes().len() == 1).await;
    }

    #[tokio::test]
    async fn a_ban_leaves_the_generation_that_all_have_and_its_end_does_not() {
        let redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        let address = "9.9.9.9";
        let generation = async |harness: &Harness, banned: bool| {
            let wanted = |it: &_| harness.reason(it, address).is_some() == banned;
            harness.published(wanted).await.manifest.generation
        };
        for harness in [&one, &other] {
            harness.published(|_| true).await;
        }
        // Each takes everything back when it starts: what both publish after that is numbered alike.
        let set = one.intelligence.set_mode(Mode::Monitor, None, None);
        set.await.unwrap();
        for harness in [&one, &other] {
            let switched = |it: &crate::snapshot::Published| !it.manifest.modes.is_empty();
            harness.published(switched).await;
        }
        let before = generation(&one, false).await;
        assert_eq!(generation(&other, false).await, before);
        one.intelligence.add_decision(ban(address)).await.unwrap();
        assert_eq!(generation(&one, true).await, before);
        assert_eq!(generation(&other, true).await, before);
        let taken_back = Removal::Bans(address.parse().unwrap());
        one.intelligence.remove_decisions(taken_back).await.unwrap();
        assert_ne!(generation(&one, false).await, before);
        assert_ne!(generation(&other, false).await, before);
    }

    #[tokio::test]
    async fn a_mode_that_a_sibling_has_just_set_is_not_lost_by_setting_another() {
        let redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        for round in 0..5 {
            for (harness, name) in [(&one, "one"), (&other, "other")] {
                let route = Some(format!("{name}-{round}"));
                let set = harness.intelligence.set_mode(Mode::Off, route, None);
                set.await.unwrap();
            }
        }
        for harness in [&one, &other] {
            until(|| harness.intelligence.modes().len() == 10).await;
        }
    }

    #[tokio::test]
    async fn of_modes_that_are_set_at_the_same_moment_none_is_lost() {
        let redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        let set = async |harness: &Harness, route: String| {
            let set = harness.intelligence.set_mode(Mode::Off, Some(route), None);
            set.await.unwrap();
        };
        for round in 0..20 {
            tokio::join!(
                set(&one, format!("one-{round}")),
                set(&other, format!("other-{round}"))
            );
        }
        for harness in [&one, &other] {
            until(|| harness.intelligence.modes().len() == 40).await;
        }
    }

    #[tokio::test]
    async fn the_brake_holds_without_the_store_and_reaches_the_siblings_when_it_is_back() {
        let mut redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        one.published(|_| true).await;
        redis.kill();
        let set = one.intelligence.set_mode(Mode::Off, None, None).await;
        let said = chain(&set.unwrap_err());
        assert!(
            said.contains("it holds at this sidecar's proxies"),
            "{said}"
        );
        one.published(|snapshot| snapshot.manifest.modes.len() == 1)
            .await;
        assert!(other.intelligence.modes().is_empty());
        redis.restart().await;
        other
            .published(|snapshot| snapshot.manifest.modes.len() == 1)
            .await;
        assert_eq!(one.intelligence.modes().len(), 1);
    }

    #[tokio::test]
    async fn what_a_sibling_published_is_no_reason_for_an_epoch_and_its_epoch_is_followed() {
        let redis = Server::start("").await;
        let [one, other] = both(&redis).await;
        for host in 0..3 {
            let banned = ban(&format!("203.0.113.{host}"));
            one.intelligence.add_decision(banned).await.unwrap();
        }
        for sidecar in [&one, &other] {
            sidecar.published(|_| true).await;
        }
        let version = |harness: &Harness| {
            let published = harness.intelligence.snapshots().borrow().clone();
            published.unwrap().manifest.version
        };
        let seen = version(&one);
        assert_eq!(other.intelligence.claimed(seen).await, Claim::Believed);
        assert_eq!(version(&other).epoch, version(&one).epoch);

        let mut strange = seen;
        strange.epoch += 5;
        tokio::time::sleep(super::super::epochs::ASK_PAUSE).await;
        assert_eq!(other.intelligence.claimed(strange).await, Claim::Believed);
        assert!(version(&other) > strange);
        let raised = version(&other).epoch;
        one.published(|snapshot| snapshot.manifest.version.epoch == raised)
            .await;
    }
}
