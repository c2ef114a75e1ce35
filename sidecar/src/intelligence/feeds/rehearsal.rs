//! A new version's trial: for a while what it adds is in shadow, so that it is seen whom it would refuse.
//! The version before stays in force until then. If too many addresses that were lately answered clean would
//! be refused, it is held; a person may end the trial early.

use std::sync::Arc;
use std::time::Duration;

use reputation::UnixSeconds;

use super::guard::Guarded;
use super::keeper::{Earlier, Keeper};
use super::last_good::Copy;
use super::slot::{Judged, Slot, Trial};

impl Keeper {
    /// Says whether the version goes on trial: not if it is the first, or adds nothing.
    pub(super) async fn begin_trial(
        &self,
        slot: &Arc<Slot>,
        guarded: &Guarded,
        copy: &Copy,
    ) -> bool {
        let (lasts, before) = (slot.feed.trial, slot.state().loaded.clone());
        let (Some(lasts), Some(before)) = (lasts, before) else {
            return false;
        };
        let (earlier, next) = (Arc::clone(&before), guarded.listing.clone());
        // A list may have millions of entries.
        let trying = tokio::task::spawn_blocking(move || earlier.trying(&next)).await;
        let Ok(Some(trying)) = trying else {
            return false;
        };
        let trying = Arc::new(trying);
        let ends = self.needs.clock.now().plus(seconds(lasts));
        {
            let mut state = slot.state();
            state.held = None;
            state.loaded = Some(Arc::clone(&trying));
            // The source did its part, however long the trial lasts.
            (state.last_success, state.last_error) = (Some(copy.fetched), None);
            state.trial = Some(Trial {
                copy: copy.clone(),
                before,
                ends,
            });
        }
        let name = &slot.feed.name;
        self.needs.metrics.feed_unchanged(name, copy.fetched);
        let added = trying.shadow.len();
        tracing::info!(feed = name, added, "a new version is tried in shadow");
        self.needs.sources.put_in_force(slot, &trying);
        true
    }

    /// If a version is on trial: whether that changed something, and when to look again. The source is
    /// not asked meanwhile.
    pub(super) async fn go_on_trying(
        &self,
        slot: &Arc<Slot>,
        now: UnixSeconds,
    ) -> Option<(bool, Duration)> {
        let ends = slot.state().trial.as_ref()?.ends;
        if now < ends {
            return Some((false, LOOK));
        }
        let _taking = self.taking.read().await;
        let trial = self.back_out(slot)?;
        let before = Earlier {
            loaded: trial.before,
            // A trial may be too short for anybody to come back: once is enough.
            clean: self.needs.recent.all(),
        };
        match self.judge(slot, &trial.copy, Some(before)).await {
            Judged::Taken(guarded) => self.take(slot, guarded, trial.copy).await,
            Judged::Held(guarded, hold) => self.hold(slot, guarded, trial.copy, &hold),
            Judged::Refused { cause, why } => self.refuse(slot, cause, why),
        }
        Some((true, Duration::ZERO))
    }

    /// Puts the version on trial in force, if there is one.
    pub(super) async fn end_trial(&self, slot: &Arc<Slot>) -> bool {
        let Some(trial) = self.back_out(slot) else {
            return false;
        };
        match self.judge(slot, &trial.copy, None).await {
            Judged::Taken(guarded) => self.take(slot, guarded, trial.copy).await,
            Judged::Held(guarded, hold) => self.hold(slot, guarded, trial.copy, &hold),
            Judged::Refused { cause, why } => self.refuse(slot, cause, why),
        }
        true
    }

    /// As if it had not begun.
    pub(super) fn back_out(&self, slot: &Arc<Slot>) -> Option<Trial> {
        let trial = {
            let mut state = slot.state();
            let trial = state.trial.take()?;
            state.loaded = Some(Arc::clone(&trial.before));
            trial
        };
        self.needs.sources.put_in_force(slot, &trial.before);
        Some(trial)
    }
}

impl Slot {
    /// How long to wait for what is due after `pause`, or for the end of a trial.
    pub(super) fn within_trial(&self, pause: Duration) -> Duration {
        let on_trial = self.state().trial.is_some();
        if on_trial { pause.min(LOOK) } else { pause }
    }
}

/// How often it is looked whether a trial is over: by the clock, which may be set.
const LOOK: Duration = Duration::from_secs(1);

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
