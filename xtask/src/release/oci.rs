//! An image on the disk, in OCI's layout: blobs under their digests, and an index that names the image.
//! Only what our images need; no registry is spoken to here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::release::{read, write};

pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const REFERENCE: &str = "org.opencontainers.image.ref.name";

/// A folder that holds one image under one tag.
pub struct Layout {
    root: PathBuf,
}

/// What a blob is and how it is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor(Value);

impl Descriptor {
    pub fn digest(&self) -> &str {
        self.0
            .get("digest")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    pub fn with(mut self, key: &str, value: Value) -> Self {
        if let Some(fields) = self.0.as_object_mut() {
            fields.insert(key.to_owned(), value);
        }
        self
    }
}

impl Layout {
    /// An empty one, in place of what lay there.
    pub fn create(root: &Path) -> Result<Self, Error> {
        if root.exists() {
            fs::remove_dir_all(root).map_err(Error::file("cannot empty", root))?;
        }
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::file("cannot create", &blobs))?;
        write(
            &root.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// One that was made before, here or by another program.
    pub fn open(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    pub fn blob(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, Error> {
        let digest = hex(&Sha256::digest(bytes));
        write(&self.root.join("blobs/sha256").join(&digest), bytes)?;
        Ok(Descriptor(json!({
            "mediaType": media_type,
            "digest": format!("sha256:{digest}"),
            "size": bytes.len(),
        })))
    }

    pub fn manifest(
        &self,
        config: &Descriptor,
        layers: &[Descriptor],
        annotations: &Value,
    ) -> Result<Descriptor, Error> {
        let layers: Vec<_> = layers.iter().map(|layer| &layer.0).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.0,
            "layers": layers,
            "annotations": annotations,
        });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// One name for several architectures.
    pub fn index(
        &self,
        manifests: &[Descriptor],
        annotations: &Value,
    ) -> Result<Descriptor, Error> {
        let index = index_of(manifests, Some(annotations));
        self.blob(INDEX, index.to_string().as_bytes())
    }

    /// Makes `image` what the layout holds.
    pub fn name(&self, image: Descriptor, tag: &str) -> Result<(), Error> {
        let named = image.with("annotations", json!({ REFERENCE: tag }));
        let index = index_of(&[named], None);
        write(&self.root.join("index.json"), index.to_string().as_bytes())
    }

    /// The image that the layout holds, without its name.
    pub fn image(&self) -> Result<Descriptor, Error> {
        let index = self.json(&self.root.join("index.json"))?;
        let mut image = index
            .pointer("/manifests/0")
            .cloned()
            .ok_or_else(|| self.faulty("names no image"))?;
        if let Some(fields) = image.as_object_mut() {
            fields.remove("annotations");
        }
        Ok(Descriptor(image))
    }

    /// The layers of the image, each with its media type, checked against their digests.
    pub fn layers(&self, image: &Descriptor) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let manifest = self.json(&self.path_of(image.digest())?)?;
        let layers = manifest.get("layers").and_then(Value::as_array);
        let text = |layer: &Value, key: &str| {
            layer
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let read_layer = |layer: &Value| {
            let digest = text(layer, "digest");
            let bytes = read(&self.path_of(&digest)?)?;
            match format!("sha256:{}", hex(&Sha256::digest(&bytes))) == digest {
                true => Ok((text(layer, "mediaType"), bytes)),
                false => Err(self.faulty("has a layer that is not what its digest says")),
            }
        };
        layers.into_iter().flatten().map(read_layer).collect()
    }

    /// Which machines the image is for, as its configuration says.
    pub fn platform(&self, image: &Descriptor) -> Result<Value, Error> {
        let config = self.configuration(image)?;
        match (config.get("os"), config.get("architecture")) {
            (Some(os), Some(architecture)) => Ok(json!({"os": os, "architecture": architecture})),
            _ => Err(self.faulty("says of no machine that it is for it")),
        }
    }

    pub fn configuration(&self, image: &Descriptor) -> Result<Value, Error> {
        let manifest = self.json(&self.path_of(image.digest())?)?;
        let config = manifest.pointer("/config/digest").and_then(Value::as_str);
        self.json(&self.path_of(config.unwrap_or_default())?)
    }

    /// An image of this layout, said to be for machines of another architecture.
    pub fn claimed(&self, image: &Descriptor, architecture: &str) -> Result<Descriptor, Error> {
        let mut config = self.configuration(image)?;
        let mut manifest = self.json(&self.path_of(image.digest())?)?;
        if let Some(fields) = config.as_object_mut() {
            fields.insert("architecture".to_owned(), json!(architecture));
        }
        let config = self.blob(CONFIG, config.to_string().as_bytes())?;
        if let Some(fields) = manifest.as_object_mut() {
            fields.insert("config".to_owned(), config.0);
        }
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    /// Takes over all blobs of another layout.
    pub fn take_blobs(&self, other: &Self) -> Result<(), Error> {
        let folder = other.root.join("blobs/sha256");
        let entries = fs::read_dir(&folder).map_err(Error::file("cannot read", &folder))?;
        for blob in entries.filter_map(Result::ok) {
            let to = self.root.join("blobs/sha256").join(blob.file_name());
            fs::copy(blob.path(), &to).map_err(Error::file("cannot copy to", &to))?;
        }
        Ok(())
    }

    fn path_of(&self, digest: &str) -> Result<PathBuf, Error> {
        let hex = digest
            .strip_prefix("sha256:")
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| self.faulty("has a blob without a SHA-256"))?;
        Ok(self.root.join("blobs/sha256").join(hex))
    }

    fn json(&self, path: &Path) -> Result<Value, Error> {
        serde_json::from_slice(&read(path)?)
            .map_err(|error| self.faulty(&format!("holds {}: {error}", path.display())))
    }

    fn faulty(&self, what: &str) -> Error {
        Error::Said(format!("the image in {} {what}", self.root.display()))
    }
}

fn index_of(manifests: &[Descriptor], annotations: Option<&Value>) -> Value {
    let manifests: Vec<_> = manifests.iter().map(|manifest| &manifest.0).collect();
    let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
    if let (Some(annotations), Some(fields)) = (annotations, index.as_object_mut()) {
        fields.insert("annotations".to_owned(), annotations.clone());
    }
    index
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
