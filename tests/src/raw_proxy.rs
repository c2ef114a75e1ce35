//! A proxy made by hand: asks a sidecar for manifest, parts and verdicts as the plugin does, without an Envoy around
//! it, so that a hundred of them fit on one machine.

use std::collections::HashMap;
use std::net::SocketAddr;

use reputation::digest::Digest;
use reputation::manifest::{ImageRef, Manifest, SnapshotVersion};
use reputation::wire::{HEADER, Wire};

use crate::client::{Connection, Request, Response};
use crate::error::KitError;

/// As long as the plugin waits for a new manifest, in seconds.
const WAIT_S: u32 = 25;

pub struct RawProxy {
    /// The long poll's, and that of parts: Envoy has a cluster for each.
    poll: Connection,
    fetch: Connection,
    version: SnapshotVersion,
    parts: HashMap<Digest, Vec<u8>>,
}

impl RawProxy {
    /// Knows nothing yet.
    pub async fn connect(sidecar: SocketAddr) -> Result<Self, KitError> {
        Ok(Self {
            poll: Connection::open(sidecar).await?,
            fetch: Connection::open(sidecar).await?,
            version: SnapshotVersion::default(),
            parts: HashMap::new(),
        })
    }

    /// Polls once, and fetches what it has not; whether there was anything new.
    pub async fn pull(&mut self) -> Result<bool, KitError> {
        let path = format!("/v1/manifest?after={}&wait_s={WAIT_S}", self.version);
        let answer = self.poll.send(&question(&path)).await?;
        if answer.status == 304 {
            return Ok(false);
        }
        let body = good(answer, &path)?.body;
        let manifest = Manifest::parse(&body)
            .map_err(|error| KitError::Http(format!("the manifest is none: {error}")))?;
        for image in [&manifest.base, &manifest.overlay] {
            self.fetch_image(image).await?;
        }
        let wanted = |digest: &Digest| {
            manifest.base.parts.contains(digest) || manifest.overlay.parts.contains(digest)
        };
        self.parts.retain(|digest, _| wanted(digest));
        self.version = manifest.version;
        Ok(true)
    }

    pub fn version(&self) -> SnapshotVersion {
        self.version
    }

    /// The bytes of both images.
    pub fn length(&self) -> usize {
        self.parts.values().map(Vec::len).sum()
    }

    /// Whether each part is what was asked for. Not looked at while it is fetched: a hundred proxies on one machine
    /// would be busy with nothing else.
    pub fn is_whole(&self) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|(digest, bytes)| Digest::of(bytes) == *digest)
    }

    async fn fetch_image(&mut self, image: &ImageRef) -> Result<(), KitError> {
        for digest in &image.parts {
            if self.parts.contains_key(digest) {
                continue;
            }
            let path = format!("/v1/parts/{digest}");
            let answer = self.fetch.send(&question(&path)).await?;
            self.parts.insert(*digest, good(answer, &path)?.body);
        }
        let parts = image
            .parts
            .iter()
            .filter_map(|digest| self.parts.get(digest));
        match parts.map(Vec::len).sum::<usize>() == image.length {
            true => Ok(()),
            false => Err(KitError::Http(
                "an image is not as long as it is said to be".to_owned(),
            )),
        }
    }
}

fn question(path: &str) -> Request {
    Request::get(path).header(HEADER, Wire::OURS_TEXT)
}

fn good(answer: Response, path: &str) -> Result<Response, KitError> {
    match answer.status {
        200 => Ok(answer),
        status => Err(KitError::Http(format!("{path} was answered with {status}"))),
    }
}
