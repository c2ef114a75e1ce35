//! What operators ask and order. Every request needs the token, whatever it asks for; nothing here ever
//! shows a secret's value.

pub mod body;
mod decisions;
mod history;
mod log_level;
mod modes;

use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::USER_AGENT;
use hyper::{HeaderMap, Method, Request, StatusCode};
use serde_json::json;

use super::attempts::Refusal;
use super::door::{Door, bearer};
use super::problem::{Kind, Problem};
use super::request::{self, Snapshots, check_ready, parameter};
use super::server::{self, Exchange, Handler, Named, Reply};
use crate::clock::Clock;
use crate::console::Console;
use crate::doctor::Examiner;
use crate::intelligence::Intelligence;
use crate::intelligence::feeds::ReleaseError;
use crate::orders::{Operator, Orders, Way};
use crate::refusals::Refusals;
use crate::strangers::plain;
use crate::telemetry::chain;
use crate::telemetry::level::Level;
use crate::trials::Trials;

pub use body::{NewDecisionBody, NewLevelBody, NewModeBody};
pub use decisions::{Decisions, WIDE_REMEDY};

pub use modes::Modes;

pub struct Admin {
    pub intelligence: Arc<Intelligence>,
    pub orders: Arc<Orders>,
    pub door: Arc<Door>,
    pub examiner: Examiner,
    pub trials: Trials,
    pub refusals: Arc<Refusals>,
    pub level: Arc<Level>,
    pub clock: Arc<dyn Clock>,
    /// At `/`.
    pub console: Console,
}

/// What a request's order needs.
struct Desk<'a> {
    intelligence: &'a Intelligence,
    orders: &'a Orders,
    operator: Operator,
}

const HINT: &str = "send `Authorization: Bearer TOKEN`; without listen.admin_token it is in admin.token \
                    below store.path";
/// How long `check` waits for providers: a person does not mind, and wants the final answer.
const CHECK_WAIT: Duration = Duration::from_secs(3);
const CHECK_PREFIX: u8 = 64;
/// What is asked and answered on the edge, here and at Envoy's reputation API. Written by hand; tests
/// compare it with the router, real answers and docs/sidecar.md.
pub const OPENAPI: &str = include_str!("../openapi.json");
/// How many blocked clients are shown unless `most` asks for more.
const SHOWN: usize = 100;
/// Below `/v1/`; each is the metric's label too.
const RESOURCES: [&str; 11] = [
    "decisions",
    "mode",
    "check",
    "explain",
    "history",
    "feeds",
    "providers",
    "secrets",
    "doctor",
    "blocked",
    "log-level",
];

impl Admin {
    async fn route(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Problem> {
        let path = request.uri().path().to_owned();
        if path == "/openapi.json" {
            exchange.route = "openapi";
            only(request.method(), Method::GET, "GET")?;
            let document = Bytes::from_static(OPENAPI.as_bytes());
            return Ok(server::reply(StatusCode::OK, server::JSON, document));
        }
        let path = path.strip_prefix("/v1/").unwrap_or_default();
        let (resource, rest) = path.split_once('/').unwrap_or((path, ""));
        let known = RESOURCES.into_iter().find(|known| *known == resource);
        exchange.route = known.ok_or(Problem::new(Kind::NotFound))?;
        let desk = Desk {
            intelligence: &self.intelligence,
            orders: &self.orders,
            operator: operator(request.headers(), exchange),
        };
        match (exchange.route, rest) {
            ("decisions", rest) => decisions::handle(desk, request, rest).await,
            ("mode", "") => modes::handle(desk, request).await,
            ("log-level", "") => {
                log_level::handle(desk, request, &self.level, self.clock.as_ref()).await
            }
            ("secrets", "check") => self.check_secrets(request.method()).await,
            ("blocked", "") => {
                only(request.method(), Method::GET, "GET")?;
                self.blocked(request.uri().query())
            }
            ("history", address) => {
                only(request.method(), Method::GET, "GET")?;
                history::show(self.intelligence.history(), address, request.uri().query()).await
            }
            ("feeds", rest) => feeds(desk, request.method(), rest).await,
            (resource, rest) => {
                only(request.method(), Method::GET, "GET")?;
                self.look(resource, rest).await
            }
        }
    }

    /// What can only be looked at.
    async fn look(&self, resource: &str, rest: &str) -> Result<Reply, Problem> {
        match (resource, rest) {
            ("check", address) => {
                let snapshots = self.intelligence.snapshots();
                check(&self.intelligence, &snapshots, address).await
            }
            ("explain", address) => {
                server::json(&self.intelligence.explain(request::address(address)?).await)
            }
            ("providers", "") => server::json(&json!({
                "providers": self.intelligence.providers(),
                "databases": self.intelligence.databases(),
            })),
            ("secrets", "") => {
                server::json(&json!({ "secrets": self.intelligence.secrets().statuses() }))
            }
            ("doctor", "") => server::json(&self.examiner.examine().await),
            _ => Err(Problem::new(Kind::NotFound)),
        }
    }

    fn blocked(&self, query: Option<&str>) -> Result<Reply, Problem> {
        let most = parameter(query, "most", "a number", |_: &usize| true)?;
        server::json(&self.refusals.blocked(most.unwrap_or(SHOWN)))
    }

    async fn check_secrets(&self, method: &Method) -> Result<Reply, Problem> {
        only(method, Method::POST, "POST")?;
        let tried = self.trials.run().await;
        let busy = "the secrets are being tried already: ask again when that is over";
        server::json(&tried.ok_or(Problem::new(Kind::Conflict).detail(busy))?)
    }
}

impl Handler for Admin {
    const NAME: &'static str = "admin";
    const NAMED: Named = Named::Always;

    async fn handle(
        &self,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Reply, Problem> {
        exchange.notable = true;
        if Console::serves(request.uri().path()) {
            exchange.route = "console";
            return Ok(self.console.handle(request, exchange).await);
        }
        let Some(given) = bearer(request.headers()) else {
            return Err(Problem::new(Kind::NoToken).detail(HINT));
        };
        let admitted = self.door.admit(exchange.peer, given).await;
        admitted.map_err(|refusal| match refusal {
            Refusal::Wrong => Problem::from(refusal).detail(HINT),
            Refusal::TooMany => Problem::from(refusal),
        })?;
        self.route(request, exchange).await
    }
}

/// An order that the store did not keep. Whoever may give orders may know why.
fn unwritten(error: &dyn std::error::Error, what: &'static str) -> Problem {
    let why = chain(error);
    tracing::error!(error = why, "{what}");
    Problem::new(Kind::Store).detail(why)
}

/// The header in which the command line says who types.
pub const AUTHOR: &str = "x-portcullis-author";
/// How the command line's `user-agent` begins.
pub const COMMAND_LINE: &str = "portcullis/";
const UNKNOWN_AUTHOR: &str = "admin API";
const LONGEST_NAME: usize = 64;

fn operator(headers: &HeaderMap, exchange: &Exchange) -> Operator {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let named = text(AUTHOR).map(|name| plain(name.trim(), LONGEST_NAME));
    let agent = text(USER_AGENT.as_str()).unwrap_or_default();
    Operator {
        name: named
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| UNKNOWN_AUTHOR.to_owned()),
        by: match agent.starts_with(COMMAND_LINE) {
            true => Way::CommandLine,
            false => Way::Api,
        },
        from: exchange.peer,
        request_id: exchange.id.text().into_owned(),
    }
}

async fn feeds(desk: Desk<'_>, method: &Method, rest: &str) -> Result<Reply, Problem> {
    if rest.is_empty() {
        only(method, Method::GET, "GET")?;
        return server::json(&json!({ "feeds": desk.intelligence.feeds() }));
    }
    let name = rest
        .strip_suffix("/release")
        .ok_or(Problem::new(Kind::NotFound))?;
    only(method, Method::POST, "POST")?;
    let name = request::decode(name);
    let released = desk.orders.release(&desk.operator, &name).await;
    released.map_err(|error| {
        let kind = match error {
            ReleaseError::Unknown(_) => Kind::NotFound,
            ReleaseError::NotHeld(_) => Kind::Conflict,
        };
        Problem::new(kind).detail(error.to_string())
    })?;
    server::json(&json!({ "released": name }))
}

async fn check(
    intelligence: &Intelligence,
    snapshots: &Snapshots,
    address: &str,
) -> Result<Reply, Problem> {
    let address = request::address(address)?;
    check_ready(snapshots)?;
    let verdict = intelligence.verdict(address, CHECK_PREFIX, CHECK_WAIT);
    server::json(&verdict.await)
}

fn only(method: &Method, allowed: Method, name: &'static str) -> Result<(), Problem> {
    if *method == allowed {
        Ok(())
    } else {
        Err(Problem::new(Kind::WrongMethod(name)))
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::intelligence::testing::Harness;

    #[tokio::test]
    async fn before_the_first_snapshot_nobody_is_called_clean() {
        let harness = Harness::start("").await;
        let (_publisher, none) = watch::channel(None);
        let answer = check(&harness.intelligence, &none, "198.51.100.7").await;
        assert_eq!(answer.unwrap_err(), Problem::new(Kind::NotReady));
        harness.published(|_| true).await;
        let some = harness.intelligence.snapshots();
        let answer = check(&harness.intelligence, &some, "198.51.100.7").await;
        assert_eq!(answer.unwrap().status(), hyper::StatusCode::OK);
    }
}
