//! From what `docker save` writes to a layout: the configuration as it is, byte for byte, and each layer compressed.
//!
//! Not by a tool that translates: what OCI does not know of a configuration, the health check, would be lost on the way.

use std::collections::HashMap;
use std::io::Read;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::release::archive::{gzip, plain};
use crate::release::oci::{CONFIG, Descriptor, LAYER, Layout, hex};

/// The files of an archive, by name.
struct Members(HashMap<String, Vec<u8>>);

/// The one image of the archive, as blobs of `layout`.
pub fn lay(archive: impl Read, layout: &Layout) -> Result<Descriptor, Error> {
    let members = Members::of(archive)?;
    let manifest = members.json("manifest.json")?;
    let config = manifest.pointer("/0/Config").and_then(Value::as_str);
    let config = config.unwrap_or_default();
    let contents = members.json(config)?;
    let (names, contents) = (
        texts(manifest.pointer("/0/Layers")),
        texts(contents.pointer("/rootfs/diff_ids")),
    );
    if names.len() != contents.len() {
        return Err(faulty("has other layers than its configuration says"));
    }
    let layers = names.iter().zip(contents);
    let layers: Result<Vec<_>, _> = layers
        .map(|(name, content)| layer(layout, members.get(name)?, content))
        .collect();
    let config = layout.blob(CONFIG, members.get(config)?)?;
    layout.manifest(&config, &layers?, &json!({}))
}

/// One that is what the configuration says of it. Some engines keep layers compressed.
fn layer(layout: &Layout, saved: &[u8], content: &str) -> Result<Descriptor, Error> {
    let archive = plain(saved)?;
    let found = format!("sha256:{}", hex(&Sha256::digest(&archive)));
    if found != content {
        return Err(faulty(&format!(
            "has the layer {found} in place of {content}"
        )));
    }
    layout.blob(LAYER, &gzip(&archive)?)
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    let list = list.and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

impl Members {
    fn of(archive: impl Read) -> Result<Self, Error> {
        let failed = |error| Error::Said(format!("cannot read what Docker saved: {error}"));
        let mut members = HashMap::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?.display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(failed)?;
            members.insert(name, bytes);
        }
        Ok(Self(members))
    }

    fn get(&self, name: &str) -> Result<&[u8], Error> {
        let found = self.0.get(name).map(Vec::as_slice);
        found.ok_or_else(|| faulty(&format!("lacks {name:?}")))
    }

    fn json(&self, name: &str) -> Result<Value, Error> {
        serde_json::from_slice(self.get(name)?)
            .map_err(|error| faulty(&format!("holds {name}: {error}")))
    }
}

fn faulty(what: &str) -> Error {
    Error::Said(format!("what Docker saved {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::archive::{Member, tar};

    fn saved(layer: &[u8], content: &str) -> Vec<u8> {
        let config = json!({
            "config": {"Healthcheck": {"Test": ["CMD", "portcullis", "health"]}},
            "rootfs": {"type": "layers", "diff_ids": [content]},
        });
        let manifest = json!([{"Config": "c.json", "Layers": ["a/layer.tar"]}]);
        let members = [
            ("a/layer.tar", layer.to_vec()),
            ("c.json", config.to_string().into_bytes()),
            ("manifest.json", manifest.to_string().into_bytes()),
        ];
        let members = members.map(|(path, bytes)| Member {
            path: path.to_owned(),
            mode: 0o644,
            bytes,
        });
        tar(&members).unwrap()
    }

    #[test]
    fn a_saved_image_keeps_its_configuration_whole_whether_its_layers_are_packed_or_not() {
        let content = format!("sha256:{}", hex(&Sha256::digest(b"a layer")));
        for layer in [b"a layer".to_vec(), gzip(b"a layer").unwrap()] {
            let folder = tempfile::tempdir().unwrap();
            let layout = Layout::create(folder.path()).unwrap();
            let image = lay(&saved(&layer, &content)[..], &layout).unwrap();
            let (kind, packed) = layout.layers(&image).unwrap().remove(0);
            assert_eq!((kind.as_str(), packed), (LAYER, gzip(b"a layer").unwrap()));
            let config = layout.configuration(&image).unwrap();
            let health = config.pointer("/config/Healthcheck/Test/2");
            assert_eq!(health, Some(&json!("health")));
        }
    }

    #[test]
    fn a_layer_that_the_configuration_does_not_know_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path()).unwrap();
        let told = lay(&saved(b"a layer", "sha256:00")[..], &layout).unwrap_err();
        assert!(told.to_string().contains("in place of sha256:00"), "{told}");
    }
}
