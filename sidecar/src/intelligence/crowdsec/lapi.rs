//! Asks a Local API for its stream of decisions: what is sent, and how an answer reaches a reader that waits
//! for each piece.
//!
//! What is in the answer is `wire`'s; when to ask is the module's above.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::{HeaderMap, StatusCode, Uri};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::wire::{self, Receiver, WireError};
use crate::config::CrowdSec;
use crate::http::{Get, HttpClient, HttpError};
use crate::secrets::{SecretError, Secrets};

/// One slash and a version: else CrowdSec notes no version.
pub const AGENT: &str = concat!("crowdsec-portcullis-bouncer/v", env!("CARGO_PKG_VERSION"));
/// Until a key is taken or refused.
const KNOCK: Duration = Duration::from_secs(10);
/// Until the answer begins. An API that sorts a large database takes its time.
const BEGIN: Duration = Duration::from_secs(30);
/// Between two pieces of it.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest answer: about a million and a half decisions.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Pieces that wait to be read.
const WAITING: usize = 16;

#[derive(Debug, Error)]
pub enum LapiError {
    #[error("the key is missing")]
    Key(#[from] SecretError),
    #[error("the key has characters that no header may have")]
    KeyText,
    #[error("its url cannot be extended by /v1/decisions/stream")]
    Url,
    #[error("the Local API cannot be reached")]
    Http(#[from] HttpError),
    #[error(
        "the Local API refuses the key ({0}): make one with `cscli bouncers add NAME` and put it where \
         the secret is read from"
    )]
    Refused(StatusCode),
    #[error("there is no Local API of CrowdSec at this url (404): write it without /v1")]
    NotThere,
    #[error(
        "the Local API redirects, which is not followed: configure the address that it leads to"
    )]
    Redirect,
    #[error("the Local API answered {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the reading task failed")]
    Task(#[from] JoinError),
}

/// What to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// All decisions in force.
    Everything,
    /// What changed since this key asked last.
    Changes,
}

/// Asks, and reads the answer into `receiver` while it arrives, on a thread that may block.
pub async fn ask<R: Receiver + Send + 'static>(
    http: &HttpClient,
    secrets: &Arc<Secrets>,
    config: &CrowdSec,
    question: Question,
    mut receiver: R,
) -> Result<R, LapiError> {
    let get = Get {
        uri: stream(&config.url, question).ok_or(LapiError::Url)?,
        headers: headers(&secrets.get(&config.key)?)?,
        timeout: BEGIN,
        max_bytes: 0,
    };
    let (status, body) = http.open(get).await?;
    heed(status)?;
    let (pieces, waiting) = mpsc::channel(WAITING);
    let reading = tokio::task::spawn_blocking(move || {
        let answer = Pieces {
            waiting,
            current: Bytes::new(),
        }
        .take(MAX_BYTES);
        wire::read(io::BufReader::new(answer), &mut receiver).map(|()| receiver)
    });
    hand_on(body, pieces).await;
    Ok(reading.await??)
}

/// Whether `key` is taken. Nothing but the key is looked at, and the stream's place does not move.
pub async fn knock(
    http: &HttpClient,
    config: &CrowdSec,
    key: &SecretString,
) -> Result<(), LapiError> {
    let get = Get {
        uri: below(&config.url, "/v1/decisions").ok_or(LapiError::Url)?,
        headers: headers(key)?,
        timeout: KNOCK,
        max_bytes: 0,
    };
    heed(http.head(get).await?)
}

fn heed(status: StatusCode) -> Result<(), LapiError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(LapiError::Refused(status)),
        StatusCode::NOT_FOUND => Err(LapiError::NotThere),
        status if status.is_redirection() => Err(LapiError::Redirect),
        status => Err(LapiError::Status(status)),
    }
}

/// Ends early where the reader has seen enough.
async fn hand_on(mut body: Incoming, pieces: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let piece = match tokio::time::timeout(SILENCE, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        };
        let last = piece.is_err();
        if pieces.send(piece).await.is_err() || last {
            return;
        }
    }
}

/// Without `dedup=false` only the longest of several decisions on one value is told, and what lies beneath
/// stays unknown when that one is taken back. Other scopes are asked for so that they can be counted.
fn stream(base: &Uri, question: Question) -> Option<Uri> {
    let startup = matches!(question, Question::Everything);
    let query = format!("startup={startup}&scopes=ip,range,country,as&dedup=false");
    below(base, &format!("/v1/decisions/stream?{query}"))
}

fn below(base: &Uri, what: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = base.path().trim_end_matches('/').trim_end_matches("/v1");
    format!("{scheme}://{authority}{path}{what}").parse().ok()
}

fn headers(key: &SecretString) -> Result<HeaderMap, LapiError> {
    let mut key = HeaderValue::try_from(key.expose_secret()).map_err(|_| LapiError::KeyText)?;
    key.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-api-key"), key);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(headers)
}

/// The pieces of an answer as one text.
struct Pieces {
    waiting: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.waiting.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let length = self.current.len().min(into.len());
        let piece = self.current.split_to(length);
        let (now, _later) = into.split_at_mut(length);
        now.copy_from_slice(&piece);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_found_below_any_base() {
        for (base, path) in [
            ("http://127.0.0.1:8080", "/v1/decisions/stream"),
            ("http://127.0.0.1:8080/", "/v1/decisions/stream"),
            ("https://lapi.example/v1/", "/v1/decisions/stream"),
            (
                "https://example.com/crowdsec",
                "/crowdsec/v1/decisions/stream",
            ),
        ] {
            let uri = stream(&base.parse().unwrap(), Question::Everything).unwrap();
            assert_eq!(uri.path(), path, "{base}");
            assert_eq!(
                uri.query(),
                Some("startup=true&scopes=ip,range,country,as&dedup=false")
            );
        }
        let changes = stream(&Uri::from_static("http://[::1]:8080"), Question::Changes).unwrap();
        assert!(changes.query().unwrap().starts_with("startup=false&"));
    }

    #[test]
    fn the_agent_has_a_name_one_slash_and_a_version() {
        let (name, version) = AGENT.split_once('/').unwrap();
        assert_eq!(name, "crowdsec-portcullis-bouncer");
        assert!(version.starts_with('v') && !version.contains('/'));
    }
}
