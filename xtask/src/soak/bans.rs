//! How long it takes from starting `portcullis ban` or `unban` until both workers do as told.

use std::time::Instant;

use kit::Workers;

use super::findings::Findings;
use super::setting::{LIMIT, Setting, order};
use crate::error::Error;
use crate::load::tally::Tally;

const CLIENT: &str = "203.0.113.5";
const MOST_MS: f64 = 500.0;

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    let sidecar = setting.loaded_sidecar()?.start().await?;
    let envoy = setting.edge(&setting.wasm, &sidecar.addresses()).await?;
    let mut workers = Workers::of(&envoy).await?;
    let (mut bans, mut unbans) = (Tally::default(), Tally::default());
    for _ in 0..setting.by_time(40, 200) {
        for (word, status, tally) in [("ban", 403, &mut bans), ("unban", 200, &mut unbans)] {
            let begun = Instant::now();
            order(&sidecar, &[word, CLIENT]).await?;
            if !workers.all_answer(CLIENT, status, LIMIT).await? {
                return Err(Error::Said(format!("the {word} never held")));
            }
            tally.answered(status, begun.elapsed());
        }
    }
    let millis = |tally: &Tally, share| tally.quantile(share).as_secs_f64() * 1000.0;
    findings.figure("ban_median_ms", millis(&bans, 0.5));
    findings.at_most("ban_p99_ms", millis(&bans, 0.99), MOST_MS);
    findings.figure("ban_slowest_ms", millis(&bans, 1.0));
    findings.figure("unban_median_ms", millis(&unbans, 0.5));
    findings.at_most("unban_p99_ms", millis(&unbans, 0.99), MOST_MS);
    Ok(())
}
