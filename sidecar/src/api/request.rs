//! What all listeners read from a request: its id, its path and its query.

use std::borrow::Cow;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderName;
use hyper::{HeaderMap, Request};
use reputation::ClientAddress;
use tokio::sync::watch;

use super::problem::{Kind, Problem};
use crate::snapshot::Published;

/// Names one request in the logs of Envoy and the sidecar. Taken from `x-request-id`, or made up.
#[derive(Debug, Clone)]
pub enum RequestId {
    Given(hyper::header::HeaderValue),
    Own(u64),
}

/// The current snapshot, once there is one.
pub type Snapshots = watch::Receiver<Option<Arc<Published>>>;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 128;
/// Odd, so that no number of a process comes twice, and with bits all over, so that they look unlike.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
/// For one whole body.
const PATIENCE: Duration = Duration::from_secs(10);

/// Before the first snapshot nobody knows what is banned: "clean" would be a guess that fails open
/// even where the proxy is told to fail closed.
pub fn check_ready(snapshots: &Snapshots) -> Result<(), Problem> {
    match *snapshots.borrow() {
        Some(_) => Ok(()),
        None => Err(Problem::new(Kind::NotReady)),
    }
}

impl RequestId {
    /// An id that is not plain text of a sensible length could forge log lines: it is replaced.
    pub fn of(headers: &HeaderMap) -> Self {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let given = headers.get(HEADER).filter(|value| {
            let bytes = value.as_bytes();
            (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(plain)
        });
        match given {
            Some(value) => Self::Given(value.clone()),
            None => Self::Own(next_number()),
        }
    }

    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Given(value) => Cow::Borrowed(value.to_str().unwrap_or_default()),
            Self::Own(number) => Cow::Owned(format!("{number:016x}")),
        }
    }
}

/// Chance is asked once: a look-up would pay for it more than for its answer's text.
fn next_number() -> u64 {
    // Without chance two processes give the same ids, which a log can bear.
    static NEXT: LazyLock<AtomicU64> =
        LazyLock::new(|| AtomicU64::new(getrandom::u64().unwrap_or_default()));
    NEXT.fetch_add(STRIDE, Ordering::Relaxed)
}

/// The whole body, if it has at most `most` bytes.
pub async fn body(request: Request<Incoming>, most: usize) -> Result<Bytes, Problem> {
    let limited = Limited::new(request.into_body(), most);
    let read = tokio::time::timeout(PATIENCE, limited.collect());
    let late = |_| Problem::new(Kind::BadBody).detail("it did not come within 10 seconds");
    let body = read.await.map_err(late)?.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Problem::new(Kind::BodyTooLarge).detail(format!("at most {most} bytes are read"))
        } else {
            Problem::new(Kind::BadBody).detail("the connection broke within the body")
        }
    })?;
    Ok(body.to_bytes())
}

/// An address that stands in a path, perhaps percent-encoded.
pub fn address(segment: &str) -> Result<ClientAddress, Problem> {
    let decoded = decode(segment);
    let parsed = ClientAddress::parse(&decoded);
    parsed.map_err(|error| Problem::new(Kind::BadAddress).detail(error.to_string()))
}

/// The number or other simple value of a query parameter; `expected` says what to write.
pub fn parameter<T: FromStr>(
    query: Option<&str>,
    name: &'static str,
    expected: &'static str,
    accept: impl Fn(&T) -> bool,
) -> Result<Option<T>, Problem> {
    let Some(text) = query.and_then(|query| raw_parameter(query, name)) else {
        return Ok(None);
    };
    let parsed = decode(text).parse::<T>().ok().filter(accept);
    let problem = || Problem::new(Kind::BadQuery).detail(format!("{name} must be {expected}"));
    parsed.map(Some).ok_or_else(problem)
}

fn raw_parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Undoes percent-encoding; what is no valid encoding stays as it is and is refused by its parser.
pub fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let pair = (byte == b'%').then(|| Some((hex(ahead.next()?)?, hex(ahead.next()?)?)));
        match pair.flatten() {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = ahead;
            }
            None => bytes.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn id_of(given: &'static [u8]) -> RequestId {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(given).unwrap());
        RequestId::of(&headers)
    }

    #[test]
    fn an_id_is_kept_if_it_is_plain_and_replaced_if_not() {
        assert_eq!(id_of(b"5c2e-A_b.1").text(), "5c2e-A_b.1");
        for forged in [
            b"a b".as_slice(),
            b"",
            b"a\"b",
            b"caf\xc3\xa9",
            &[b'a'; 129],
        ] {
            assert!(matches!(id_of(forged), RequestId::Own(_)), "{forged:?}");
        }
        assert_eq!(RequestId::Own(7).text(), "0000000000000007");
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| next_number()).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn addresses_in_paths_may_be_percent_encoded() {
        assert_eq!(
            address("2001%3Adb8%3a%3A1").unwrap().to_string(),
            "2001:db8::1"
        );
        for bad in ["203.0.113.7%2f..", "%", "203.0.113.07", ""] {
            assert_eq!(address(bad).unwrap_err().status(), 400, "{bad}");
        }
    }

    #[test]
    fn parameters_are_found_by_name_and_checked() {
        let query = Some("wait_ms=50&prefix=64&x");
        let number =
            |name, most: u32| parameter(query, name, "a number", move |n: &u32| *n <= most);
        assert_eq!(number("wait_ms", 100), Ok(Some(50)));
        assert_eq!(number("after", 100), Ok(None));
        assert_eq!(number("prefix", 10).unwrap_err().status(), 400);
    }
}
