//! As whom a Local API is asked, and over which connection: with a key that may be in the middle of a rotation,
//! or with a certificate whose files may be replaced at any time.
//!
//! Does not know what is asked (`lapi`).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ClientConfig};

use super::lapi::LapiError;
use crate::config::CrowdSec;
use crate::config::crowdsec::Access;
use crate::http::HttpClient;
use crate::secrets::{SecretError, Secrets};
use crate::small_file;
use crate::telemetry::{Sparing, chain};
use crate::tls::{self, TlsError};

/// The kind of bouncer.
pub const NAME: &str = "crowdsec-portcullis-bouncer";
/// The kind, one slash and a version: else CrowdSec notes no version.
const AGENT: &str = concat!("crowdsec-portcullis-bouncer/v", env!("CARGO_PKG_VERSION"));

pub struct Bouncer {
    config: Arc<CrowdSec>,
    /// What TLS was last set up with, if it is more than the system's authorities.
    opened: Mutex<Option<Opened>>,
    unopened: Sparing,
}

/// What it takes to ask once.
#[derive(Clone)]
pub struct Pass {
    pub http: HttpClient,
    pub caller: Caller,
}

/// By this a Local API remembers what it has told.
#[derive(Debug, Clone)]
pub enum Caller {
    Key(SecretString),
    /// The so many-th one, counted by the replacing of its files.
    Certificate(u32),
}

#[derive(Debug, Error)]
pub enum AccessError {
    #[error("the key is missing")]
    Key(#[from] SecretError),
    #[error("the key has characters that no header may have")]
    KeyText,
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("there is no certificate in {path} (client_certificate)")]
    NoCertificate { path: PathBuf },
    #[error("there is no private key in {path} (client_key)")]
    NoKey { path: PathBuf },
    #[error("the certificate and its key cannot be used together")]
    Pair(#[source] rustls::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

struct Opened {
    files: Files,
    http: HttpClient,
    count: u32,
}

/// What was in the files.
#[derive(PartialEq, Eq)]
struct Files {
    ca: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Zeroizing<Vec<u8>>>,
}

impl Bouncer {
    pub fn new(config: Arc<CrowdSec>) -> Self {
        Self {
            config,
            opened: Mutex::default(),
            unopened: Sparing::once_a_minute(),
        }
    }

    /// Asks with the key, and if that is refused with its other value: while a key is being replaced, the secret
    /// and the Local API change at different moments.
    pub async fn let_in<T, F>(
        &self,
        http: &HttpClient,
        secrets: &Secrets,
        ask: impl Fn(Pass) -> F,
    ) -> Result<T, LapiError>
    where
        F: Future<Output = Result<T, LapiError>>,
    {
        let first = self.pass(http, secrets)?;
        let refused = match ask(first.clone()).await {
            Err(LapiError::Refused(status)) => LapiError::Refused(status),
            answer => return answer,
        };
        let (Access::Key(name), Caller::Key(key)) = (&self.config.access, &first.caller) else {
            return Err(refused);
        };
        let Some(other) = secrets.instead_of(name, key).await else {
            return Err(refused);
        };
        let second = Pass {
            http: first.http,
            caller: Caller::Key(other.clone()),
        };
        let answer = ask(second).await?;
        secrets.taken(name, &other);
        Ok(answer)
    }

    /// With this very key.
    pub fn pass_with(&self, http: &HttpClient, key: SecretString) -> Result<Pass, AccessError> {
        let (http, _) = self.open(http)?;
        let caller = Caller::Key(key);
        Ok(Pass { http, caller })
    }

    /// Files and secrets are read as they are now.
    fn pass(&self, http: &HttpClient, secrets: &Secrets) -> Result<Pass, AccessError> {
        let (http, count) = self.open(http)?;
        let caller = match &self.config.access {
            Access::Key(name) => Caller::Key(secrets.get(name)?),
            Access::Certificate { .. } => Caller::Certificate(count),
        };
        Ok(Pass { http, caller })
    }

    /// The client to ask with, and how often its certificate was replaced. What cannot be read in the middle of
    /// a replacement is done without: what was read before serves.
    fn open(&self, plain: &HttpClient) -> Result<(HttpClient, u32), AccessError> {
        if self.config.ca.is_none() && matches!(self.config.access, Access::Key(_)) {
            return Ok((plain.clone(), 0));
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Files::read(&self.config);
        if let (Some(opened), Ok(files)) = (opened.as_ref(), &read)
            && opened.files == *files
        {
            return Ok((opened.http.clone(), opened.count));
        }
        let made = read.and_then(|files| Ok((HttpClient::with_tls(self.tls(&files)?), files)));
        let count = opened.as_ref().map_or(0, |opened| opened.count);
        match (made, opened.as_ref()) {
            (Ok((http, files)), _) => {
                let count = count.saturating_add(1);
                let open = (http.clone(), count);
                *opened = Some(Opened { files, http, count });
                Ok(open)
            }
            (Err(error), Some(before)) => {
                if self.unopened.is_due() {
                    let (feed, why) = (&self.config.name, chain(&error));
                    tracing::warn!(
                        feed,
                        why,
                        "the certificate's files that were read before serve"
                    );
                }
                Ok((before.http.clone(), before.count))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn tls(&self, files: &Files) -> Result<ClientConfig, AccessError> {
        let trusting = tls::trusting(self.config.ca.as_deref())?;
        let Access::Certificate { certificate, key } = &self.config.access else {
            return Ok(trusting.with_no_client_auth());
        };
        let text = files.certificate.as_deref().unwrap_or_default();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| AccessError::NoCertificate {
            path: certificate.clone(),
        })?;
        let text = files.key.as_ref().map_or(&[][..], |key| key.as_slice());
        // The error may quote what it could not read.
        let private = PrivateKeyDer::from_pem_slice(text);
        let private = private.map_err(|_| AccessError::NoKey { path: key.clone() })?;
        let with = trusting.with_client_auth_cert(chain, private);
        with.map_err(AccessError::Pair)
    }
}

impl Pass {
    pub fn headers(&self) -> Result<HeaderMap, AccessError> {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        if let Caller::Key(key) = &self.caller {
            let key = HeaderValue::try_from(key.expose_secret());
            let mut key = key.map_err(|_| AccessError::KeyText)?;
            key.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-api-key"), key);
        }
        Ok(headers)
    }
}

impl Caller {
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key(one), Self::Key(other)) => one.expose_secret() == other.expose_secret(),
            (Self::Certificate(one), Self::Certificate(other)) => one == other,
            _ => false,
        }
    }
}

impl Files {
    fn read(config: &CrowdSec) -> Result<Self, AccessError> {
        let ca = config.ca.as_deref().map(read).transpose()?;
        let (certificate, key) = match &config.access {
            Access::Key(_) => (None, None),
            Access::Certificate { certificate, key } => {
                (Some(read(certificate)?), Some(Zeroizing::new(read(key)?)))
            }
        };
        Ok(Self {
            ca,
            certificate,
            key,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    small_file::read(path).map_err(|source| AccessError::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_has_a_name_one_slash_and_a_version() {
        let (name, version) = AGENT.split_once('/').unwrap();
        assert_eq!(name, NAME);
        assert!(version.starts_with('v') && !version.contains('/'));
    }
}
