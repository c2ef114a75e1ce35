//! Whom outgoing TLS trusts: the certificate authorities of a file, or the system's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, ClientConfig, ConfigBuilder, RootCertStore, crypto};

#[derive(Debug, Error)]
pub enum TlsError {
    #[error("the certificate authorities in {path} cannot be read: {why}")]
    Authorities { path: PathBuf, why: String },
    #[error("the system has no certificate authorities: name a file with some in ca")]
    NoAuthorities,
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// A client's side of TLS that trusts the authorities in `ca`, a file of PEM, or else the system's.
pub fn trusting(
    ca: Option<&Path>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let authorities = match ca {
        Some(path) => authorities_in(path)?,
        None => authorities_of_the_system()?,
    };
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(authorities))
}

fn authorities_in(path: &Path) -> Result<RootCertStore, TlsError> {
    let unusable = |why: String| TlsError::Authorities {
        path: path.to_owned(),
        why,
    };
    let mut authorities = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in found {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        let added = authorities.add(certificate);
        added.map_err(|error| unusable(error.to_string()))?;
    }
    if authorities.is_empty() {
        return Err(unusable("there are none in it".to_owned()));
    }
    Ok(authorities)
}

fn authorities_of_the_system() -> Result<RootCertStore, TlsError> {
    let mut authorities = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_added, _ignored) = authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(authorities)
}
