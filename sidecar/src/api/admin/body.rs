//! The bodies that the admin API takes, as written and as checked.

use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use reputation::mode::Mode;
use reputation::{Cidr, DecisionKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::problem::{Kind, Problem};
use crate::api::request;
use crate::telemetry::level;

/// `POST /v1/decisions`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a decision")]
pub struct NewDecisionBody {
    /// An address or a prefix.
    pub cidr: String,
    /// `ban`, `throttle` or `allow`.
    pub r#type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Such as `24h`; absent: until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Also for a very wide prefix.
    #[serde(default)]
    pub force: bool,
}

/// `PUT /v1/mode`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a mode")]
pub struct NewModeBody {
    /// `enforce`, `monitor` or `off`.
    pub mode: String,
    /// A route name or glob; absent: every route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// `PUT /v1/log-level`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a level")]
pub struct NewLevelBody {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// Such as `1h`; absent: until it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// Nothing that is sent here is longer than a few lines.
const MAX_BYTES: usize = 16 * 1024;

/// Reads a JSON body of a bounded size.
pub async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Problem> {
    let body = request::body(request, MAX_BYTES).await?;
    serde_json::from_slice(&body).map_err(|error| {
        let kind = if error.is_data() {
            Kind::FaultyValue
        } else {
            Kind::BadBody
        };
        Problem::new(kind).detail(error.to_string())
    })
}

pub fn cidr(text: &str) -> Result<Cidr, Problem> {
    let parsed = text.parse::<Cidr>();
    parsed.map_err(|error| {
        Problem::new(Kind::FaultyValue)
            .detail(error.to_string())
            .at("/cidr")
    })
}

pub fn kind(text: &str) -> Result<DecisionKind, Problem> {
    match text {
        "ban" => Ok(DecisionKind::Ban),
        "throttle" => Ok(DecisionKind::Throttle),
        "allow" => Ok(DecisionKind::Allow),
        other => {
            let detail = format!("{other:?} is not known: write ban, throttle or allow");
            Err(Problem::new(Kind::FaultyValue).detail(detail).at("/type"))
        }
    }
}

pub fn mode(text: &str) -> Result<Mode, Problem> {
    let found = Mode::ALL.into_iter().find(|mode| mode.name() == text);
    found.ok_or_else(|| {
        let detail = format!("{text:?} is not known: write enforce, monitor or off");
        Problem::new(Kind::FaultyValue).detail(detail).at("/mode")
    })
}

pub fn level(text: &str) -> Result<tracing::Level, Problem> {
    let found = level::NAMES.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, level)| level).ok_or_else(|| {
        let detail = format!("{text:?} is not known: write error, warn, info, debug or trace");
        Problem::new(Kind::FaultyValue).detail(detail).at("/level")
    })
}

pub fn duration(text: Option<&str>) -> Result<Option<Duration>, Problem> {
    let problem = |detail: String| {
        Problem::new(Kind::FaultyValue)
            .detail(detail)
            .at("/duration")
    };
    let Some(text) = text else { return Ok(None) };
    let duration = crate::duration::parse(text).map_err(|error| problem(error.to_string()))?;
    if duration < Duration::from_secs(1) {
        return Err(problem(format!("{text:?} is shorter than a second")));
    }
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_another_shape_is_told_without_our_names_for_things() {
        for text in ["[]", "5", "null", "\"ban\""] {
            let decision = serde_json::from_str::<NewDecisionBody>(text).unwrap_err();
            let mode = serde_json::from_str::<NewModeBody>(text).unwrap_err();
            let (decision, mode) = (decision.to_string(), mode.to_string());
            assert!(decision.contains("expected a decision"), "{decision}");
            assert!(mode.contains("expected a mode"), "{mode}");
        }
    }
}
