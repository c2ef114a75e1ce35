//! The proof: requests through Envoy whose answers must be the right ones.

use std::time::Duration;

use kit::{Connection, Redis, Request, eventually_async};
use reputation::ClientAddress;

use super::list::List;
use super::stage::{CLEAN, LISTED, Stage};
use crate::error::Error;
use crate::say;

/// From the start of Envoy until its workers have the snapshot, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// One clean and one listed address.
pub async fn sample(stage: &Stage) -> Result<(), Error> {
    if !stage.envoy.until_snapshot(LIMIT).await? {
        return Err(Error::Said(format!(
            "Envoy has no snapshot after {} s",
            LIMIT.as_secs()
        )));
    }
    let passed = stage.envoy.status_for(CLEAN).await;
    say::step(format_args!(
        "a request of {CLEAN}, which no list holds: {passed}"
    ));
    let status = stage.envoy.status_for(LISTED).await;
    say::step(format_args!(
        "a request of {LISTED}, which the sample list holds: {status}"
    ));
    if (passed, status) == (200, 403) {
        return Ok(());
    }
    Err(Error::Said(
        "the proof failed: expected 200 for the clean address and 403 for the listed one".into(),
    ))
}

/// Many addresses of a list, and as many beside it.
pub async fn list(stage: &Stage, list: &List) -> Result<(), Error> {
    say::step(format_args!(
        "{}: {} entries ({})",
        list.path().display(),
        list.len(),
        list.format()
    ));
    let listed = list.listed();
    let refused = count(stage, &listed, 403).await?;
    say::step(format_args!(
        "{refused} of {} addresses drawn from the list are refused",
        listed.len()
    ));
    let unlisted = list.unlisted();
    let passed = count(stage, &unlisted, 200).await?;
    say::step(format_args!(
        "{passed} of {} public addresses beside it pass",
        unlisted.len()
    ));
    if refused == listed.len() && passed == unlisted.len() {
        return Ok(());
    }
    Err(Error::Said(
        "the proof failed: not every answer was the right one".into(),
    ))
}

/// A ban is kept in Redis, if there is one: it is found there, and gone once it is taken back.
pub async fn redis(stage: &Stage) -> Result<(), Error> {
    let Some(redis) = &stage.redis else {
        return Ok(());
    };
    command(stage, &["ban", CLEAN, "--for", "1h"]).await?;
    let banned = eventually_async(LIMIT, || async {
        stage.envoy.status_for(CLEAN).await == 403
    });
    let (banned, kept) = (banned.await, holds(redis, CLEAN).await?);
    command(stage, &["unban", CLEAN]).await?;
    let gone = !holds(redis, CLEAN).await?;
    say::step(format_args!(
        "a ban of {CLEAN}: enforced: {banned}, in Redis: {kept}, gone after the unban: {gone}"
    ));
    if banned && kept && gone {
        return Ok(());
    }
    Err(Error::Said(
        "the proof failed: the ban is not kept in Redis".into(),
    ))
}

/// Whether any value in Redis names this address.
async fn holds(redis: &Redis, address: &str) -> Result<bool, Error> {
    let values = redis.contents("*").await?;
    let mut texts = values.iter().map(|value| String::from_utf8_lossy(value));
    Ok(texts.any(|text| text.contains(address)))
}

/// Runs the operator's command line.
async fn command(stage: &Stage, arguments: &[&str]) -> Result<(), Error> {
    let output = stage.sidecar.cli(arguments).await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Said(said))
}

/// How many of these addresses get this status.
async fn count(stage: &Stage, addresses: &[ClientAddress], wanted: u16) -> Result<usize, Error> {
    let mut connection = Connection::open(stage.envoy.edge()).await?;
    let mut right = 0;
    for address in addresses {
        let request = Request::get("/").from_client(&address.to_string());
        let status = connection.send(&request).await?.status;
        if status == wanted {
            right += 1;
        } else {
            say::step(format_args!("{address}: {status} instead of {wanted}"));
        }
    }
    Ok(right)
}
