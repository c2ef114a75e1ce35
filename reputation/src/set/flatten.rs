//! Nested prefixes made into disjoint ranges. Owns which prefix speaks for an address that lies in
//! several: the higher rank, then the longer, then the stronger class.

use std::cmp::Reverse;

use super::attributes::Attribute;
use super::class::ClassId;
use super::place::Key;

/// A prefix on its way into an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix<K> {
    pub key: K,
    pub len: u8,
    /// Larger is stronger.
    pub class: ClassId,
}

/// Reaches up to the next range's start; the last one to the end. Without attribute it is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<K> {
    pub start: K,
    pub attribute: Option<Attribute>,
}

/// A prefix that the sweep is inside of.
struct Open<K> {
    last: K,
    /// What speaks inside it.
    attribute: Attribute,
}

/// Sweeps over the prefixes, which are nested or apart, never crossing. Neighbouring ranges differ.
pub(super) fn flatten<K: Key>(
    mut prefixes: Vec<Prefix<K>>,
    rank: impl Fn(ClassId) -> u8,
) -> Vec<Range<K>> {
    prefixes.sort_unstable_by_key(|one| (one.key, one.len, Reverse(one.class)));
    prefixes.dedup_by(|one, before| (one.key, one.len) == (before.key, before.len));
    let mut ranges = Vec::with_capacity(prefixes.len());
    let mut open: Vec<Open<K>> = Vec::new();
    for prefix in prefixes {
        while open.last().is_some_and(|inner| inner.last < prefix.key) {
            close(&mut open, &mut ranges);
        }
        let own = Attribute {
            class: prefix.class,
            prefix_len: prefix.len,
        };
        let outer = open.last().map(|outer| outer.attribute);
        // The inner prefix is the longer one: it yields to a higher rank only.
        let attribute = outer
            .filter(|outer| rank(outer.class) > rank(own.class))
            .unwrap_or(own);
        append(
            &mut ranges,
            Range {
                start: prefix.key,
                attribute: Some(attribute),
            },
        );
        open.push(Open {
            last: prefix.key.last(prefix.len),
            attribute,
        });
    }
    while !open.is_empty() {
        close(&mut open, &mut ranges);
    }
    ranges
}

fn close<K: Key>(open: &mut Vec<Open<K>>, ranges: &mut Vec<Range<K>>) {
    let behind = open.pop().and_then(|inner| inner.last.next());
    if let Some(start) = behind {
        append(
            ranges,
            Range {
                start,
                attribute: open.last().map(|outer| outer.attribute),
            },
        );
    }
}

/// Adds a range; one that begins where the last one did replaces it, and one that says the same as the
/// one before it is not needed.
fn append<K: Key>(ranges: &mut Vec<Range<K>>, range: Range<K>) {
    ranges.pop_if(|last| last.start == range.start);
    if ranges.last().and_then(|last| last.attribute) != range.attribute {
        ranges.push(range);
    }
}
