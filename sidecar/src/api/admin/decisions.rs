//! `/v1/decisions`: what operators ban, throttle and allow.

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use reputation::{Cidr, Decision, DecisionId};
use serde::{Deserialize, Serialize};

use super::body::{self, NewDecisionBody};
use super::{Desk, unwritten};
use crate::api::problem::{Kind, Problem};
use crate::api::request::{decode, parameter};
use crate::api::server::{Reply, json, json_with};
use crate::intelligence::{DecisionError, Intelligence, NewDecision, Removal};

/// `GET /v1/decisions`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Decisions {
    /// Those of operators, the newest first, then those of sources by address.
    pub decisions: Vec<Decision>,
    /// How many of sources are in force beyond those that are shown.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// How many decisions of sources are shown unless `most` asks for more.
const SHOWN: usize = 1000;

/// Ends the detail of a refused wide ban. The command line has its own.
pub const WIDE_REMEDY: &str = ": send \"force\": true if that is meant";

/// `rest` is the part of the path after `/v1/decisions/`.
pub async fn handle(
    desk: Desk<'_>,
    request: Request<Incoming>,
    rest: &str,
) -> Result<Reply, Problem> {
    match (request.method(), rest) {
        (&Method::GET, "") => json(&list(desk.intelligence, request.uri().query())?),
        (&Method::POST, "") => add(desk, request).await,
        (&Method::DELETE, _) => {
            let removal = removal(request.uri().query(), rest)?;
            json(&desk.orders.take_back(&desk.operator, removal).await?)
        }
        (_, "") => Err(Problem::new(Kind::WrongMethod("GET, POST, DELETE"))),
        _ => Err(Problem::new(Kind::WrongMethod("DELETE"))),
    }
}

fn list(intelligence: &Intelligence, query: Option<&str>) -> Result<Decisions, Problem> {
    let most = parameter(query, "most", "a number", |_| true)?.unwrap_or(SHOWN);
    let mut decisions = intelligence.decisions();
    let (of_sources, all) = intelligence.source_decisions(most);
    let more = all - of_sources.len();
    decisions.extend(of_sources);
    Ok(Decisions { decisions, more })
}

async fn add(mut desk: Desk<'_>, request: Request<Incoming>) -> Result<Reply, Problem> {
    let written: NewDecisionBody = body::read(request).await?;
    if let Some(author) = written.author {
        desk.operator.name = author;
    }
    let new = NewDecision {
        cidr: body::cidr(&written.cidr)?,
        kind: body::kind(&written.r#type)?,
        reason: written.reason.unwrap_or_default(),
        author: desk.operator.name.clone(),
        ttl: body::duration(written.duration.as_deref())?,
        force: written.force,
    };
    let decision = desk.orders.give(&desk.operator, new).await;
    let decision = decision.map_err(refused)?;
    json_with(StatusCode::CREATED, &decision)
}

/// Either `/v1/decisions/{id}`, or `?cidr=…&type=ban` (throttles count as bans) or `allow`.
fn removal(query: Option<&str>, id: &str) -> Result<Removal, Problem> {
    if !id.is_empty() {
        let id = decode(id).parse::<DecisionId>();
        return id
            .map(Removal::Id)
            .map_err(|error| Problem::new(Kind::NotFound).detail(error.to_string()));
    }
    let missing =
        || Problem::new(Kind::BadQuery).detail("write ?cidr=PREFIX&type=ban or type=allow");
    let is_kind = |kind: &String| kind == "ban" || kind == "allow";
    let kind = parameter(query, "type", "ban or allow", is_kind)?.ok_or_else(missing)?;
    let text: String = parameter(query, "cidr", "a prefix", |_| true)?.ok_or_else(missing)?;
    let cidr: Cidr = text.parse().map_err(|error: reputation::CidrError| {
        Problem::new(Kind::BadAddress).detail(error.to_string())
    })?;
    Ok(if kind == "ban" {
        Removal::Bans(cidr)
    } else {
        Removal::Allows(cidr)
    })
}

/// With the remedy that this API has.
fn refused(error: DecisionError) -> Problem {
    match error {
        DecisionError::TooWide { .. } => {
            Problem::new(Kind::TooWide).detail(format!("{error}{WIDE_REMEDY}"))
        }
        other => other.into(),
    }
}

impl From<DecisionError> for Problem {
    fn from(error: DecisionError) -> Self {
        let faulty = Self::new(Kind::FaultyValue);
        let problem = match error {
            DecisionError::TooWide { .. } => Self::new(Kind::TooWide),
            DecisionError::Everything(_) => faulty.at("/cidr"),
            DecisionError::NoTime => faulty.at("/duration"),
            DecisionError::Text { .. } => faulty,
            DecisionError::Unknown(_) => Self::new(Kind::NotFound),
            DecisionError::NoId => {
                let error = crate::telemetry::chain(&error);
                tracing::error!(error, "a decision was not written");
                return Self::new(Kind::Internal);
            }
            DecisionError::Store(error) => return unwritten(&error, "a decision was not written"),
        };
        problem.detail(error.to_string())
    }
}
