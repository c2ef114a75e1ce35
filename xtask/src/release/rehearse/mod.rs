//! The plugin's way to a user, tried here: both forms of its image are pushed to a registry on this machine,
//! fetched by digest, and what is found in them is the plugin, which a real Envoy then runs. What needs a Docker engine, the
//! sidecar's image, is tried by `cargo xtask compose`.

mod pins;
pub mod sidecar;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use kit::child::Child;
use kit::ports;

use crate::error::Error;
use crate::release::oci::Layout;
use crate::release::push::{self, Registry};
use crate::release::{read, wasm, write};
use crate::workspace::Workspace;
use crate::{debian, envoy, filter, run, say, tests};

/// The end-to-end tests that the fetched plugin has to pass: it decides, marks and refuses.
const TESTS: &str = "blocking::";

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    run::require_installed("skopeo")?;
    let plugin = read(&filter::build(workspace, filter::Variant::Shipped)?)?;
    wasm::images(workspace, &plugin)?;
    let folder = tempfile::tempdir().map_err(Error::file(
        "cannot create a folder in",
        std::env::temp_dir(),
    ))?;
    let (_process, address) = start(workspace, folder.path())?;
    let registry = Registry::new(&address.to_string(), true)?;
    let came_back = folder.path().join("plugin.wasm");
    for image in push::filters() {
        let digest = registry.push(workspace, &image)?;
        let fetched = folder.path().join(image.layout);
        registry.fetch(&image, &digest, &fetched)?;
        let found = wasm::plugin_of(&Layout::open(&fetched))?;
        if found != plugin {
            let form = image.layout;
            return Err(Error::Said(format!(
                "the plugin in the image {form} is another one"
            )));
        }
        write(&came_back, &found)?;
        say::step(format_args!("{} came back as {digest}", image.layout));
    }
    pins::run(workspace, address, folder.path())?;
    let options = tests::Options {
        envoy: envoy::DEFAULT_VERSION.to_owned(),
        only: vec![TESTS.to_owned()],
        plugin: Some(came_back),
    };
    tests::run(workspace, &options)
}

/// A registry that ends with the first value.
fn start(workspace: &Workspace, folder: &Path) -> Result<(Child, SocketAddr), Error> {
    let binary = debian::ensure(workspace, &debian::REGISTRY)?;
    let address = SocketAddr::from(([127, 0, 0, 1], ports::reserve()?));
    let config = folder.join("registry.yml");
    let storage = folder.join("storage");
    let text = format!(
        "version: 0.1\nhttp: {{addr: \"{address}\"}}\nstorage: {{filesystem: {{rootdirectory: {storage:?}}}}}\n"
    );
    write(&config, text.as_bytes())?;
    let mut command = Command::new(binary);
    let mut registry = Child::spawn("registry", command.arg("serve").arg(&config), folder)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::Said(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(registry.wait_until_answers(address, "/v2/"))?;
    Ok((registry, address))
}
