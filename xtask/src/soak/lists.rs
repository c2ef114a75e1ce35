//! How long it takes from the file of a list to the published snapshot, and how large that is: how much later a sidecar
//! with the list is ready than one without, in turn.

use std::time::Instant;

use kit::{RawProxy, Sidecar};

use super::findings::Findings;
use super::setting::{ADDRESSES, Setting};
use crate::bench::lists;
use crate::bench::statistics::Median;
use crate::demo::list::feed_toml;
use crate::error::Error;

struct Size {
    addresses: u32,
    time: &'static str,
    bytes: &'static str,
}

const SIZES: [Size; 3] = [
    Size {
        addresses: ADDRESSES,
        time: "list_120430_to_snapshot_ms",
        bytes: "image_120430_kb",
    },
    Size {
        addresses: 1_000_000,
        time: "list_1m_to_snapshot_ms",
        bytes: "image_1m_kb",
    },
    Size {
        addresses: 5_000_000,
        time: "list_5m_to_snapshot_ms",
        bytes: "image_5m_kb",
    },
];

pub async fn measure(setting: &Setting, findings: &mut Findings) -> Result<(), Error> {
    for size in SIZES.iter().take(setting.by_time(2, 3)) {
        let mut later = Vec::new();
        let mut kilobytes = f64::NAN;
        for _ in 0..setting.by_time(5, 9) {
            let (without, _) = start(setting, 0).await?;
            let (with, sidecar) = start(setting, size.addresses).await?;
            later.push(with - without);
            let mut proxy = RawProxy::connect(sidecar.edge()).await?;
            proxy.pull().await?;
            kilobytes = f64::from(u32::try_from(proxy.length()).unwrap_or(u32::MAX)) / 1e3;
        }
        findings.figure(size.time, Median::of(later).value);
        findings.figure(size.bytes, kilobytes);
    }
    Ok(())
}

/// A sidecar with a list of so many addresses; with it how many milliseconds it took to be ready.
async fn start(setting: &Setting, addresses: u32) -> Result<(f64, Sidecar), Error> {
    let mut builder = setting.sidecar()?;
    for (number, path) in lists::make(&setting.folder, addresses)?.iter().enumerate() {
        builder = builder.toml(&feed_toml(&format!("listed-{number}"), path, "netset"));
    }
    let begun = Instant::now();
    let sidecar = builder.start().await?;
    Ok((begun.elapsed().as_secs_f64() * 1000.0, sidecar))
}
