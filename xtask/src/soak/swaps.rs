//! Whether memory levels off over a thousand snapshots: bans and their ends, each waited for at both workers, and every
//! tenth time another list altogether, which makes another base.

use kit::Workers;

use super::course::Course;
use super::findings::Findings;
use super::setting::{ADDRESSES, LIMIT, Setting, exchange_list, order};
use crate::bench::lists;
use crate::error::Error;
use crate::say;

const CLIENT: &str = "203.0.113.5";
/// After so many bans the list is exchanged.
const BANS: u32 = 10;
/// Envoy and its VMs take memory in blocks.
const MOST_OF_ENVOY: f64 = 1.05;
/// What a list needs while it is compiled is given back late, and by no means evenly.
const MOST_OF_SIDECAR: f64 = 1.25;
const MOST_OF_SIDECAR_QUICK: f64 = 1.5;

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    let sidecar = setting.loaded_sidecar()?.start().await?;
    let envoy = setting.edge(&setting.wasm, &sidecar.addresses()).await?;
    let mut workers = Workers::of(&envoy).await?;
    let (mut of_envoy, mut of_sidecar) = (Course::default(), Course::default());
    let (mut swaps, wanted) = (0, setting.by_time(160, 1_000));
    let mut first = 0;
    while swaps < wanted {
        for _ in 0..BANS {
            for (word, status) in [("ban", 403), ("unban", 200)] {
                order(&sidecar, &[word, CLIENT]).await?;
                until(&mut workers, CLIENT, status).await?;
                swaps += 1;
            }
            of_envoy.add(envoy.memory());
            of_sidecar.add(sidecar.memory());
        }
        first = ADDRESSES - first;
        exchange_list(&sidecar, &lists::text(first..first + ADDRESSES))?;
        let listed = lists::address(first).to_string();
        until(&mut workers, &listed, 403).await?;
        swaps += 1;
        if swaps % 105 == 0 {
            say::step(format_args!("{swaps} snapshots"));
        }
    }
    findings.figure("swaps", f64::from(swaps));
    findings.figure("envoy_after_a_fifth_of_swaps_mb", of_envoy.megabytes_at(20));
    findings.figure("envoy_after_swaps_mb", of_envoy.megabytes_at(100));
    findings.at_most("envoy_growth_over_swaps", of_envoy.growth(), MOST_OF_ENVOY);
    findings.figure(
        "sidecar_after_a_fifth_of_swaps_mb",
        of_sidecar.megabytes_at(20),
    );
    findings.figure("sidecar_after_swaps_mb", of_sidecar.megabytes_at(100));
    let most = setting.by_time(MOST_OF_SIDECAR_QUICK, MOST_OF_SIDECAR);
    findings.at_most("sidecar_growth_over_swaps", of_sidecar.growth(), most);
    Ok(())
}

async fn until(workers: &mut Workers, client: &str, status: u16) -> Result<(), Error> {
    match workers.all_answer(client, status, LIMIT).await? {
        true => Ok(()),
        false => Err(Error::Said(format!(
            "{client} was not answered with {status} by every worker"
        ))),
    }
}
