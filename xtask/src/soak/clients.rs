//! Whether memory levels off over ten million clients that nobody has seen before: Envoy's, and that of the sidecar, which
//! the plugin asks about them. A provider is configured, so that there is somebody to ask; its day's calls are soon used
//! up.

use std::path::PathBuf;

use kit::abuseipdb::{AbuseIpDb, KEY};
use kit::{Envoy, Sidecar};

use super::course::Course;
use super::findings::Findings;
use super::setting::Setting;
use crate::error::Error;
use crate::say;

/// 80.0.0.0, from where on [`STRIDE`] leads to public addresses only, and to no listed one.
const FIRST: u32 = 0x5000_0000;
const STRIDE: u32 = 15;
/// Requests under way when a slice ends were sent, but not counted.
const UNCOUNTED: u32 = 64;
const MOST_OF_ENVOY: f64 = 1.05;
const MOST_OF_SIDECAR: f64 = 1.10;
/// What it remembers is still being filled after so few.
const MOST_OF_SIDECAR_QUICK: f64 = 1.5;
const SHOWN_EVERY: usize = 60;

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    let provider = AbuseIpDb::start().await?;
    let sidecar = setting.loaded_sidecar()?.toml(&provider.toml());
    let sidecar = sidecar.env("ABUSEIPDB_KEY", KEY).start().await?;
    let envoy = setting.edge(&setting.wasm, &sidecar.addresses()).await?;
    let wanted = setting.by_time(400_000, 10_000_000);
    let (of_envoy, of_sidecar) = load(setting, wanted, &envoy, &sidecar)?;
    let asked = sidecar
        .metric("portcullis_http_requests_total", &["route=\"verdict\""])
        .await;
    findings.figure("clients", f64::from(wanted));
    findings.figure("look_ups_about_clients", asked);
    // While many look-ups are under way, clients pass without.
    if asked < f64::from(wanted) / 10.0 {
        findings.faults(["the plugin asked about less than a tenth of the clients".to_owned()]);
    }
    let most_of_sidecar = setting.by_time(MOST_OF_SIDECAR_QUICK, MOST_OF_SIDECAR);
    for (name, course, most) in [
        ("envoy", of_envoy, MOST_OF_ENVOY),
        ("sidecar", of_sidecar, most_of_sidecar),
    ] {
        for (when, percent) in [("a_fifth_of", 20), ("half_of", 50), ("all", 100)] {
            let megabytes = course.megabytes_at(percent);
            findings.figure(&format!("{name}_after_{when}_clients_mb"), megabytes);
        }
        let growth = format!("{name}_growth_over_clients");
        findings.at_most(&growth, course.growth(), most);
    }
    Ok(())
}

/// The memory of Envoy and sidecar, each second.
fn load(
    setting: &Setting,
    wanted: u32,
    envoy: &Envoy,
    sidecar: &Sidecar,
) -> Result<(Course, Course), Error> {
    let (mut of_envoy, mut of_sidecar) = (Course::default(), Course::default());
    let (mut done, mut sent) = (0, 0);
    for slice in 1.. {
        if done >= wanted {
            break;
        }
        let script = script(setting, FIRST + sent * STRIDE)?;
        let answered = setting.wrk.scripted(envoy.edge(), &script)?;
        done += answered;
        sent += answered + UNCOUNTED;
        of_envoy.add(envoy.memory());
        of_sidecar.add(sidecar.memory());
        if slice % SHOWN_EVERY == 0 {
            say::step(format_args!("{done} of {wanted} clients"));
        }
    }
    Ok((of_envoy, of_sidecar))
}

/// What tells wrk for which clients its requests are.
fn script(setting: &Setting, first: u32) -> Result<PathBuf, Error> {
    let script = format!(
        "local bits = {first}\n\
         local function octet(place) return math.floor(bits / place) % 256 end\n\
         function request()\n  \
           bits = bits + {STRIDE}\n  \
           wrk.headers[\"x-forwarded-for\"] =\n    \
             octet(16777216) .. \".\" .. octet(65536) .. \".\" .. octet(256) .. \".\" .. octet(1)\n  \
           return wrk.format(\"GET\", \"/\")\n\
         end\n"
    );
    let path = setting.folder.join("clients.lua");
    std::fs::write(&path, script).map_err(Error::file("cannot write", &path))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use reputation::{ClientAddress, special};

    use super::*;

    #[test]
    fn all_clients_are_public() {
        let all = (0..11_000_000_u32).step_by(7);
        let public = |number: u32| special::is_public(ClientAddress::V4(FIRST + number * STRIDE));
        assert!(all.into_iter().all(public));
    }
}
