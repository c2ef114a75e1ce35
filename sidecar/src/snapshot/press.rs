//! The task that builds snapshots and hands them out: it is told what changed, gathers changes for a few
//! milliseconds, and publishes.
//!
//! What feeds list is compiled beside it (`prepare`), so that a ban never waits for a long list: for a
//! decision only the overlay is built anew. All building is off the async threads.

use std::sync::Arc;
use std::time::Duration;

use reputation::UnixSeconds;
use reputation::manifest::{FORM, Manifest, SnapshotVersion};
use reputation::set::{Kind, Meta};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};

use super::compile::Catalogue;
use super::image::{self, BuildFault, Built};
use super::overlay::{self, ListedDelta, Plan, State};
use super::prepare::{Preparation, Prepared, prepare};
use super::publish::{Changed, Order, Workshop};
use super::published::{History, Published};
use crate::intelligence::setup::Setup;
use crate::store::{Number, Step, StoreError};
use crate::telemetry::chain;

/// How long a proxy may take up a snapshot, in seconds.
const VALID_FOR: u32 = 24 * 3600;
/// With how many seconds left a snapshot is built anew although nothing changed, and how often that is
/// looked at. By the clock, which runs on while the machine sleeps and may be set.
const RENEW_WITH: u32 = VALID_FOR / 2;
const RENEW_LOOK: Duration = Duration::from_secs(60);
/// How long changes are gathered before they are published.
const GATHER: Duration = Duration::from_millis(3);
/// How long to wait after the store or a build failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Error)]
enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Build(#[from] BuildFault),
    #[error("the manifest cannot be written")]
    Manifest(#[from] serde_json::Error),
    #[error("the building task failed")]
    Task(#[from] JoinError),
}

/// An overlay before it is built and numbered.
type Planned = (Plan, Step);

/// The base that overlays are complete against.
pub struct Base {
    pub state: State,
    pub built: Built,
    pub valid_until: UnixSeconds,
}

pub(super) struct Press {
    workshop: Workshop,
    out: watch::Sender<Option<Arc<Published>>>,
    catalogue: Arc<std::sync::Mutex<Catalogue>>,
    /// The configuration that `listed` was compiled under.
    setup: Arc<Setup>,
    /// Whether something in it has no say yet.
    has_shadow: bool,
    base: Option<Arc<Base>>,
    /// What the feeds list now, and how it differs from the base.
    listed: Arc<super::compile::Listed>,
    delta: Arc<ListedDelta>,
    history: History,
    /// Something was taken back that the next snapshot's generation must tell.
    taken_back: bool,
    preparing: Option<JoinHandle<Result<Prepared, BuildFault>>>,
    wants_preparation: bool,
    wants_base: bool,
    wants_publication: bool,
    /// Who waits for the next publication, for that after the preparation under way, and for that
    /// after the next preparation.
    waiting: Vec<oneshot::Sender<()>>,
    waiting_for_this: Vec<oneshot::Sender<()>>,
    waiting_for_next: Vec<oneshot::Sender<()>>,
}

impl Press {
    pub fn new(workshop: Workshop, out: watch::Sender<Option<Arc<Published>>>) -> Self {
        Self {
            workshop,
            out,
            catalogue: Arc::default(),
            setup: Arc::default(),
            has_shadow: false,
            base: None,
            listed: Arc::default(),
            delta: Arc::default(),
            history: History::default(),
            taken_back: true,
            preparing: None,
            wants_preparation: false,
            wants_base: true,
            wants_publication: false,
            waiting: Vec::new(),
            waiting_for_this: Vec::new(),
            waiting_for_next: Vec::new(),
        }
    }

    pub async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let shutdown = self.workshop.shutdown.clone();
        let mut look = tokio::time::interval(RENEW_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let failed = self.work().await.err();
            if let Some(error) = &failed {
                tracing::error!(error = chain(error), "no new snapshot");
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY_AFTER), if failed.is_some() => {}
                order = orders.recv() => match order {
                    Some(order) => self.gather(order, &mut orders).await,
                    None => return,
                },
                prepared = finished(&mut self.preparing) => self.adopt(prepared),
                _ = look.tick() => if self.is_due() { self.note(Changed::Epoch) },
            }
        }
    }

    /// Whether the base ends soon, or later than it can if the clock is right.
    fn is_due(&self) -> bool {
        let now = self.workshop.clock.now();
        let left = self.base.as_ref().map(|base| now.until(base.valid_until));
        left.is_some_and(|left| !(RENEW_WITH..=VALID_FOR).contains(&left))
    }

    async fn gather(&mut self, first: Order, orders: &mut mpsc::UnboundedReceiver<Order>) {
        tokio::time::sleep(GATHER).await;
        let mut next = Some(first);
        while let Some(order) = next {
            self.note(order.changed);
            match order.changed {
                Changed::Words => self.waiting.extend(order.done),
                Changed::Feeds | Changed::Epoch => self.waiting_for_next.extend(order.done),
            }
            next = orders.try_recv().ok();
        }
    }

    fn note(&mut self, changed: Changed) {
        match changed {
            Changed::Feeds => self.wants_preparation = true,
            Changed::Words => self.wants_publication = true,
            Changed::Epoch => (self.wants_preparation, self.wants_base) = (true, true),
        }
    }

    async fn work(&mut self) -> Result<(), PublishError> {
        if self.wants_publication {
            self.publish().await?;
        }
        if self.wants_preparation && self.preparing.is_none() {
            self.prepare().await?;
        }
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), PublishError> {
        let number = self.workshop.store.next_number(Step::Adds).await?;
        let preparation = Preparation {
            sources: Arc::clone(&self.workshop.sources),
            view: self.workshop.sources.view(),
            catalogue: Arc::clone(&self.catalogue),
            base: self.base.clone().filter(|_| !self.wants_base),
            before: Arc::clone(&self.listed),
            meta: self.meta(Kind::Base, number.version, VALID_FOR),
        };
        (self.wants_preparation, self.wants_base) = (false, false);
        self.waiting_for_this.append(&mut self.waiting_for_next);
        self.preparing = Some(tokio::task::spawn_blocking(move || prepare(preparation)));
        Ok(())
    }

    fn adopt(&mut self, prepared: Result<Result<Prepared, BuildFault>, JoinError>) {
        let prepared = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(fault)) => return self.keep_old(&fault),
            Err(fault) => return self.keep_old(&fault),
        };
        self.waiting.append(&mut self.waiting_for_this);
        if let Some(base) = prepared.new_base {
            self.history.keep_base(&base.built);
            self.base = Some(Arc::new(base));
            self.taken_back = true;
        }
        // Proxies keep verdicts that no entry tells of: under another configuration they may be others.
        self.taken_back |= prepared.takes_back || !Arc::ptr_eq(&self.setup, &prepared.setup);
        // They keep what they were told of the shadow, too.
        self.taken_back |= self.has_shadow || prepared.has_shadow;
        self.has_shadow = prepared.has_shadow;
        self.setup = prepared.setup;
        self.listed = prepared.listed;
        self.delta = Arc::new(prepared.delta);
        self.wants_publication = true;
    }

    /// Who waits for it waits in vain, and is told so.
    fn keep_old(&mut self, fault: &dyn std::error::Error) {
        let error = chain(fault);
        tracing::error!(
            error,
            "the feeds cannot be compiled: the last snapshot stays"
        );
        self.waiting_for_this.clear();
    }

    /// Builds the overlay of the current state and hands out the snapshot. Without a base there is
    /// nothing to hand out yet, and if the overlay grew too large a new base comes first.
    async fn publish(&mut self) -> Result<(), PublishError> {
        let Some(base) = self.base.clone() else {
            return Ok(());
        };
        let state = State {
            listed: Arc::clone(&self.listed),
            decisions: self.workshop.sources.decisions(),
            words: self.workshop.sources.words(),
        };
        let Some((plan, step)) = self.plan(&base, &state).await? else {
            (self.wants_preparation, self.wants_base) = (true, true);
            self.wants_publication = false;
            return Ok(());
        };
        let number = self.workshop.store.next_number(step).await?;
        let published = self.build(base, state, plan, number).await?;
        let (version, overlay) = (number.version, published.manifest.overlay.length);
        tracing::debug!(%version, overlay, "snapshot published");
        self.out.send_replace(Some(Arc::new(published)));
        (self.wants_publication, self.taken_back) = (false, false);
        for done in self.waiting.drain(..) {
            let _gone = done.send(());
        }
        Ok(())
    }

    /// What the overlay holds, and whether it takes something back; `None` if it would be too large.
    async fn plan(&self, base: &Arc<Base>, state: &State) -> Result<Option<Planned>, PublishError> {
        let (base, state, delta) = (Arc::clone(base), state.clone(), Arc::clone(&self.delta));
        let (before, taken_back) = (self.out.borrow().clone(), self.taken_back);
        let now = self.workshop.clock.now();
        let planned = tokio::task::spawn_blocking(move || {
            let plan = overlay::plan(&base.state, &state, &delta, overlay::MAX_ENTRIES, now)?;
            let takes_back =
                |before: Arc<Published>| overlay::takes_back(before.state(), &state, now);
            let step = if taken_back || before.is_some_and(takes_back) {
                Step::TakesBack
            } else {
                Step::Adds
            };
            Some((plan, step))
        });
        Ok(planned.await?)
    }

    async fn build(
        &mut self,
        base: Arc<Base>,
        state: State,
        plan: Plan,
        number: Number,
    ) -> Result<Published, PublishError> {
        let remaining = self.workshop.clock.now().until(base.valid_until);
        let kind = Kind::Overlay {
            base: base.built.reference.digest,
        };
        let meta = self.meta(kind, number.version, remaining);
        let building = {
            let state = state.clone();
            move || image::overlay(&plan, &state, meta)
        };
        let overlay = tokio::task::spawn_blocking(building).await??;
        self.history.keep_overlay(&overlay);
        let manifest = self.manifest(number, &base, &overlay, meta);
        let parts = self.history.parts();
        let finishing = move || Published::new(manifest, parts, (&base.built, &overlay), state);
        Ok(tokio::task::spawn_blocking(finishing).await??)
    }

    fn manifest(&self, number: Number, base: &Base, overlay: &Built, meta: Meta) -> Manifest {
        let modes = self.workshop.sources.modes();
        let in_force = |mode: &&reputation::mode::ModeOverride| mode.in_force(meta.built_at);
        Manifest {
            wire: FORM,
            version: number.version,
            generation: number.generation(),
            base: base.built.reference.clone(),
            overlay: overlay.reference.clone(),
            built_at: meta.built_at,
            valid_until: meta.valid_until,
            lookups: self.setup.can_ask(),
            shadow_lookups: self.has_shadow,
            modes: modes.iter().filter(in_force).cloned().collect(),
        }
    }

    fn meta(&self, kind: Kind, version: SnapshotVersion, valid_for: u32) -> Meta {
        let built_at = self.workshop.clock.now();
        Meta {
            kind,
            version,
            built_at,
            valid_until: built_at.plus(valid_for),
        }
    }
}

/// The result of the task, once there is one.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    let Some(running) = task.as_mut() else {
        return std::future::pending().await;
    };
    let result = running.await;
    *task = None;
    result
}

#[cfg(test)]
mod tests {
    use reputation::decision::Origin;
    use reputation::{Cidr, ClientAddress, Decision, DecisionId, DecisionKind};
    use tokio_util::sync::{CancellationToken, DropGuard};

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::intelligence::sources::{DecisionMap, Sources};
    use crate::snapshot::{Published, Publisher};
    use crate::store::embedded::EmbeddedStore;

    struct Rig {
        sources: Arc<Sources>,
        publisher: Publisher,
        _directory: tempfile::TempDir,
        _running: DropGuard,
    }

    async fn workshop(directory: &std::path::Path, clock: Arc<ManualClock>) -> Workshop {
        let store = EmbeddedStore::open(directory, clock.now()).await.unwrap();
        Workshop {
            sources: Arc::new(Sources::default()),
            store: Arc::new(store),
            clock,
            shutdown: CancellationToken::new(),
        }
    }

    async fn start() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(UnixSeconds(1000)));
        let workshop = workshop(directory.path(), clock).await;
        let (shutdown, sources) = (workshop.shutdown.clone(), Arc::clone(&workshop.sources));
        let publisher = Publisher::start(workshop);
        publisher.publish(Changed::Feeds).await;
        Rig {
            sources,
            publisher,
            _directory: directory,
            _running: shutdown.drop_guard(),
        }
    }

    fn bans(count: u32) -> DecisionMap {
        let ban = |at: u32| {
            let decision = Decision {
                id: DecisionId(u64::from(at) + 1),
                cidr: Cidr::host(ClientAddress::V4(0x0900_0000 + at)),
                kind: DecisionKind::Ban,
                origin: Origin::Operator,
                reason: "many".to_owned(),
                author: String::new(),
                created: UnixSeconds(1000),
                expires: None,
            };
            (decision.id, Arc::new(decision))
        };
        (0..count).map(ban).collect()
    }

    fn refuses(published: &Published, at: u32) -> bool {
        let address = ClientAddress::V4(0x0900_0000 + at);
        published.find(address, UnixSeconds(1000)).is_some()
    }

    #[tokio::test]
    async fn a_snapshot_is_renewed_by_the_clock_whichever_way_it_jumps() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(UnixSeconds(1_000_000)));
        let workshop = workshop(directory.path(), Arc::clone(&clock)).await;
        let mut press = Press::new(workshop, watch::channel(None).0);
        assert!(!press.is_due());
        for jump in [13 * 3600, 0_u32.wrapping_sub(30 * 3600), 100 * 86_400] {
            press.note(Changed::Epoch);
            press.prepare().await.unwrap();
            let prepared = finished(&mut press.preparing).await;
            press.adopt(prepared);
            assert!(!press.is_due());
            clock.advance(jump);
            assert!(press.is_due(), "{jump}");
        }
    }

    #[tokio::test]
    async fn more_decisions_than_an_overlay_holds_become_a_new_base() {
        let rig = start().await;
        let before = rig.publisher.current().unwrap();
        let many = u32::try_from(overlay::MAX_ENTRIES).unwrap() + 1;
        rig.sources.set_decisions(bans(many));
        rig.publisher.publish(Changed::Words).await;
        let after = rig.publisher.current().unwrap();
        assert_ne!(after.manifest.base.digest, before.manifest.base.digest);
        assert!(refuses(&after, 0) && refuses(&after, many - 1));
        assert!(!refuses(&after, many));

        rig.sources.set_decisions(bans(many - 1));
        rig.publisher.publish(Changed::Words).await;
        let fewer = rig.publisher.current().unwrap();
        assert_eq!(fewer.manifest.base.digest, after.manifest.base.digest);
        assert!(!refuses(&fewer, many - 1));
        assert_ne!(fewer.manifest.generation, after.manifest.generation);
    }
}
