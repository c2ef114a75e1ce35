//! `[guard]`: what no feed may do.

use reputation::Cidr;

use super::section::Section;
use super::value;

#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// Ranges that no feed may list.
    pub protect: Vec<Cidr>,
    /// Shorter IPv4 prefixes in a feed are skipped.
    pub min_prefix_v4: u8,
    pub min_prefix_v6: u8,
    /// Lets feeds list special-purpose space (private, loopback, …): for tests, demo and canary only.
    pub permit_special: bool,
    /// A feed that grows beyond this factor of its last good copy is held until a person releases it.
    pub max_growth: f64,
    /// A feed that shrinks below its last good copy divided by this factor is held.
    pub max_shrink: f64,
    /// A feed with more than this share of unreadable lines (0 to 1) is refused whole.
    pub max_unreadable: f64,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            protect: Vec::new(),
            min_prefix_v4: 8,
            min_prefix_v6: 19,
            permit_special: false,
            max_growth: 3.0,
            max_shrink: 3.0,
            max_unreadable: 0.05,
        }
    }
}

impl Guard {
    pub(super) fn validate(mut section: Section<'_>) -> Self {
        let shipped = Self::default();
        let factor = || value::number(1.0..=1_000_000.0);
        let guard = Self {
            protect: section
                .get("protect", value::cidrs)
                .unwrap_or(shipped.protect),
            min_prefix_v4: section
                .get("min_prefix_v4", value::number(1..=32))
                .unwrap_or(shipped.min_prefix_v4),
            min_prefix_v6: section
                .get("min_prefix_v6", value::number(1..=128))
                .unwrap_or(shipped.min_prefix_v6),
            permit_special: section
                .get("permit_special", value::boolean)
                .unwrap_or(shipped.permit_special),
            max_growth: section
                .get("max_growth", factor())
                .unwrap_or(shipped.max_growth),
            max_shrink: section
                .get("max_shrink", factor())
                .unwrap_or(shipped.max_shrink),
            max_unreadable: section
                .get("max_unreadable", value::number(0.0..=1.0))
                .unwrap_or(shipped.max_unreadable),
        };
        section.finish();
        guard
    }
}
