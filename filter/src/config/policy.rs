//! What may differ from route to route: the policy itself, the paths that are exempt from it, and the order
//! in which the patterns of routes are tried.

use reputation::mode::Mode;

use super::raw::{Findings, Section, show};
use super::{ExemptAt, Failure, Policy, Route, Unknown};
use crate::exempt::ExemptPaths;

/// The longest that a request may be held, in milliseconds: well under Envoy's stream timeouts.
const MAX_HOLD_MS: u32 = 5_000;
const MODES: [(&str, Mode); 3] = [
    ("monitor", Mode::Monitor),
    ("enforce", Mode::Enforce),
    ("off", Mode::Off),
];
const FAILURES: [(&str, Failure); 2] = [("open", Failure::Open), ("closed", Failure::Closed)];
const UNKNOWNS: [(&str, Unknown); 2] = [("pass", Unknown::Pass), ("hold", Unknown::Hold)];
/// What holds where nothing is written.
pub const DEFAULT_POLICY: Policy = Policy {
    mode: Mode::Monitor,
    failure: Failure::Open,
    unknown: Unknown::Pass,
    hold_ms: 10,
    exempt: ExemptAt(0),
};

/// Reads a policy; what is not written there is `inherited`.
pub fn policy(section: &mut Section<'_>, inherited: Policy, findings: &mut Findings) -> Policy {
    Policy {
        mode: section
            .choice("mode", &MODES, findings)
            .unwrap_or(inherited.mode),
        failure: section
            .choice("failure", &FAILURES, findings)
            .unwrap_or(inherited.failure),
        unknown: section
            .choice("unknown", &UNKNOWNS, findings)
            .unwrap_or(inherited.unknown),
        hold_ms: section
            .number("hold_ms", 1, MAX_HOLD_MS, findings)
            .unwrap_or(inherited.hold_ms),
        exempt: inherited.exempt,
    }
}

/// Reads the routes' policies in the order in which their patterns are tried.
pub fn routes(
    root: &mut Section<'_>,
    base: Policy,
    exempt_paths: &mut Vec<ExemptPaths>,
    findings: &mut Findings,
) -> Vec<Route> {
    let Some(value) = root.value("routes") else {
        return Vec::new();
    };
    let Some(object) = value.as_object() else {
        findings.fault(
            "routes",
            format_args!(
                "an object of route names or globs is expected, not {}",
                show(value)
            ),
        );
        return Vec::new();
    };
    let mut routes: Vec<Route> = Vec::with_capacity(object.len());
    for (pattern, value) in object {
        let mut section = Section::of(format!("routes.{pattern:?}"), value, findings);
        let mut policy = policy(&mut section, base, findings);
        if let Some(paths) = exempt(&mut section, findings) {
            policy.exempt = ExemptAt(exempt_paths.len());
            exempt_paths.push(paths);
        }
        section.close(findings);
        let pattern = pattern.clone();
        let before = routes.partition_point(|other| is_tried_before(&other.pattern, &pattern));
        routes.insert(before, Route { pattern, policy });
    }
    routes
}

/// Reads the paths on which nobody is hindered, if they are written here.
pub fn exempt(section: &mut Section<'_>, findings: &mut Findings) -> Option<ExemptPaths> {
    let value = section.value("exempt_paths")?;
    let path = section.path("exempt_paths");
    let texts = value.as_array().and_then(|items| {
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect::<Option<Vec<_>>>()
    });
    let Some(texts) = texts else {
        findings.fault(
            &path,
            format_args!("a list of paths is expected, not {}", show(value)),
        );
        return None;
    };
    match ExemptPaths::new(texts) {
        Ok(paths) => Some(paths),
        Err((at, fault)) => {
            findings.fault(&format!("{path}[{at}]"), fault);
            None
        }
    }
}

/// An object has no order: the more literal characters a pattern has, the earlier it is tried, and a name
/// without a star before a glob of the same length.
fn is_tried_before(one: &str, other: &str) -> bool {
    let order = |pattern: &str| {
        let literal = pattern.chars().filter(|c| *c != '*').count();
        (std::cmp::Reverse(literal), pattern.contains('*'))
    };
    (order(one), one) < (order(other), other)
}
