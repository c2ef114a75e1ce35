//! What the parts run on: the programs, and the edge that most of them load.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::sidecar::{Addresses, SidecarBuilder};
use kit::{Envoy, Sidecar};

use crate::bench::lists;
use crate::bench::load::Wrk;
use crate::bench::stage::answer_directly;
use crate::error::Error;
use crate::load::stage::base;

pub struct Setting {
    pub quick: bool,
    /// For everything that is written.
    pub folder: PathBuf,
    pub wasm: PathBuf,
    /// The plugin that logs how long its callbacks took.
    pub timed: PathBuf,
    pub portcullis: PathBuf,
    pub envoy: PathBuf,
    pub wrk: Wrk,
}

/// As many as the lists that are common among operators hold together.
pub const ADDRESSES: u32 = 120_430;
/// Longer than anything that is awaited takes.
pub const LIMIT: Duration = Duration::from_secs(60);
const WORKERS: u32 = 2;
/// The name of the list, and of its file.
const LISTED: &str = "listed";

impl Setting {
    /// One of two numbers, by how much time there is.
    pub fn by_time<T>(&self, quick: T, full: T) -> T {
        match self.quick {
            true => quick,
            false => full,
        }
    }

    /// A sidecar that knows nothing yet.
    pub fn sidecar(&self) -> Result<SidecarBuilder, Error> {
        Ok(Sidecar::builder_in(&self.folder)?.binary(&self.portcullis))
    }

    /// With a list of [`ADDRESSES`] that it looks at each second.
    pub fn loaded_sidecar(&self) -> Result<SidecarBuilder, Error> {
        let text = lists::text(0..ADDRESSES);
        Ok(self
            .sidecar()?
            .list(LISTED, "block = true", "plain", &text)?)
    }

    /// Two workers with this build of the plugin, which answer by themselves, once they have a snapshot.
    pub async fn edge(&self, wasm: &Path, sidecar: &Addresses) -> Result<Envoy, Error> {
        let mut config = base()?;
        answer_directly(&mut config)?;
        config.set_wasm(wasm)?;
        config.set_sidecar(sidecar)?;
        let envoy = Envoy::with(config, &self.envoy).concurrency(WORKERS);
        let envoy = envoy.start_in(&self.folder).await?;
        match envoy.until_snapshot(LIMIT).await? {
            true => Ok(envoy),
            false => Err(Error::Said("no snapshot reached the plugin".to_owned())),
        }
    }
}

/// Puts another text in the place of [`Setting::loaded_sidecar`]'s list, in one step.
pub fn exchange_list(sidecar: &Sidecar, text: &str) -> Result<(), Error> {
    let path = sidecar.folder().join(format!("{LISTED}.list"));
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, text).map_err(Error::file("cannot write", &fresh))?;
    std::fs::rename(&fresh, &path).map_err(Error::file("cannot place", &path))
}

/// A command that must succeed.
pub async fn order(sidecar: &Sidecar, words: &[&str]) -> Result<(), Error> {
    let output = sidecar.cli(words).await?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Said(format!(
        "portcullis {}: {said}",
        words.join(" ")
    )))
}
