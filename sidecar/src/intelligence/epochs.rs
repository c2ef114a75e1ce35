//! What to do when a proxy holds a newer snapshot than ours: another sidecar fed it, or our own past
//! before the store was lost. If that sidecar shares the store, what it published is numbered there, and
//! ours goes beyond it with the next change. Otherwise a higher epoch makes proxies take ours again.
//!
//! Anybody who reaches the edge port can claim to hold anything. So a claim counts only if its epoch,
//! a creation time, is one that a clock could show, and it is followed only every few seconds: each
//! epoch makes every proxy load everything anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reputation::UnixSeconds;
use reputation::manifest::SnapshotVersion;

use crate::clock::Clock;
use crate::snapshot::{Changed, Publisher};
use crate::store::Store;
use crate::telemetry::{Sparing, chain};

/// How far two clocks may be apart, in seconds.
const SKEW: u64 = 86_400;
/// How long after an epoch no other is opened. It doubles with each one up to the longest, and starts
/// anew after twice that long without one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How often the store is asked what others were handed out.
pub(super) const ASK_PAUSE: Duration = Duration::from_millis(100);

/// What becomes of a proxy's claim to hold something newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Ours goes beyond it, now or in a few seconds.
    Believed,
    /// No sidecar can have published that: it counts as if nothing had been said.
    Impossible,
}

pub struct Epochs {
    publisher: Publisher,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    pace: Mutex<Pace>,
    warning: Sparing,
    asking: Sparing,
}

#[derive(Default)]
struct Pace {
    raised: Option<(Instant, Duration)>,
}

impl Epochs {
    pub fn new(publisher: Publisher, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            publisher,
            store,
            clock,
            pace: Mutex::default(),
            warning: Sparing::once_a_minute(),
            asking: Sparing::once_in(ASK_PAUSE),
        }
    }

    /// A proxy says that it holds `seen`.
    pub async fn claimed(self: &Arc<Self>, seen: SnapshotVersion) -> Claim {
        let Some(ours) = self.publisher.current() else {
            // Our first snapshot may well be newer; if it is not, the proxy will ask again.
            return Claim::Believed;
        };
        if ours.manifest.version >= seen {
            return Claim::Believed;
        }
        let Some(epoch) = epoch_beyond(seen, self.clock.now()) else {
            if self.warning.is_due() {
                tracing::warn!(%seen, ours = %ours.manifest.version, "a proxy claims a snapshot \
                    from the future: it is offered ours");
            }
            return Claim::Impossible;
        };
        if !self.asking.is_due() || self.is_siblings(seen).await {
            return Claim::Believed;
        }
        let may_raise = self.pace().may_raise(Instant::now());
        if may_raise {
            let epochs = Arc::clone(self);
            // By itself: a proxy that goes away meanwhile must not leave it half done.
            let _ended = tokio::spawn(async move { epochs.open(epoch, seen).await }).await;
        }
        Claim::Believed
    }

    /// Whether somebody who shares our store was handed out `seen`. If that is in an epoch above ours,
    /// `siblings` has us follow.
    async fn is_siblings(&self, seen: SnapshotVersion) -> bool {
        let latest = self.store.latest().await;
        latest.is_ok_and(|latest| latest >= seen)
    }

    async fn open(&self, epoch: u64, seen: SnapshotVersion) {
        match self.store.raise_epoch(epoch).await {
            Ok(epoch) => {
                tracing::warn!(%seen, epoch, "a proxy holds a newer snapshot than ours: \
                    a higher epoch is opened");
                self.publisher.publish(Changed::Epoch).await;
            }
            Err(error) => {
                tracing::error!(%seen, error = chain(&error), "no higher epoch");
            }
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pace {
    fn may_raise(&mut self, now: Instant) -> bool {
        let pause = match self.raised {
            Some((at, pause)) if now - at < pause => return false,
            Some((at, pause)) if now - at < LONGEST_PAUSE * 2 => (pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.raised = Some((now, pause));
        true
    }
}

/// The epoch to open so that ours is above `seen`, if `seen` can be true.
fn epoch_beyond(seen: SnapshotVersion, now: UnixSeconds) -> Option<u64> {
    let now = u64::from(now.0);
    let epoch = seen.epoch.checked_add(1)?.max(now);
    (epoch <= now.saturating_add(SKEW)).then_some(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intelligence::testing::Harness;

    fn version(epoch: u64, version: u64) -> SnapshotVersion {
        SnapshotVersion { epoch, version }
    }

    #[test]
    fn an_epoch_is_a_time_that_a_clock_can_show() {
        let now = UnixSeconds(1_000_000);
        let beyond = |epoch| epoch_beyond(version(epoch, 7), now);
        assert_eq!(beyond(5), Some(1_000_000));
        assert_eq!(beyond(1_000_000), Some(1_000_001));
        assert_eq!(beyond(1_000_000 + SKEW - 1), Some(1_000_000 + SKEW));
        assert_eq!(beyond(1_000_000 + SKEW), None);
        assert_eq!(beyond(u64::MAX), None);
    }

    #[test]
    fn a_client_that_claims_without_end_gets_fewer_and_fewer_epochs() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let mut raises = |from: u64, seconds: u64| {
            let at = (from..from + seconds).map(|second| start + Duration::from_secs(second));
            at.filter(|now| pace.may_raise(*now)).count()
        };
        assert_eq!(raises(0, 10), 1);
        assert!(raises(10, 86_400) < 40);
        assert_eq!(
            raises(100_000, 10),
            1,
            "after a quiet while it counts at once"
        );
    }

    #[tokio::test]
    async fn a_claim_is_followed_once_and_an_impossible_one_never() {
        let harness = Harness::start("").await;
        let first = harness.published(|_| true).await.manifest.version;
        let claim = |seen| harness.intelligence.claimed(seen);
        assert_eq!(claim(version(u64::MAX, 1)).await, Claim::Impossible);
        let current = || async { harness.published(|_| true).await.manifest.version };
        assert_eq!(current().await, first);

        let newer = version(first.epoch + 5, 1);
        assert_eq!(claim(newer).await, Claim::Believed);
        let raised = current().await;
        assert!(raised > newer && raised.epoch == newer.epoch + 1);

        for more in 10..40 {
            let again = version(first.epoch + more, 1);
            assert_eq!(claim(again).await, Claim::Believed);
        }
        assert_eq!(current().await, raised, "one proxy cannot keep us busy");
    }
}
