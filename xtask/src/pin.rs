//! `cargo xtask pin`: writes the digest behind each image that docker-compose.yml and the Dockerfiles name, as its
//! registry tells it now.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::workspace::Workspace;
use crate::{run, say};

pub const FILES: [&str; 3] = [
    "docker-compose.yml",
    "filter/Dockerfile",
    "sidecar/Dockerfile",
];

pub fn run(workspace: &Workspace) -> Result<(), Error> {
    by(workspace, None)
}

/// As [`run`]; `registries` says which registry answers for which, in the form of `registries.conf`.
pub fn by(workspace: &Workspace, registries: Option<&Path>) -> Result<(), Error> {
    run::require_installed("skopeo")?;
    for file in FILES {
        let path = workspace.at(file);
        let mut text = std::fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
        for image in references(&text) {
            let digest = digest(&image, registries)?;
            say::line(format_args!("{file}: {image} is {digest}"));
            text = pinned(&text, &image, &digest);
        }
        std::fs::write(&path, text).map_err(Error::file("cannot write", &path))?;
    }
    Ok(())
}

/// The images of others that a file names: `FROM name:tag`, `image: name:tag`; without the digest, each once.
pub fn references(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        let Some(rest) = ["FROM ", "image: "]
            .iter()
            .find_map(|word| line.strip_prefix(word))
        else {
            continue;
        };
        let image = rest.split([' ', '@']).next().unwrap_or_default().to_owned();
        if image.contains(':') && !image.starts_with('$') && !found.contains(&image) {
            found.push(image);
        }
    }
    found
}

/// The text without digests.
pub fn unpinned(text: &str) -> String {
    let mut parts = text.split("@sha256:");
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        all.push_str(part.trim_start_matches(|digit: char| digit.is_ascii_hexdigit()));
    }
    all
}

fn pinned(text: &str, image: &str, digest: &str) -> String {
    let lines = text.lines().map(|line| {
        let names = line.split([' ', '@']).any(|word| word == image);
        match names && references(line).iter().any(|found| found == image) {
            true => unpinned(line).replace(image, &format!("{image}@{digest}")),
            false => line.to_owned(),
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// Of the manifest for all platforms, which is what a pull of the tag is answered with.
fn digest(image: &str, registries: Option<&Path>) -> Result<String, Error> {
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--no-tags", "--format", "{{.Digest}}"]);
    if let Some(registries) = registries {
        skopeo.arg("--registries-conf").arg(registries);
    }
    let told = run::printed(skopeo.arg(format!("docker://{image}")))?;
    let digest = told.trim();
    match digest.starts_with("sha256:") {
        true => Ok(digest.to_owned()),
        false => Err(Error::Said(format!(
            "the registry told no digest of {image}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "FROM rust:1.95.0 AS compiled\nFROM scratch AS packaged\nFROM ${PLUGIN} AS plugin\n\
                        FROM rust:1.95.0\n  image: redis:7.2.7\n  image: ${IMAGE:-ours:0.1.0}\n# FROM rust:1.95.0\n";

    #[test]
    fn images_of_others_are_found_once() {
        assert_eq!(references(TEXT), ["rust:1.95.0", "redis:7.2.7"]);
    }

    #[test]
    fn a_digest_stands_behind_the_tag_and_replaces_the_one_before() {
        let (first, second) = (
            format!("sha256:{}", "1".repeat(64)),
            format!("sha256:{}", "2".repeat(64)),
        );
        let once = pinned(TEXT, "rust:1.95.0", &first);
        assert_eq!(
            once.matches(&format!("FROM rust:1.95.0@{first}")).count(),
            2
        );
        assert!(
            once.contains(&format!("FROM rust:1.95.0@{first} AS compiled\n")),
            "{once}"
        );
        assert!(once.contains("\n# FROM rust:1.95.0\n") && once.contains("image: redis:7.2.7\n"));
        let twice = pinned(&once, "rust:1.95.0", &second);
        assert!(!twice.contains(&first) && twice.contains(&second));
        assert_eq!(references(&twice), references(TEXT));
        assert_eq!(unpinned(&twice), TEXT);
    }
}
