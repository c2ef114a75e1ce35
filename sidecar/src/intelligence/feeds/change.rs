//! Follows the configuration: feeds that come and go, and a guard that changes beneath those that stay.
//!
//! What stays as it was keeps everything: entries, timers, what is held. What is configured differently
//! begins anew, as at a start; until it has a version of its own, what it listed before stays in force
//! as it was meant then. So neither a slip in a URL nor a slow server takes a list away.

use std::sync::Arc;

use super::FeedsView;
use super::keeper::Keeper;
use super::slot::{Judged, Slot};
use crate::config::Feed;
use crate::intelligence::setup::Setup;
use crate::intelligence::sources::View;
use crate::secrets::Secrets;

impl Keeper {
    /// The places of `feeds` in a configuration that follows `before`.
    pub fn places(&self, feeds: &[Feed], secrets: &Secrets, before: &Setup) -> Vec<Arc<Slot>> {
        let place = |feed: &Feed| match before.same_feed(feed, secrets) {
            Some(same) => Arc::clone(same),
            None => Arc::new(Slot::new(feed.clone(), self.needs.shutdown.child_token())),
        };
        feeds.iter().map(place).collect()
    }

    /// Puts `next` in place of the configuration in force, and its feeds' lives in place of those that
    /// are in it no more. Returns when all that needs no network is loaded.
    pub async fn change(self: &Arc<Self>, next: Setup) {
        let next = Arc::new(next);
        let before = self.swap(&next).await;
        let (kept, new): (Vec<_>, Vec<_>) = next
            .feeds
            .iter()
            .partition(|slot| stands_in(slot, &before.feeds));
        for slot in &new {
            let feed = &slot.feed;
            self.needs.metrics.feed_configured(&feed.name, feed.refresh);
            self.load(slot).await;
        }
        // Only now: the first snapshot of all has whatever is on the disk.
        for slot in &new {
            self.keep(slot);
        }
        if next.guard != before.guard {
            for slot in &kept {
                self.read_again(slot).await;
            }
        }
        for gone in before.feeds.iter().map(|slot| &slot.feed.name) {
            if next.feed(gone).is_none() {
                self.needs.metrics.forget_feed(gone);
            }
        }
    }

    /// No version is taken meanwhile, so that none of a feed that is gone comes after this.
    async fn swap(&self, next: &Arc<Setup>) -> Arc<Setup> {
        let _alone = self.taking.write().await;
        let before = Arc::clone(&self.needs.sources.view().setup);
        let in_force = |slot: &Arc<Slot>| {
            if !stands_in(slot, &before.feeds)
                && let Some(forerunner) = before.feed(&slot.feed.name)
            {
                slot.state().inherited = forerunner.in_force();
            }
            slot.in_force()
        };
        self.needs.sources.set_view(View {
            setup: Arc::clone(next),
            feeds: FeedsView::new(next.feeds.iter().map(in_force).collect()),
        });
        for slot in &before.feeds {
            if !stands_in(slot, &next.feeds) {
                slot.ended.cancel();
            }
        }
        before
    }

    /// Reads the version in force under the guard and at the time as they are now, and what is held too. If
    /// that cannot be done, what is there stays.
    pub(super) async fn read_again(&self, slot: &Arc<Slot>) {
        let _alone = self.taking.write().await;
        let held = slot.state().held.take().map(|held| held.copy);
        let tried = self.back_out(slot).map(|trial| trial.copy);
        let copy = self.last_good(slot).await;
        let fetched = slot.state().fetched();
        // Where the copy could not be kept, the one on disk is older than what is in force.
        if let Some(copy) = copy.filter(|copy| Some(copy.fetched) == fetched) {
            match self.judge(slot, &copy, None).await {
                Judged::Taken(guarded) => self.put_in_force_again(slot, guarded),
                Judged::Held(..) => {}
                Judged::Refused { cause, why } => self.refuse(slot, cause, why),
            }
        }
        if let Some(newest) = held.or(tried) {
            self.try_in(slot, newest).await;
        }
    }
}

/// Whether it is the very same, not one that is configured alike.
fn stands_in(slot: &Arc<Slot>, slots: &[Arc<Slot>]) -> bool {
    slots.iter().any(|other| Arc::ptr_eq(slot, other))
}
