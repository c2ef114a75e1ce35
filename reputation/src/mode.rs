//! Enforce, monitor or off; for all, for a route, for a while.

use serde::{Deserialize, Serialize};

use crate::time::UnixSeconds;

/// Ordered from strict to permissive: where two apply, the more permissive wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Enforce,
    /// Count and log what would have happened, and pass.
    Monitor,
    /// Do nothing at all.
    Off,
}

/// A mode that the operator set at run time, through the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeOverride {
    pub mode: Mode,
    /// A route name or glob (`checkout*`); absent: every route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// When the override ends; absent: when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<UnixSeconds>,
}

impl Mode {
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Monitor, Self::Off];

    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::Off => "off",
        }
    }

    /// The more permissive of two.
    pub fn or(self, other: Self) -> Self {
        self.max(other)
    }
}

impl ModeOverride {
    pub fn in_force(&self, now: UnixSeconds) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether this override speaks of `route`; one without a route speaks of all.
    pub fn applies_to(&self, route: Option<&str>) -> bool {
        match (&self.route, route) {
            (None, _) => true,
            (Some(pattern), Some(route)) => glob_matches(pattern, route),
            (Some(_), None) => false,
        }
    }
}

/// Matches `pattern` against the whole of `text`; `*` stands for any run of characters. Linear in the
/// product of both lengths at worst, without recursion.
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("checkout", "checkout", true),
            ("checkout", "checkout2", false),
            ("checkout*", "checkout", true),
            ("checkout*", "checkout-eu", true),
            ("*-eu", "checkout-eu", true),
            ("*-eu", "checkout-eu-west", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_more_permissive_mode_wins() {
        assert_eq!(Mode::Enforce.or(Mode::Monitor), Mode::Monitor);
        assert_eq!(Mode::Off.or(Mode::Monitor), Mode::Off);
    }
}
