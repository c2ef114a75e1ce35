//! Base and overlay read together. Owns the choice between them; the choice within one image is
//! `set`'s.

use crate::address::ClientAddress;
use crate::decision::DecisionId;
use crate::policy::Band;
use crate::precedence::Rank;
use crate::set::{Basis, Image, Match};
use crate::time::UnixSeconds;

/// Which image an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    Base,
    Overlay,
}

/// The entry that speaks for an address, with what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    pub layer: Layer,
    pub rank: Rank,
    pub prefix_len: u8,
    pub basis: Basis,
    pub band: Band,
    pub score: u8,
    pub reason: &'a str,
    pub decision: Option<DecisionId>,
    pub expires: Option<UnixSeconds>,
}

impl Found<'_> {
    /// Whether more is to be heard: lists alone hold the address to be suspicious, and what else is said
    /// of it may make it worse, or better. What lists alone hold to be malicious is decided.
    pub fn is_open(&self) -> bool {
        (self.rank, self.band) == (Rank::Score, Band::Suspicious)
    }
}

/// The entry that speaks for `address` at `now`: the higher rank, then the longer prefix, then the
/// overlay's. Where the overlay has a mask, the base counts for nothing. Never allocates.
pub fn find<'a, B: AsRef<[u8]>>(
    base: Option<&'a Image<B>>,
    overlay: Option<&'a Image<B>>,
    address: ClientAddress,
    now: UnixSeconds,
) -> Option<Found<'a>> {
    let over = overlay.and_then(|image| Some((image, Layer::Overlay, image.lookup(address, now)?)));
    let under = base.and_then(|image| Some((image, Layer::Base, image.lookup(address, now)?)));
    // Most addresses are in neither image: only for those in the base do masks matter.
    let under = under.filter(|_| !overlay.is_some_and(|overlay| overlay.masks(address)));
    let (image, layer, found) = match (over, under) {
        (Some(over), Some(under)) if wins(under.2, over.2) => under,
        (over, under) => over.or(under)?,
    };
    let class = image.class(found.class)?;
    Some(Found {
        layer,
        rank: found.rank,
        prefix_len: found.prefix_len,
        basis: class.basis,
        band: class.band,
        score: class.score,
        reason: class.reason,
        decision: found.decision,
        expires: found.expires,
    })
}

fn wins(under: Match, over: Match) -> bool {
    (under.rank, under.prefix_len) > (over.rank, over.prefix_len)
}
