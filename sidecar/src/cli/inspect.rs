//! `snapshot inspect`: opens an image as a proxy does, checks all of it, and counts. Needs no sidecar.

use std::path::Path;

use reputation::set::{Checker, Image, ImageError, Kind, Progress};
use serde_json::json;

use super::CliError;
use super::args::SnapshotAction;
use super::output::{table, time};

/// Any step does: nobody waits between them.
const STEP: usize = 1 << 20;

pub fn run(action: &SnapshotAction, as_json: bool) -> Result<String, CliError> {
    let SnapshotAction::Inspect { file } = action;
    let bytes = std::fs::read(file).map_err(|source| CliError::Unreadable {
        path: file.clone(),
        source,
    })?;
    let image = checked(bytes).map_err(|source| CliError::Image {
        path: file.clone(),
        source,
    })?;
    Ok(if as_json {
        document(&image)
    } else {
        sheet(file, &image)
    })
}

fn checked(bytes: Vec<u8>) -> Result<Image<Vec<u8>>, ImageError> {
    let image = Image::open(bytes)?;
    let mut checker = Checker::new();
    while checker.step(&image, STEP)? == Progress::More {}
    Ok(image)
}

fn document(image: &Image<Vec<u8>>) -> String {
    let (meta, counts) = (image.meta(), image.counts());
    let (kind, base) = match &meta.kind {
        Kind::Base => ("base", None),
        Kind::Overlay { base } => ("overlay", Some(base.to_string())),
    };
    json!({
        "kind": kind,
        "base": base,
        "version": meta.version.to_string(),
        "built_at": meta.built_at,
        "valid_until": meta.valid_until,
        "bytes": counts.bytes,
        "classes": counts.classes,
        "addresses_v4": counts.addresses_v4,
        "ranges_v4": counts.ranges_v4,
        "ranges_v6": counts.ranges_v6,
        "decided_v4": counts.decided_v4,
        "decided_v6": counts.decided_v6,
        "masks": counts.masks,
    })
    .to_string()
}

fn sheet(file: &Path, image: &Image<Vec<u8>>) -> String {
    let (meta, counts) = (image.meta(), image.counts());
    let kind = match &meta.kind {
        Kind::Base => "base".to_owned(),
        Kind::Overlay { base } => format!("overlay of {base}"),
    };
    let rows = [
        ("kind", kind),
        ("version", meta.version.to_string()),
        ("built", time(meta.built_at)),
        ("taken up until", time(meta.valid_until)),
        ("bytes", counts.bytes.to_string()),
        ("classes", counts.classes.to_string()),
        ("IPv4 addresses", counts.addresses_v4.to_string()),
        ("IPv4 ranges", counts.ranges_v4.to_string()),
        ("IPv6 ranges", counts.ranges_v6.to_string()),
        ("IPv4 decisions", counts.decided_v4.to_string()),
        ("IPv6 decisions", counts.decided_v6.to_string()),
        ("masks", counts.masks.to_string()),
    ];
    let rows = rows.map(|(name, value)| [name.to_owned(), value]).to_vec();
    table(["IMAGE", &file.display().to_string()], rows)
}
