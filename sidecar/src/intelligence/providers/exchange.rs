//! What asking for JSON over HTTP is alike at every source. What the answer means is each source's own.

use std::time::Duration;

use hyper::header::{ACCEPT, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode, Uri};

use super::{Keys, Outcome, Reply};
use crate::config::SecretName;
use crate::http::{Answer, Get, HttpClient};

/// A question without its headers beyond `accept`: without that one, errors come as HTML.
pub fn json(uri: Uri, timeout: Duration, max_bytes: usize) -> Get {
    let json = HeaderValue::from_static("application/json");
    Get {
        uri,
        headers: HeaderMap::from_iter([(ACCEPT, json)]),
        timeout,
        max_bytes,
    }
}

/// Adds the key, if there is one, in the header `key`.
pub fn with_key(mut get: Get, name: Option<&SecretName>, keys: &Keys) -> Result<Get, String> {
    if let Some(name) = name {
        let key = keys.header("", name)?;
        get.headers.insert(HeaderName::from_static("key"), key);
    }
    Ok(get)
}

/// An answer of a kind that the source does not document. A URL that moved is the operator's to change.
pub fn unexpected(status: StatusCode, detail: String) -> Outcome {
    Outcome::Malformed(if status.is_redirection() {
        format!("{detail}: redirects are not followed, so its URL must be the one that answers")
    } else {
        detail
    })
}

/// Asks, and has the answer read. What keeps a question from being written is its key.
pub async fn exchange(
    http: &HttpClient,
    question: Result<Get, String>,
    read: impl FnOnce(&Answer) -> Reply,
) -> Reply {
    let get = match question {
        Ok(get) => get,
        Err(why) => return Reply::unanswered(Outcome::KeyRefused(why)),
    };
    match http.get(get).await {
        Ok(answer) => read(&answer),
        Err(error) => Reply::unanswered(Outcome::from(error)),
    }
}
