//! `/v1/history/{ip}`: what was thought and done about an address, as far as it was recorded.

use std::time::Duration;

use crate::api::problem::{Kind, Problem};
use crate::api::request::{self, parameter};
use crate::api::server::{Reply, json};
use crate::duration;
use crate::history::{Asked, Cursor, History, HistoryError};

/// How far back is looked, and how many events are shown, unless `since` and `limit` ask for other.
const SINCE: Duration = Duration::from_secs(7 * 86_400);
const SHOWN: usize = 100;
const MOST: usize = 1000;
/// A person does not mind; the database may be away.
const PATIENCE: Duration = Duration::from_secs(8);

/// `segment` is the address as it stands in the path.
pub async fn show(history: &History, segment: &str, query: Option<&str>) -> Result<Reply, Problem> {
    let address = request::address(segment)?;
    let expected = "a duration such as 7d or 12h";
    let since: Option<String> = parameter(query, "since", expected, |text: &String| {
        duration::parse(text).is_ok()
    })?;
    let since = since.and_then(|text| duration::parse(&text).ok());
    let most = parameter(query, "limit", "from 1 to 1000", |most| {
        (1..=MOST).contains(most)
    })?;
    let before = parameter(query, "before", "what next was", |_: &Cursor| true)?;
    let asked = Asked {
        address,
        since: history.ago(since.unwrap_or(SINCE)),
        before,
        most: most.unwrap_or(SHOWN),
    };
    json(&history.of(&asked, PATIENCE).await.map_err(problem)?)
}

fn problem(error: HistoryError) -> Problem {
    let kind = match error {
        HistoryError::Busy => Kind::Busy,
        HistoryError::Off | HistoryError::Away => Kind::History,
    };
    Problem::new(kind).detail(error.to_string())
}
