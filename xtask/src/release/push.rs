//! From the layouts in `target/images` to a registry, byte for byte: what is pushed has the digest that it
//! has here.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::error::Error;
use crate::release::oci::Layout;
use crate::release::{VERSION, image, image_layout, read, wasm};
use crate::workspace::Workspace;
use crate::{run, say};

/// The layout's name, the image's name in the registry, and the image's tag.
pub struct Image {
    pub layout: &'static str,
    pub name: &'static str,
    pub tag: String,
}

/// A registry and how it is spoken to.
pub struct Registry {
    address: String,
    /// HTTP, for one on this machine.
    plain: bool,
    login: Login,
}

pub fn run(workspace: &Workspace, registry: &str, plain: bool) -> Result<(), Error> {
    run::require_installed("skopeo")?;
    unite(workspace)?;
    let sidecar = Image {
        layout: image::SIDECAR,
        name: "portcullis",
        tag: VERSION.to_owned(),
    };
    let registry = Registry::new(registry, plain)?;
    for image in filters().into_iter().chain([sidecar]) {
        let digest = registry.push(workspace, &image)?;
        say::line(format_args!("{}@{digest}", registry.name_of(&image)));
        tell_github(image.layout, &digest)?;
    }
    Ok(())
}

/// The plugin in both forms.
pub fn filters() -> [Image; 2] {
    [wasm::COMPAT, wasm::ARTEFACT].map(|layout| Image {
        layout,
        name: "filter",
        tag: wasm::tag_of(layout),
    })
}

/// The sidecar's images of all architectures, as one.
fn unite(workspace: &Workspace) -> Result<(), Error> {
    let united = Layout::create(&image_layout(workspace, image::SIDECAR))?;
    let mut parts = Vec::new();
    for folder in image::built(workspace)? {
        let layout = Layout::open(&folder);
        let part = layout.image()?;
        let platform = layout.platform(&part)?;
        united.take_blobs(&layout)?;
        parts.push(part.with("platform", platform));
    }
    let annotations = json!({"org.opencontainers.image.version": VERSION});
    let index = united.index(&parts, &annotations)?;
    united.name(index, VERSION)
}

impl Registry {
    pub fn new(address: &str, plain: bool) -> Result<Self, Error> {
        Ok(Self {
            address: address.to_owned(),
            plain,
            login: Login::of_environment(address)?,
        })
    }

    fn name_of(&self, image: &Image) -> String {
        format!("{}/{}:{}", self.address, image.name, image.tag)
    }

    /// Returns the digest under which the image can be fetched from now on.
    pub fn push(&self, workspace: &Workspace, image: &Image) -> Result<String, Error> {
        let folder = image_layout(workspace, image.layout);
        let note = workspace
            .built("images")
            .join(format!("{}.digest", image.layout));
        let mut skopeo = Command::new("skopeo");
        skopeo
            .args([
                "copy",
                "--quiet",
                "--all",
                "--preserve-digests",
                "--digestfile",
            ])
            .arg(&note);
        if self.plain {
            skopeo.arg("--dest-tls-verify=false");
        }
        if let Some(file) = self.login.file() {
            skopeo.arg("--authfile").arg(file);
        }
        skopeo.args([
            format!("oci:{}:{}", folder.display(), image.tag),
            format!("docker://{}", self.name_of(image)),
        ]);
        run::run(&mut skopeo)?;
        let digest = String::from_utf8_lossy(&read(&note)?).trim().to_owned();
        let ours = Layout::open(&folder).image()?;
        if digest != ours.digest() {
            let (name, ours) = (self.name_of(image), ours.digest());
            return Err(Error::Said(format!(
                "{name} was pushed as {digest}, not as {ours}"
            )));
        }
        Ok(digest)
    }

    /// Fetches an image by its digest alone, as a layout in `folder`.
    pub fn fetch(&self, image: &Image, digest: &str, folder: &Path) -> Result<(), Error> {
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--all", "--preserve-digests"]);
        if self.plain {
            skopeo.arg("--src-tls-verify=false");
        }
        skopeo.args([
            format!("docker://{}/{}@{digest}", self.address, image.name),
            format!("oci:{}:{}", folder.display(), image.tag),
        ]);
        run::run(&mut skopeo)
    }
}

/// Later steps attest what was pushed by its digest.
fn tell_github(name: &str, digest: &str) -> Result<(), Error> {
    let Some(file) = std::env::var_os("GITHUB_OUTPUT").map(PathBuf::from) else {
        return Ok(());
    };
    let opened = OpenOptions::new().append(true).create(true).open(&file);
    opened
        .and_then(|mut output| writeln!(output, "{name}={digest}"))
        .map_err(Error::file("cannot write", &file))
}

/// Who pushes: the one in `REGISTRY_USER` and `REGISTRY_TOKEN`, else whom skopeo knows already. The token
/// is passed by pipe, and what skopeo makes of it goes when the task ends.
struct Login(Option<tempfile::TempDir>);

impl Login {
    fn of_environment(registry: &str) -> Result<Self, Error> {
        let (Ok(user), Ok(token)) = (
            std::env::var("REGISTRY_USER"),
            std::env::var("REGISTRY_TOKEN"),
        ) else {
            return Ok(Self(None));
        };
        let folder = tempfile::tempdir().map_err(Error::file(
            "cannot create a folder in",
            std::env::temp_dir(),
        ))?;
        let login = Self(Some(folder));
        login.log_in(registry, &user, &token)?;
        Ok(login)
    }

    fn file(&self) -> Option<PathBuf> {
        self.0
            .as_ref()
            .map(|folder| folder.path().join("auth.json"))
    }

    fn log_in(&self, registry: &str, user: &str, token: &str) -> Result<(), Error> {
        let host = registry.split('/').next().unwrap_or(registry);
        let mut command = Command::new("skopeo");
        command
            .args([
                "login",
                "--username",
                user,
                "--password-stdin",
                "--authfile",
            ])
            .arg(self.file().as_deref().unwrap_or(Path::new("")))
            .arg(host);
        run::fed(&mut command, token.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn build(workspace: &Workspace, architecture: &str) -> String {
        let name = format!("{}-{architecture}", image::SIDECAR);
        let layout = Layout::create(&image_layout(workspace, &name)).unwrap();
        let config = json!({"os": "linux", "architecture": architecture});
        let config = layout.blob(
            "application/vnd.oci.image.config.v1+json",
            config.to_string().as_bytes(),
        );
        let image = layout.manifest(&config.unwrap(), &[], &json!({})).unwrap();
        let digest = image.digest().to_owned();
        layout.name(image, VERSION).unwrap();
        digest
    }

    #[test]
    fn the_sidecars_images_of_two_machines_become_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at_place(folder.path().join("root"), folder.path().to_path_buf());
        let digests = ["amd64", "arm64"].map(|architecture| build(&workspace, architecture));
        unite(&workspace).unwrap();
        let root = image_layout(&workspace, image::SIDECAR);
        let united = Layout::open(&root).image().unwrap();
        let blob = |digest: &str| read(&root.join("blobs").join(digest.replace(':', "/"))).unwrap();
        let index: Value = serde_json::from_slice(&blob(united.digest())).unwrap();
        let parts = index["manifests"].as_array().unwrap();
        let found: Vec<_> = parts
            .iter()
            .map(|part| (&part["digest"], &part["platform"]["architecture"]))
            .collect();
        let expected = [
            (&json!(digests[0]), &json!("amd64")),
            (&json!(digests[1]), &json!("arm64")),
        ];
        assert_eq!(found, expected);
        for digest in &digests {
            assert!(!blob(digest).is_empty());
        }
    }

    #[test]
    fn half_an_image_is_not_pushed_and_it_says_how_to_get_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at_place(folder.path().join("root"), folder.path().to_path_buf());
        build(&workspace, "amd64");
        let told = unite(&workspace).unwrap_err().to_string();
        assert!(told.contains("for arm64"), "{told}");
        assert!(told.contains("cargo xtask release image"), "{told}");
    }
}
