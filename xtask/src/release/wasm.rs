//! The plugin as users fetch it: a file, and an image in the two forms that Istio and Envoy Gateway read.
//!
//! Both read an image's last layer as a tar that holds `plugin.wasm` (the form *compat*, which container
//! tools understand too), or else exactly two layers, the configuration and the bare module (the form *oci*).

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::release::archive::{Member, gzip, tar, unpack};
use crate::release::oci::{CONFIG, LAYER, Layout, hex};
use crate::release::{VERSION, dist, image_layout, read, sbom, write};
use crate::workspace::Workspace;
use crate::{filter, run, say, toolchain};

pub const COMPAT: &str = "filter";
pub const ARTEFACT: &str = "filter-oci";

const MODULE: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
const RUNTIME: &str = "application/vnd.module.wasm.config.v1+json";

pub fn run(workspace: &Workspace, twice: bool) -> Result<(), Error> {
    let plugin = read(&filter::build(workspace, filter::Variant::Shipped)?)?;
    if twice {
        compare(&plugin, &build_elsewhere(workspace)?)?;
    }
    let folder = dist(workspace)?;
    let file = folder.join(format!("portcullis-filter-{VERSION}.wasm"));
    write(&file, &plugin)?;
    let bill = folder.join(format!("portcullis-filter-{VERSION}.cdx.json"));
    sbom::make(workspace, "filter", toolchain::TARGET, &bill)?;
    images(workspace, &plugin)?;
    say::line(file.display());
    Ok(())
}

/// Both forms, each as a layout that holds it under its tag.
pub fn images(workspace: &Workspace, plugin: &[u8]) -> Result<(), Error> {
    compat(&image_layout(workspace, COMPAT), plugin)?;
    artefact(&image_layout(workspace, ARTEFACT), plugin)
}

pub fn tag_of(form: &str) -> String {
    match form {
        ARTEFACT => format!("{VERSION}-oci"),
        _ => VERSION.to_owned(),
    }
}

fn compat(folder: &Path, plugin: &[u8]) -> Result<(), Error> {
    let layout = Layout::create(folder)?;
    let archive = tar(&[Member {
        path: "plugin.wasm".to_owned(),
        mode: 0o644,
        bytes: plugin.to_vec(),
    }])?;
    let content = format!("sha256:{}", hex(&Sha256::digest(&archive)));
    let layer = layout.blob(LAYER, &gzip(&archive)?)?;
    // A module runs anywhere; this is what container tools expect of an image without an index.
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [content]},
    });
    let config = layout.blob(CONFIG, config.to_string().as_bytes())?;
    let mut annotations = annotations();
    if let Some(fields) = annotations.as_object_mut() {
        fields.insert("module.wasm.image/variant".to_owned(), json!("compat"));
    }
    let manifest = layout.manifest(&config, &[layer], &annotations)?;
    layout.name(manifest, &tag_of(COMPAT))
}

fn artefact(folder: &Path, plugin: &[u8]) -> Result<(), Error> {
    let layout = Layout::create(folder)?;
    let runtime = json!({
        "type": "envoy_proxy",
        "abiVersions": ["0.2.1"],
        "config": {"root_ids": []},
    });
    let runtime = layout.blob(RUNTIME, runtime.to_string().as_bytes())?;
    let titled = |name: &str| json!({"org.opencontainers.image.title": name});
    let layers = [
        runtime
            .clone()
            .with("annotations", titled("runtime-config.json")),
        layout
            .blob(MODULE, plugin)?
            .with("annotations", titled("plugin.wasm")),
    ];
    let manifest = layout.manifest(&runtime, &layers, &annotations())?;
    layout.name(manifest, &tag_of(ARTEFACT))
}

/// The plugin in an image, found as Istio and Envoy Gateway find it.
pub fn plugin_of(layout: &Layout) -> Result<Vec<u8>, Error> {
    let mut layers = layout.layers(&layout.image()?)?;
    let found = match layers.last() {
        Some((kind, packed)) if kind == LAYER => unpack(packed, "plugin.wasm")?,
        _ if layers.len() == 2 => {
            let module = layers.iter_mut().find(|(kind, _)| kind == MODULE);
            module.map(|(_, module)| std::mem::take(module))
        }
        _ => None,
    };
    found.ok_or_else(|| Error::Said("the image holds no plugin".to_owned()))
}

fn annotations() -> Value {
    json!({
        "org.opencontainers.image.title": "Portcullis filter",
        "org.opencontainers.image.version": VERSION,
        "org.opencontainers.image.licenses": "Apache-2.0",
    })
}

/// From a copy of the sources at another place, with dependencies fetched to another place, and nothing that was built
/// before.
fn build_elsewhere(workspace: &Workspace) -> Result<Vec<u8>, Error> {
    say::step("the same from copies of the sources and the dependencies elsewhere");
    let elsewhere = tempfile::tempdir().map_err(Error::file(
        "cannot create a folder in",
        std::env::temp_dir(),
    ))?;
    let copy = elsewhere.path().join("a/rather/different/place");
    copy_sources(workspace.root(), &copy)?;
    let other = Workspace::at_place(copy, elsewhere.path().join("built"))
        .fetching_to(elsewhere.path().join("fetched"));
    let mut fetch = run::cargo();
    fetch
        .current_dir(other.root())
        .args(["fetch", "--quiet", "--locked"])
        .env("CARGO_HOME", other.cargo_home());
    run::run(&mut fetch)?;
    read(&filter::build(&other, filter::Variant::Shipped)?)
}

fn copy_sources(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(Error::file("cannot create", to))?;
    let entries = fs::read_dir(from).map_err(Error::file("cannot read", from))?;
    for entry in entries.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        if name == "target" || name == ".git" {
            continue;
        }
        if path.is_dir() {
            copy_sources(&path, &to.join(name))?;
        } else {
            fs::copy(&path, to.join(name)).map_err(Error::file("cannot copy", &path))?;
        }
    }
    Ok(())
}

fn compare(here: &[u8], elsewhere: &[u8]) -> Result<(), Error> {
    let digests = [here, elsewhere].map(|plugin| hex(&Sha256::digest(plugin)));
    if here != elsewhere {
        let [here, elsewhere] = digests;
        return Err(Error::Said(format!(
            "the plugin depends on where it is built: {here} here, {elsewhere} elsewhere"
        )));
    }
    say::step("the same bytes at both places");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn json_of(folder: &Path, digest: &str) -> Value {
        serde_json::from_slice(&blob(folder, digest)).unwrap()
    }

    /// A blob, which has to be what its name says.
    fn blob(folder: &Path, digest: &str) -> Vec<u8> {
        let bytes = fs::read(folder.join("blobs").join(digest.replace(':', "/"))).unwrap();
        assert_eq!(format!("sha256:{}", hex(&Sha256::digest(&bytes))), digest);
        bytes
    }

    fn manifest(folder: &Path, tag: &str) -> Value {
        let index: Value =
            serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
        let named = &index["manifests"][0];
        assert_eq!(
            named["annotations"]["org.opencontainers.image.ref.name"],
            tag
        );
        json_of(folder, named["digest"].as_str().unwrap())
    }

    #[test]
    fn the_compat_form_is_one_layer_that_holds_the_plugin() {
        let folder = tempfile::tempdir().unwrap();
        compat(folder.path(), b"\0asm").unwrap();
        let manifest = manifest(folder.path(), VERSION);
        assert_eq!(
            manifest["annotations"]["module.wasm.image/variant"],
            "compat"
        );
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], LAYER);
        let packed = blob(folder.path(), layer["digest"].as_str().unwrap());
        assert_eq!(layer["size"], packed.len());
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut archive)
            .unwrap();
        let config = json_of(
            folder.path(),
            manifest["config"]["digest"].as_str().unwrap(),
        );
        let content = format!("sha256:{}", hex(&Sha256::digest(&archive)));
        assert_eq!(config["rootfs"]["diff_ids"], json!([content]));
        assert_eq!(plugin_of(&Layout::open(folder.path())).unwrap(), b"\0asm");
    }

    #[test]
    fn the_oci_form_is_the_configuration_and_the_bare_module() {
        let folder = tempfile::tempdir().unwrap();
        artefact(folder.path(), b"\0asm").unwrap();
        let manifest = manifest(folder.path(), &format!("{VERSION}-oci"));
        let layers = manifest["layers"].as_array().unwrap();
        let types: Vec<_> = layers
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap())
            .collect();
        assert_eq!(types, [RUNTIME, MODULE]);
        assert_eq!(manifest["config"]["mediaType"], RUNTIME);
        assert_eq!(plugin_of(&Layout::open(folder.path())).unwrap(), b"\0asm");
        let runtime = json_of(folder.path(), layers[0]["digest"].as_str().unwrap());
        assert_eq!(runtime["type"], "envoy_proxy");
    }

    #[test]
    fn the_same_plugin_makes_the_same_image() {
        let digests: Vec<_> = (0..2)
            .map(|_| {
                let folder = tempfile::tempdir().unwrap();
                compat(folder.path(), b"\0asm").unwrap();
                Layout::open(folder.path())
                    .image()
                    .unwrap()
                    .digest()
                    .to_owned()
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
    }

    #[test]
    fn plugins_that_differ_are_told_apart() {
        compare(b"one", b"one").unwrap();
        let told = compare(b"one", b"two").unwrap_err().to_string();
        assert!(told.contains("depends on where it is built"), "{told}");
    }
}
