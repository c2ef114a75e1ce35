//! `mode`: what all proxies do, at once and without a restart.

use hyper::Method;
use reputation::mode::{Mode, ModeOverride};

use super::CliError;
use super::args::ModeChange;
use super::output::{table, time};
use super::session::{Session, encode};
use crate::api::admin::{Modes, NewModeBody};

const PATH: &str = "/v1/mode";

pub async fn run(session: &Session, change: &ModeChange) -> Result<String, CliError> {
    let show = |answer: Modes| rows(&answer.modes);
    if change.clear {
        let query = change
            .route
            .as_deref()
            .map(|route| format!("?route={}", encode(route)));
        let path = format!("{PATH}{}", query.unwrap_or_default());
        return session
            .change(Method::DELETE, &path, None::<&()>, show)
            .await;
    }
    let Some(mode) = change.mode else {
        return session.show(PATH, show).await;
    };
    let body = NewModeBody {
        mode: Mode::from(mode).name().to_owned(),
        route: change.route.clone(),
        duration: change.duration.map(crate::duration::show),
    };
    session.change(Method::PUT, PATH, Some(&body), show).await
}

fn rows(modes: &[ModeOverride]) -> String {
    if modes.is_empty() {
        return "no mode is set here: each proxy follows its own configuration".to_owned();
    }
    let row = |mode: &ModeOverride| {
        [
            mode.mode.name().to_owned(),
            mode.route.clone().unwrap_or_else(|| "all".to_owned()),
            mode.until
                .map_or_else(|| "it is taken back".to_owned(), time),
        ]
    };
    let rows = table(["MODE", "ROUTE", "UNTIL"], modes.iter().map(row).collect());
    format!("{rows}where a proxy's own configuration is more permissive, that one counts")
}
