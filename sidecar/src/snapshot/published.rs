//! A snapshot as it is handed out: the manifest, the parts, and the images themselves, which the
//! sidecar reads exactly as the filter does.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hyper::body::Bytes;
use reputation::digest::Digest;
use reputation::lookup::{Found, find};
use reputation::manifest::Manifest;
use reputation::set::Image;
use reputation::{Cidr, ClientAddress, UnixSeconds};

use super::image::Built;
use super::overlay::State;
use crate::intelligence::prefixes::{PrefixMap, PrefixMapBuilder};

/// How many bases and overlays can still be fetched, the current ones included, so that a slow proxy
/// finishes what it began.
const BASES_KEPT: usize = 3;
const OVERLAYS_KEPT: usize = 16;

pub struct Published {
    pub manifest: Manifest,
    /// The manifest as it is sent.
    pub json: Bytes,
    /// The parts of this snapshot and of a few before it.
    pub parts: HashMap<Digest, Bytes>,
    base: Arc<Image<Bytes>>,
    overlay: Arc<Image<Bytes>>,
    state: State,
    decided: PrefixMap<()>,
}

/// The parts of the last images.
#[derive(Default)]
pub struct History {
    bases: VecDeque<Parts>,
    overlays: VecDeque<Parts>,
}

type Parts = Vec<(Digest, Bytes)>;

impl Published {
    pub fn new(
        manifest: Manifest,
        parts: HashMap<Digest, Bytes>,
        (base, overlay): (&Built, &Built),
        state: State,
    ) -> Result<Self, serde_json::Error> {
        let json = Bytes::from(serde_json::to_vec(&manifest)?);
        let mut decided = PrefixMapBuilder::new();
        for decision in state.decisions.values() {
            decided.push(decision.cidr, ());
        }
        Ok(Self {
            manifest,
            json,
            parts,
            base: Arc::clone(&base.image),
            overlay: Arc::clone(&overlay.image),
            state,
            decided: decided.build(),
        })
    }

    /// The entry that speaks for `address`, as the filter finds it.
    pub fn find(&self, address: ClientAddress, now: UnixSeconds) -> Option<Found<'_>> {
        find(Some(&self.base), Some(&self.overlay), address, now)
    }

    /// Whether an entry inside `cidr` has a longer prefix, so that its addresses are not all alike.
    pub fn splits(&self, cidr: Cidr) -> bool {
        let words = &self.state.words.entries;
        self.state.listed.entries.splits(cidr) || self.decided.splits(cidr) || words.splits(cidr)
    }

    pub fn state(&self) -> &State {
        &self.state
    }
}

impl History {
    pub fn keep_base(&mut self, built: &Built) {
        keep(&mut self.bases, built, BASES_KEPT);
    }

    pub fn keep_overlay(&mut self, built: &Built) {
        keep(&mut self.overlays, built, OVERLAYS_KEPT);
    }

    pub fn parts(&self) -> HashMap<Digest, Bytes> {
        let images = self.bases.iter().chain(&self.overlays);
        images.flatten().cloned().collect()
    }
}

fn keep(images: &mut VecDeque<Parts>, built: &Built, most: usize) {
    images.push_back(built.parts.clone());
    if images.len() > most {
        images.pop_front();
    }
}
