//! The proof: requests through Envoy whose answers must be the right ones.

use std::time::Duration;

use kit::{Connection, Request};
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
