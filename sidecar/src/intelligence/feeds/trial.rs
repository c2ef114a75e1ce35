//! Trying a list's key: a HEAD of its URL, which fetches nothing. Some count even that as a call.

use std::time::Duration;

use hyper::{HeaderMap, StatusCode};
use secrecy::SecretString;

use super::fetch::{FetchError, key_header};
use crate::config::{Feed, FeedSource};
use crate::http::{Get, HttpClient};
use crate::secrets::{Secrets, Trial, TrialResult};
use crate::telemetry::chain;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Tries each value of the key, if the feed has one.
pub async fn try_key(http: &HttpClient, secrets: &Secrets, feed: &Feed) -> Vec<Trial> {
    let Some(name) = &feed.key else {
        return Vec::new();
    };
    let used_by = format!("feed {}", feed.name);
    let knock = |value| async move { judge(knock(http, feed, &value).await) };
    secrets.try_each(name, &used_by, knock).await
}

/// `None` for a file, which needs no key.
async fn knock(
    http: &HttpClient,
    feed: &Feed,
    key: &SecretString,
) -> Result<Option<StatusCode>, FetchError> {
    let FeedSource::Url(uri) = &feed.source else {
        return Ok(None);
    };
    let get = Get {
        uri: uri.clone(),
        headers: HeaderMap::from_iter([key_header(feed, key)?]),
        timeout: TIMEOUT,
        max_bytes: 0,
    };
    Ok(Some(http.head(get).await?))
}

fn judge(knocked: Result<Option<StatusCode>, FetchError>) -> TrialResult {
    let status = match knocked {
        Ok(Some(status)) => status,
        Ok(None) => return TrialResult::NotTried("a file needs no key".to_owned()),
        Err(FetchError::KeyText) => return TrialResult::Refused(FetchError::KeyText.to_string()),
        Err(error) => return TrialResult::Unknown(chain(&error)),
    };
    match status {
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => TrialResult::Taken,
        StatusCode::UNAUTHORIZED | StatusCode::PAYMENT_REQUIRED | StatusCode::FORBIDDEN => {
            TrialResult::Refused(status.to_string())
        }
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => TrialResult::NotTried(
            "the source answers no HEAD: `portcullis feeds` tells how it was fetched last"
                .to_owned(),
        ),
        status => TrialResult::Unknown(format!("the source answered {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_whether_the_key_is_taken() {
        let of = |status: u16| judge(Ok(StatusCode::from_u16(status).ok())).name();
        assert_eq!([200, 304].map(of), ["taken"; 2]);
        assert_eq!([401, 402, 403].map(of), ["refused"; 3]);
        assert_eq!([405, 501].map(of), ["not tried"; 2]);
        assert_eq!([301, 404, 429, 500].map(of), ["unknown"; 4]);
    }
}
