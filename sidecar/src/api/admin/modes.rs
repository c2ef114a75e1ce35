//! `/v1/mode`: enforce, monitor or off at run time, for all routes or some, for a while or until it is
//! taken back.

use hyper::body::Incoming;
use hyper::{Method, Request};
use reputation::mode::ModeOverride;
use serde::{Deserialize, Serialize};

use super::body::{self, NewModeBody};
use super::{Desk, unwritten};
use crate::api::problem::{Kind, Problem};
use crate::api::request::parameter;
use crate::api::server::{Reply, json};
use crate::intelligence::ModeError;

/// `GET /v1/mode`, and the answer to a change.
#[derive(Debug, Serialize, Deserialize)]
pub struct Modes {
    pub modes: Vec<ModeOverride>,
}

pub async fn handle(desk: Desk<'_>, request: Request<Incoming>) -> Result<Reply, Problem> {
    let changed = match *request.method() {
        Method::GET => Ok(()),
        Method::PUT => {
            let written: NewModeBody = body::read(request).await?;
            let mode = body::mode(&written.mode)?;
            let ttl = body::duration(written.duration.as_deref())?;
            let (orders, operator) = (desk.orders, &desk.operator);
            orders.set_mode(operator, mode, written.route, ttl).await
        }
        Method::DELETE => {
            let any = |_: &String| true;
            let route = parameter(request.uri().query(), "route", "a route", any)?;
            let (orders, operator) = (desk.orders, &desk.operator);
            orders.clear_modes(operator, route.as_deref()).await
        }
        _ => return Err(Problem::new(Kind::WrongMethod("GET, PUT, DELETE"))),
    };
    changed.map_err(|error| match error {
        ModeError::Route => Problem::new(Kind::FaultyValue)
            .detail(error.to_string())
            .at("/route"),
        ModeError::TooMany => Problem::new(Kind::Conflict).detail(error.to_string()),
        ModeError::NotKept(_) => unwritten(&error, "a mode is not kept"),
    })?;
    json(&Modes {
        modes: desk.intelligence.modes(),
    })
}
