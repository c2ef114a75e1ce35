//! Which policy a request is under: the configuration's, for its route, loosened by what the operator
//! asks for through the manifest. Of the operator's mode and the configuration's the more permissive wins.

use reputation::UnixSeconds;
use reputation::mode::ModeOverride;

use crate::config::{Config, Policy};
use crate::host::{Host, Property};

/// More of the operator's modes than this are not looked at, nor longer names of routes: each is compared
/// with every request's route.
const MAX_OVERRIDES: usize = 64;
const MAX_ROUTE_BYTES: usize = 256;

/// The operator's modes, and what follows from them for requests whose route does not matter.
#[derive(Debug, Default)]
pub struct Modes {
    overrides: Vec<ModeOverride>,
    everywhere: Option<Policy>,
    by_route: bool,
}

impl Modes {
    /// Takes over the operator's modes and works out anew what they mean; called on every tick too,
    /// because an override may have ended.
    pub fn refresh(&mut self, config: &Config, now: UnixSeconds) {
        self.by_route =
            !config.routes.is_empty() || self.overrides.iter().any(|mode| mode.route.is_some());
        self.everywhere = Some(self.loosen(config.base, None, now));
    }

    /// Takes over the operator's modes. Those without a route come first, because they are the kill
    /// switch.
    pub fn replace(&mut self, overrides: Vec<ModeOverride>) {
        let count = overrides.len();
        let (routed, mut overrides): (Vec<_>, Vec<_>) =
            overrides.into_iter().partition(|mode| mode.route.is_some());
        let fits = |route: &String| route.len() <= MAX_ROUTE_BYTES;
        let routed = routed.into_iter();
        overrides.extend(routed.filter(|mode| mode.route.as_ref().is_none_or(fits)));
        overrides.truncate(MAX_OVERRIDES);
        let ignored = count.saturating_sub(overrides.len());
        if ignored > 0 {
            log::warn!(
                "portcullis: {ignored} of {count} modes are ignored: at most {MAX_OVERRIDES}, with \
                 routes of at most {MAX_ROUTE_BYTES} bytes, are looked at"
            );
        }
        self.overrides = overrides;
    }

    /// The policy of the current request. Reads the route only if anything depends on it.
    pub fn policy<H: Host>(&self, host: &H, config: &Config, now: UnixSeconds) -> Policy {
        match self.everywhere {
            Some(policy) if !self.by_route => policy,
            _ => {
                let policy = |route: Option<&str>| self.loosen(config.policy(route), route, now);
                let of_name = |name: &[u8]| policy(std::str::from_utf8(name).ok());
                let routed = host.property(Property::RouteName, of_name);
                routed.unwrap_or_else(|| policy(None))
            }
        }
    }

    fn loosen(&self, policy: Policy, route: Option<&str>, now: UnixSeconds) -> Policy {
        let applying = self
            .overrides
            .iter()
            .filter(|mode| mode.in_force(now) && mode.applies_to(route));
        Policy {
            mode: applying.fold(policy.mode, |mode, other| mode.or(other.mode)),
            ..policy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MockHost, config};
    use reputation::mode::Mode;

    const NOW: UnixSeconds = UnixSeconds(1_000);

    fn mode(config: &Config, overrides: &[ModeOverride], route: &str, now: UnixSeconds) -> Mode {
        let host = MockHost::default();
        host.set_property(Property::RouteName, route.as_bytes());
        let mut modes = Modes::default();
        modes.replace(overrides.to_vec());
        modes.refresh(config, now);
        modes.policy(&host, config, now).mode
    }

    fn over(mode: Mode, route: Option<&str>, until: Option<u32>) -> ModeOverride {
        ModeOverride {
            mode,
            route: route.map(str::to_owned),
            until: until.map(UnixSeconds),
        }
    }

    #[test]
    fn the_operator_can_loosen_and_never_tighten() {
        let enforce = config(r#"{"mode":"enforce"}"#);
        let monitor = config(r#"{"mode":"monitor"}"#);
        let off = [over(Mode::Off, None, None)];
        assert_eq!(mode(&enforce, &off, "a", NOW), Mode::Off);
        let tighter = [over(Mode::Enforce, None, None)];
        assert_eq!(mode(&monitor, &tighter, "a", NOW), Mode::Monitor);
    }

    #[test]
    fn an_override_ends_and_holds_for_its_route_only() {
        let enforce = config(r#"{"mode":"enforce"}"#);
        let timed = [over(Mode::Monitor, Some("shop*"), Some(1_010))];
        assert_eq!(mode(&enforce, &timed, "shop-eu", NOW), Mode::Monitor);
        assert_eq!(mode(&enforce, &timed, "other", NOW), Mode::Enforce);
        assert_eq!(
            mode(&enforce, &timed, "shop-eu", NOW.plus(10)),
            Mode::Enforce
        );
    }

    #[test]
    fn too_many_modes_and_too_long_routes_are_ignored_but_the_kill_switch_is_not() {
        let enforce = config(r#"{"mode":"enforce"}"#);
        let route = |n: usize| over(Mode::Monitor, Some(&format!("{n}-*")), None);
        let mut many: Vec<_> = (0..10_000).map(route).collect();
        many.push(over(Mode::Monitor, Some(&"*".repeat(1 << 20)), None));
        assert_eq!(mode(&enforce, &many, "other", NOW), Mode::Enforce);
        let mut modes = Modes::default();
        modes.replace(many.clone());
        assert_eq!(modes.overrides.len(), MAX_OVERRIDES);
        many.push(over(Mode::Off, None, None));
        assert_eq!(mode(&enforce, &many, "other", NOW), Mode::Off);
    }

    #[test]
    fn the_route_is_read_only_if_something_depends_on_it() {
        let host = MockHost::default();
        let plain = config(r#"{"mode":"enforce"}"#);
        let mut modes = Modes::default();
        modes.refresh(&plain, NOW);
        modes.policy(&host, &plain, NOW);
        assert_eq!(host.property_reads(), 0);
        let routed = config(r#"{"mode":"monitor","routes":{"a":{"mode":"enforce"}}}"#);
        modes.refresh(&routed, NOW);
        host.set_property(Property::RouteName, b"a");
        assert_eq!(modes.policy(&host, &routed, NOW).mode, Mode::Enforce);
        host.set_property(Property::RouteName, b"\xff");
        assert_eq!(modes.policy(&host, &routed, NOW).mode, Mode::Monitor);
    }
}
