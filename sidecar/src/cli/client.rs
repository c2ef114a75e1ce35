//! Talks to the admin API, over TCP or a Unix socket, once per command.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};

use crate::api::admin::{AUTHOR, COMMAND_LINE, WIDE_REMEDY};
use crate::api::listener::Connection;

/// Where the admin API is: `http://127.0.0.1:8971` or `unix:/run/portcullis/admin.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminUrl {
    /// Host and port.
    Tcp(String),
    Unix(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an admin URL: write http://HOST:PORT or unix:/path")]
pub struct AdminUrlError(String);

pub struct AdminClient {
    pub url: AdminUrl,
    pub token: SecretString,
}

#[derive(Debug, Error)]
pub enum ClientError {
    #[error("no sidecar answers at {url}: is it running, and is --admin right?")]
    Connect { url: String, source: std::io::Error },
    #[error("the sidecar at {url} gave no complete answer within {limit:?}")]
    Timeout { url: String, limit: Duration },
    #[error("the sidecar's answer broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the token contains characters that no header can carry")]
    Token,
    /// The sidecar's own words, but for what the command line calls otherwise.
    #[error("{title}{}", detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default())]
    Problem {
        title: String,
        detail: Option<String>,
    },
    #[error("whatever answers at {url} is no sidecar: status {status}")]
    Stranger { url: String, status: StatusCode },
}

/// Whoever types, as far as the system says.
pub fn author() -> String {
    let names = ["USER", "LOGNAME"].into_iter();
    let mut known = names.filter_map(|name| std::env::var(name).ok());
    known
        .find(|user| !user.is_empty())
        .unwrap_or_else(|| "command line".to_owned())
}

#[derive(Deserialize)]
struct Document {
    title: String,
    detail: Option<String>,
}

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_BYTES: usize = 64 * 1024 * 1024;

impl AdminClient {
    /// The body of a good answer.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Bytes, ClientError> {
        let url = self.url.to_string();
        let exchange = self.exchange(method, path, body);
        let Ok(answer) = tokio::time::timeout(TIMEOUT, exchange).await else {
            return Err(ClientError::Timeout {
                url,
                limit: TIMEOUT,
            });
        };
        let (status, body) = answer?;
        if status.is_success() {
            return Ok(body);
        }
        Err(match serde_json::from_slice::<Document>(&body) {
            Ok(Document { title, detail }) => {
                let detail = detail.map(in_our_words);
                ClientError::Problem { title, detail }
            }
            Err(_no_document) => ClientError::Stranger { url, status },
        })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let connection = self.connect().await?;
        let broken = |error: hyper::Error| ClientError::Broken(error.into());
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(connection));
        let (mut sender, driver) = handshake.await.map_err(broken)?;
        // It ends with the connection, and what went wrong there the request tells as well.
        tokio::spawn(driver);
        let agent = format!("{COMMAND_LINE}{}", env!("CARGO_PKG_VERSION"));
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.url.host())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, agent)
            .header(
                AUTHORIZATION,
                format!("Bearer {}", self.token.expose_secret()),
            )
            .body(Full::<Bytes>::from(body.unwrap_or_default()))
            .map_err(|_| ClientError::Token)?;
        // A name that no header can carry is left out.
        if let Ok(author) = HeaderValue::from_str(&author()) {
            request.headers_mut().insert(AUTHOR, author);
        }
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES)
            .collect()
            .await;
        Ok((status, body.map_err(ClientError::Broken)?.to_bytes()))
    }

    async fn connect(&self) -> Result<Box<dyn Connection>, ClientError> {
        let connected: std::io::Result<Box<dyn Connection>> = match &self.url {
            AdminUrl::Tcp(authority) => TcpStream::connect(authority)
                .await
                .map(|it| Box::new(it) as _),
            AdminUrl::Unix(path) => UnixStream::connect(path).await.map(|it| Box::new(it) as _),
        };
        connected.map_err(|source| ClientError::Connect {
            url: self.url.to_string(),
            source,
        })
    }
}

/// The API speaks of its own fields; whoever types has options.
fn in_our_words(detail: String) -> String {
    match detail.strip_suffix(WIDE_REMEDY) {
        Some(what) => format!("{what}: add --force if that is meant"),
        None => detail,
    }
}

impl AdminUrl {
    fn host(&self) -> &str {
        match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        }
    }
}

impl FromStr for AdminUrl {
    type Err = AdminUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || AdminUrlError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(fault())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let uri: Uri = text.parse().map_err(|_| fault())?;
        match (uri.scheme_str(), uri.authority(), uri.port(), uri.path()) {
            (Some("http"), Some(authority), Some(_), "/") => Ok(Self::Tcp(authority.to_string())),
            _ => Err(fault()),
        }
    }
}

impl std::fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_urls_are_tcp_or_unix() {
        for good in [
            "http://127.0.0.1:8971",
            "http://[::1]:8971",
            "unix:/run/admin.sock",
        ] {
            assert_eq!(good.parse::<AdminUrl>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "127.0.0.1:8971",
            "https://127.0.0.1:1",
            "http://host",
            "unix:",
            "http://h:1/x",
        ] {
            assert!(bad.parse::<AdminUrl>().is_err(), "{bad}");
        }
    }
}
