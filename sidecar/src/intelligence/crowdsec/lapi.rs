//! What a Local API is sent: questions for its stream of decisions, whose answers reach a reader that waits for
//! each piece, questions about one address, and the usage metrics.
//!
//! What is in the answer is `wire`'s; when to ask is the module's above.

use std::io::{self, Read};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{StatusCode, Uri};
use reputation::ClientAddress;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use super::bouncer::{AccessError, Caller, Pass};
use super::live::LiveApi;
use super::wire::{self, Receiver, WireError};
use crate::config::CrowdSec;
use crate::http::{Get, HttpError};

/// Until a key is taken or refused.
const KNOCK: Duration = Duration::from_secs(10);
/// Until the answer begins. An API that sorts a large database takes its time.
const BEGIN: Duration = Duration::from_secs(30);
/// Between two pieces of it.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest answer: about a million and a half decisions.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// For the whole telling of the usage.
const TELLING: Duration = Duration::from_secs(10);
const MOST_OF_A_RECEIPT: usize = 64 * 1024;
/// The longest answer about one address.
const MOST_ON_ONE: usize = 1024 * 1024;
/// Pieces that wait to be read.
const WAITING: usize = 16;

#[derive(Debug, Error)]
pub enum LapiError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("its url cannot be extended by /v1")]
    Url,
    #[error("the Local API cannot be reached")]
    Http(#[from] HttpError),
    #[error(
        "the Local API refuses the key ({0}): make one with `cscli bouncers add NAME` and put it where \
         the secret is read from"
    )]
    Refused(StatusCode),
    #[error(
        "the Local API refuses the certificate ({0}): its OU must be one of bouncers_allowed_ou, and its issuer \
         the authority in ca_cert_path, both in api.server.tls there"
    )]
    CertificateRefused(StatusCode),
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
    pass: &Pass,
    config: &CrowdSec,
    question: Question,
    mut receiver: R,
) -> Result<R, LapiError> {
    let get = Get {
        uri: stream(&config.url, question).ok_or(LapiError::Url)?,
        headers: pass.headers()?,
        timeout: BEGIN,
        max_bytes: 0,
    };
    let (status, body) = pass.http.open(get).await?;
    check(status, &pass.caller)?;
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

/// Whether the caller is let in. Nothing else is looked at, and the stream's place does not move.
pub async fn knock(pass: &Pass, config: &CrowdSec) -> Result<(), LapiError> {
    let get = Get {
        uri: below(&config.url, "decisions").ok_or(LapiError::Url)?,
        headers: pass.headers()?,
        timeout: KNOCK,
        max_bytes: 0,
    };
    check(pass.http.head(get).await?, &pass.caller)
}

/// Asks which decisions hold `address`.
pub async fn ask_about<R: Receiver>(
    pass: &Pass,
    api: &LiveApi,
    address: ClientAddress,
    mut receiver: R,
) -> Result<R, LapiError> {
    let question = format!("decisions?ip={address}");
    let get = Get {
        uri: below(&api.config.url, &question).ok_or(LapiError::Url)?,
        headers: pass.headers()?,
        timeout: api.live.timeout,
        max_bytes: MOST_ON_ONE,
    };
    let answer = pass.http.get(get).await?;
    check(answer.status, &pass.caller)?;
    wire::read_list(answer.body.as_ref(), &mut receiver)?;
    Ok(receiver)
}

/// Sends the usage metrics.
pub async fn tell(pass: &Pass, config: &CrowdSec, json: Bytes) -> Result<(), LapiError> {
    let mut headers = pass.headers()?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let to = Get {
        uri: below(&config.url, "usage-metrics").ok_or(LapiError::Url)?,
        headers,
        timeout: TELLING,
        max_bytes: MOST_OF_A_RECEIPT,
    };
    let status = pass.http.post(to, json).await?.status;
    match status {
        status if status.is_success() => Ok(()),
        StatusCode::METHOD_NOT_ALLOWED => Err(LapiError::NotThere),
        status => check(status, &pass.caller),
    }
}

/// Whether an answer with this status is one.
fn check(status: StatusCode, caller: &Caller) -> Result<(), LapiError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(match caller {
            Caller::Key(_) => LapiError::Refused(status),
            Caller::Certificate(_) => LapiError::CertificateRefused(status),
        }),
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
    below(
        base,
        &format!("decisions/stream?startup={startup}&scopes=ip,range,country,as&dedup=false"),
    )
}

fn below(base: &Uri, rest: &str) -> Option<Uri> {
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = base.path().trim_end_matches('/').trim_end_matches("/v1");
    format!("{scheme}://{authority}{path}/v1/{rest}")
        .parse()
        .ok()
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
}
