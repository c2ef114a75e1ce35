//! One GET in clear, within a time, from a source address of choice where that is possible.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::HOST;
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

/// `http://HOST:PORT/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    authority: String,
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a URL that can be asked in clear: write http://HOST:PORT, with a path if need be"
)]
pub struct UrlError(String);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the source address that was wished for was used.
    pub from_wished: bool,
}

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("nobody answers at {0}")]
    Connect(Url, #[source] std::io::Error),
    #[error("no complete answer from {0} within {1:?}")]
    Late(Url, Duration),
    #[error("the answer from {0} broke off")]
    Broken(Url, #[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("{0} answered with status {1}")]
    Status(Url, StatusCode),
}

/// For one exchange.
pub const TIMEOUT: Duration = Duration::from_secs(2);
/// The statistics of a proxy with many clusters are long.
const MAX_BYTES: usize = 64 * 1024 * 1024;

impl Url {
    /// This URL, or below it `path` if it names none.
    pub fn or_path(&self, path: &str) -> Self {
        let path = if self.path == "/" { path } else { &self.path };
        Self {
            authority: self.authority.clone(),
            path: path.to_owned(),
        }
    }

    /// The body of a good answer.
    pub async fn get(&self) -> Result<Bytes, FetchError> {
        let answer = self.ask(&[], None).await?;
        if answer.status.is_success() {
            Ok(answer.body)
        } else {
            Err(FetchError::Status(self.clone(), answer.status))
        }
    }

    /// Asks with these headers; connects from `wished` if the server is on this machine.
    pub async fn ask(
        &self,
        headers: &[(&str, &str)],
        wished: Option<Ipv4Addr>,
    ) -> Result<Answer, FetchError> {
        let exchange = self.exchange(headers, wished);
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_late) => Err(FetchError::Late(self.clone(), TIMEOUT)),
        }
    }

    async fn exchange(
        &self,
        headers: &[(&str, &str)],
        wished: Option<Ipv4Addr>,
    ) -> Result<Answer, FetchError> {
        let broken = |error: hyper::Error| FetchError::Broken(self.clone(), error.into());
        let connected = self.connect(wished).await;
        let (stream, from_wished) =
            connected.map_err(|error| FetchError::Connect(self.clone(), error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
        let (mut sender, driver) = handshake.await.map_err(broken)?;
        // It ends with the connection, and what went wrong there the request tells as well.
        tokio::spawn(driver);
        let mut request = Request::get(&self.path).header(HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new());
        let request = request.map_err(|error| FetchError::Broken(self.clone(), error.into()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body
                .map_err(|error| FetchError::Broken(self.clone(), error))?
                .to_bytes(),
            from_wished,
        })
    }

    async fn connect(&self, wished: Option<Ipv4Addr>) -> std::io::Result<(TcpStream, bool)> {
        let addresses: Vec<_> = lookup_host(&self.authority).await?.collect();
        let here = addresses.iter().find(|address| is_here(**address));
        if let (Some(address), Some(wished)) = (here, wished) {
            let socket = TcpSocket::new_v4()?;
            // Not every system has all of 127.0.0.0/8.
            if socket.bind((wished, 0).into()).is_ok() {
                return Ok((socket.connect(*address).await?, true));
            }
        }
        Ok((TcpStream::connect(addresses.as_slice()).await?, false))
    }
}

/// Whether a loopback source reaches `address`.
fn is_here(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V4(ip) if ip.is_loopback())
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || UrlError(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| fault())?;
        let authority = uri.authority().ok_or_else(fault)?;
        if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
            return Err(fault());
        }
        let port = authority.port_u16().map(|_| "").unwrap_or(":80");
        Ok(Self {
            authority: format!("{authority}{port}"),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = if self.path == "/" { "" } else { &self.path };
        write!(f, "http://{}{path}", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_may_name_a_path() {
        let url: Url = "http://127.0.0.1:10002".parse().unwrap();
        let stats = url.or_path("/stats/prometheus");
        assert_eq!(stats.to_string(), "http://127.0.0.1:10002/stats/prometheus");
        let url: Url = "http://istio:15090/metrics".parse().unwrap();
        let same = url.or_path("/stats/prometheus");
        assert_eq!(same.to_string(), "http://istio:15090/metrics");
        let url: Url = "http://[::1]/".parse().unwrap();
        assert_eq!(url.to_string(), "http://[::1]:80");
        for bad in [
            "",
            "127.0.0.1:10000",
            "https://h",
            "ftp://h",
            "http://u:p@h",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn whoever_is_on_this_machine_sees_the_source_that_was_wished_for() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let wished = Ipv4Addr::new(127, 88, 88, 88);
        let asked = tokio::spawn(async move { url.ask(&[], Some(wished)).await });
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), IpAddr::V4(wished));
        drop(stream);
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused, FetchError::Broken(..)), "{refused}");
    }
}
