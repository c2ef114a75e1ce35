//! `log-level`: how much the sidecar logs, without a restart.

use hyper::Method;

use super::CliError;
use super::args::LevelChange;
use super::output::until;
use super::session::Session;
use crate::api::admin::NewLevelBody;
use crate::telemetry::level::LevelStatus;

const PATH: &str = "/v1/log-level";

pub async fn run(session: &Session, change: &LevelChange) -> Result<String, CliError> {
    let show = |status: LevelStatus| words(&status);
    if change.clear {
        let none = None::<&()>;
        return session.change(Method::DELETE, PATH, none, show).await;
    }
    let Some(level) = &change.level else {
        return session.show(PATH, show).await;
    };
    let body = NewLevelBody {
        level: level.clone(),
        duration: change.duration.map(crate::duration::show),
    };
    session.change(Method::PUT, PATH, Some(&body), show).await
}

fn words(status: &LevelStatus) -> String {
    let usual = match status.by_environment {
        true => "as RUST_LOG says".to_owned(),
        false => format!("{}, by log.level", status.configured),
    };
    match &status.ordered {
        Some(ordered) => {
            let end = until(status.until);
            format!("the sidecar logs {ordered}, {end}; then {usual}")
        }
        None => format!("the sidecar logs {usual}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reputation::UnixSeconds;

    #[test]
    fn it_is_said_what_holds_and_what_comes_after() {
        let usual = LevelStatus {
            ordered: None,
            until: None,
            configured: "info".to_owned(),
            by_environment: false,
        };
        assert_eq!(words(&usual), "the sidecar logs info, by log.level");
        let ordered = LevelStatus {
            ordered: Some("debug".to_owned()),
            until: Some(UnixSeconds(1_795_000_000)),
            by_environment: true,
            ..usual
        };
        let expected = "the sidecar logs debug, until 2026-11-18T11:06:40Z; then as RUST_LOG says";
        assert_eq!(words(&ordered), expected);
    }
}
