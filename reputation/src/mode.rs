//! Enforce, monitor or off; for all, for a route, for a while.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::{Fields, JsonError};
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

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

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
    /// Several, as a filter reads them in a manifest.
    pub fn read_all(values: &[Value]) -> Result<Vec<Self>, JsonError> {
        values.iter().map(Self::read).collect()
    }

    /// A mode that this build does not know is `monitor`: whoever set it wanted something looser than
    /// enforcement, and what would happen stays visible.
    fn read(value: &Value) -> Result<Self, JsonError> {
        let fields = Fields::of(value)?;
        let route = fields.value("route").map(|_| fields.text("route"));
        let until = fields.value("until").map(|_| fields.small("until"));
        Ok(Self {
            mode: Mode::of_name(fields.text("mode")?).unwrap_or(Mode::Monitor),
            route: route.transpose()?.map(str::to_owned),
            until: until.transpose()?.map(UnixSeconds),
        })
    }

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
    fn a_mode_that_a_filter_does_not_know_looks_on() {
        let mode = |json: &str| {
            let value = crate::json::parse(json.as_bytes()).unwrap();
            ModeOverride::read_all(&[value]).map(|modes| modes.into_iter().next().unwrap().mode)
        };
        for known in Mode::ALL {
            let json = format!(r#"{{"mode":"{}","route":"a*","until":9}}"#, known.name());
            assert_eq!(mode(&json), Ok(known));
        }
        assert_eq!(mode(r#"{"mode":"sample","share":3}"#), Ok(Mode::Monitor));
        assert_eq!(mode(r#"{"mode":7}"#), Err(JsonError::Field("mode")));
        assert_eq!(
            mode(r#"{"mode":"off","until":-1}"#),
            Err(JsonError::Field("until"))
        );
    }

    #[test]
    fn the_more_permissive_mode_wins() {
        assert_eq!(Mode::Enforce.or(Mode::Monitor), Mode::Monitor);
        assert_eq!(Mode::Off.or(Mode::Monitor), Mode::Off);
    }
}
