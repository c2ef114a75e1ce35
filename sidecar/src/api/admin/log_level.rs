//! `/v1/log-level`: how much the sidecar logs, changed while it runs, for a while or until it is taken back.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request};

use super::Desk;
use super::body::{self, NewLevelBody};
use crate::api::problem::{Kind, Problem};
use crate::api::server::{Reply, json};
use crate::clock::Clock;
use crate::orders::Act;
use crate::telemetry::level::Level;

pub async fn handle(
    desk: Desk<'_>,
    request: Request<Incoming>,
    level: &Arc<Level>,
    clock: &dyn Clock,
) -> Result<Reply, Problem> {
    match *request.method() {
        Method::GET => {}
        Method::PUT => {
            let written: NewLevelBody = body::read(request).await?;
            let wanted = body::level(&written.level)?;
            let ttl = body::duration(written.duration.as_deref())?;
            let ends = ttl.map(|ttl| {
                let seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
                (ttl, clock.now().plus(seconds))
            });
            let act = Act::SetLogLevel {
                level: wanted,
                for_s: ttl.map(|ttl| ttl.as_secs()),
            };
            // Before it counts: the line about it must not be the first that is left out.
            desk.orders.note(&desk.operator, act);
            level.order(wanted, ends);
        }
        Method::DELETE => {
            level.take_back();
            desk.orders.note(&desk.operator, Act::ClearedLogLevel);
        }
        _ => return Err(Problem::new(Kind::WrongMethod("GET, PUT, DELETE"))),
    }
    json(&level.status())
}
