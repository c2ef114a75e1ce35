//! What became of the canary that is sent every so often.

use std::sync::PoisonError;
use std::time::Duration;

use reputation::UnixSeconds;

use super::Metrics;
use super::families::StateLabels;
use crate::patrol::CanaryState;

impl Metrics {
    /// A canary was sent, as one is every `interval`. One that was never refused has the time 0.
    pub fn canary(&self, state: CanaryState, interval: Duration, now: UnixSeconds) {
        let families = &self.families;
        let seconds = i64::try_from(interval.as_secs()).unwrap_or(i64::MAX);
        families.canary_interval.get_or_create(&[]).set(seconds);
        let last_success = families.canary_last_success.get_or_create(&[]);
        if state.proves() {
            last_success.set(now.0.into());
        }
        for each in CanaryState::ALL {
            let labels = StateLabels { state: each.name() };
            let gauge = families.canary_state.get_or_create(&labels);
            gauge.set((each == state).into());
        }
        *self.last_canary() = Some(state);
    }

    /// What became of the last one, if any was sent.
    pub fn canary_state(&self) -> Option<CanaryState> {
        *self.last_canary()
    }

    /// None is sent any more.
    pub fn forget_canary(&self) {
        self.families.canary_interval.clear();
        self.families.canary_last_success.clear();
        self.families.canary_state.clear();
        *self.last_canary() = None;
    }

    fn last_canary(&self) -> std::sync::MutexGuard<'_, Option<CanaryState>> {
        self.canary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
