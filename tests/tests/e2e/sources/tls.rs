//! Sources behind TLS: one whose certificate has expired is told no key and believed no word.

use std::net::SocketAddr;
use std::sync::Arc;

use kit::Request;
use kit::replay::{KEY, Replay};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{BAD, admin, ask_about, asking, is_known, until_counted};
use crate::authority::Authority;
use crate::common::{CANARY, sidecar_that_blocks};

/// Shows this certificate, and passes on what comes to `behind`.
async fn tls_before(behind: SocketAddr, authority: &Authority, name: &str) -> SocketAddr {
    let [certificate, key] = authority.pair(name);
    let certificate = CertificateDer::from_pem_file(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    });
    address
}

#[tokio::test]
async fn an_expired_certificate_is_an_error_of_its_source_alone_and_a_good_one_is_none() {
    let authority = Authority::new("everybody's");
    let replay = Replay::start(is_known).await.unwrap();
    let plain = format!("http://{}", replay.address());
    for (name, expired) in [("expired", true), ("server", false)] {
        let before = replay.asked().len();
        let front = tls_before(replay.address(), &authority, name).await;
        let toml = replay.toml().replace(&plain, &format!("https://{front}"));
        let root = authority.root();
        let builder = asking(sidecar_that_blocks(&[]), &replay, &toml);
        let builder = builder.env("SSL_CERT_FILE", root.to_str().unwrap());
        let sidecar = builder.start().await.unwrap();
        ask_about(&sidecar, BAD).await;
        let all = replay.sources().len();
        let outcome = if expired { "unavailable" } else { "ok" };
        let label = format!("outcome=\"{outcome}\"");
        assert!(
            until_counted(&sidecar, &[&label], all).await,
            "{}",
            sidecar.log()
        );
        let heard = if expired { 0 } else { all };
        assert_eq!(replay.asked().len() - before, heard);
        let providers = admin(&sidecar, "/v1/providers").await;
        let told = providers.to_string();
        assert_eq!(
            told.matches("certificate expired").count(),
            if expired { all } else { 0 },
            "{told}"
        );
        assert!(!told.contains(KEY) && !sidecar.log().contains(KEY));
        // What lists say goes on.
        let ask = Request::get(&format!("/v1/verdict/{CANARY}"));
        let verdict = ask.send(sidecar.edge()).await.unwrap().text();
        assert!(verdict.contains("\"deny\""), "{verdict}");
    }
}
