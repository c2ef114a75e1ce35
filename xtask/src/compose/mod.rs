//! `cargo xtask compose`: docker-compose.yml as it is shipped, on this machine's Docker or on an engine of our own,
//! proven by requests, restarts and wrong values.

mod bait;
mod compiler;
mod container;
mod files;
mod images;
mod proof;
mod stack;
mod stand_ins;
mod wrong;

use crate::engine::Engine;
use crate::error::Error;
use crate::release::rehearse;
use crate::workspace::Workspace;
use crate::{package, say};

use files::Files;
use images::{Images, Site};
use stack::Stack;

/// What the profile `monitoring` starts. Only of Grafana there is no package to stand in for its image.
const WATCHERS: [&str; 3] = ["prometheus", "alertmanager", GRAFANA];
const GRAFANA: &str = "grafana";

/// Where what is in our images is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    /// Here and now.
    Here,
    /// It lies in target/image already.
    Before,
    /// In containers, by the Dockerfiles' own stages.
    Inside,
}

impl Making {
    pub fn chosen(packaged: bool, build: bool) -> Self {
        match (packaged, build) {
            (true, _) => Self::Before,
            (_, true) => Self::Inside,
            _ => Self::Here,
        }
    }
}

pub fn run(workspace: &Workspace, making: Making) -> Result<(), Error> {
    if making == Making::Here {
        package::run(workspace, &[])?;
    }
    let engine = Engine::ensure()?;
    say::step(format_args!("with {}", engine.described()?));
    let files = Files::of(workspace, &engine)?;
    let missing = images::fetch(workspace, &engine, &files.images(making)?)?;
    if let Some(image) = missing.iter().find(|image| !image.contains(GRAFANA)) {
        return Err(Error::Said(format!(
            "{image} cannot be had on this machine"
        )));
    }
    let images = Images::named();
    let mut stack = Stack::new(workspace, &engine, &files, &images)?;
    let site = Site {
        workspace,
        engine: &engine,
        files: &files,
        making,
    };
    images.build(&site, &stack)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start a runtime: {error}")))?;
    let proven = runtime.block_on(async {
        wrong::values(&mut stack, workspace)?;
        prove(&mut stack).await?;
        proof::watched(&mut stack, &watchers(&missing)).await
    });
    drop(stack);
    let proven = proven.and_then(|()| rehearse::sidecar::run(workspace, &engine, &images.sidecar));
    images.remove(&engine);
    proven?;
    say::line("docker-compose.yml holds what it promises.");
    Ok(())
}

async fn prove(stack: &mut Stack<'_>) -> Result<(), Error> {
    say::step("docker compose up");
    stack.up()?;
    stack.until_well().await?;
    proof::sample(stack).await?;
    proof::contained(stack)?;
    proof::kept(stack).await?;
    proof::without_sidecar(stack).await?;
    proof::wrong_password(stack).await?;
    proof::monitor(stack).await
}

fn watchers(missing: &[String]) -> Vec<&'static str> {
    if missing.is_empty() {
        return WATCHERS.to_vec();
    }
    say::step("Grafana is left out: its image cannot be had on this machine");
    let others = WATCHERS.into_iter().filter(|service| *service != GRAFANA);
    others.collect()
}
