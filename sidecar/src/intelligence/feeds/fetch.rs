//! Gets a feed's newest version: a file that changed, or a URL asked with conditions.
//!
//! Owns what is asked and when to ask again; what comes back is read by `formats` and judged by
//! `guard`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use hyper::{HeaderMap, StatusCode, Uri};
use reputation::UnixSeconds;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::file;
use crate::chance::spread;
use crate::config::{Feed, FeedFormat, FeedSource};
use crate::http::{Answer, Get, HttpClient, HttpError};
use crate::intelligence::retry_after::retry_after;
use crate::secrets::{SecretError, Secrets};

/// The largest list that is read, in bytes: about four million addresses.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a file is looked at.
const FILE_POLL: Duration = Duration::from_secs(2);
/// The first pause after a failure; it doubles up to the refresh interval.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest pause that a server's `retry-after` can ask for when it was asked too often.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3600);
/// The longest that it can ask for when it merely fails, unless the refresh interval is longer.
const LONGEST_OUTAGE: Duration = Duration::from_secs(3600);

/// By what a version is recognised without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stamp {
    File {
        modified_s: i64,
        modified_ns: i64,
        size: u64,
        inode: u64,
    },
    Url {
        etag: Option<String>,
        last_modified: Option<String>,
    },
}

#[derive(Debug)]
pub enum Fetched {
    Unchanged,
    New { body: Bytes, stamp: Stamp },
}

#[derive(Debug, Error)]
pub enum FetchError {
    #[error("{path} cannot be read")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: PathBuf, limit: usize },
    #[error("the source cannot be reached")]
    Http(#[from] HttpError),
    #[error("the source answered {status}")]
    Status {
        status: StatusCode,
        retry_after: Option<Duration>,
    },
    #[error("the source redirects, which is not followed: configure the address that it leads to")]
    Redirect,
    #[error("the feed's key is missing")]
    Key(#[from] SecretError),
    #[error("the feed's key has characters that no header may have")]
    KeyText,
}

/// Where feeds are got from.
#[derive(Clone)]
pub struct Fetcher {
    pub http: HttpClient,
    pub secrets: std::sync::Arc<Secrets>,
}

impl Fetcher {
    /// The newest version, unless it is the one that `seen` describes.
    pub async fn fetch(
        &self,
        feed: &Feed,
        seen: Option<&Stamp>,
        now: UnixSeconds,
    ) -> Result<Fetched, FetchError> {
        match &feed.source {
            FeedSource::File(path) => read_file(path, seen).await,
            // In a box: what holds this future is held by many more, and the compiler looks only so deep.
            FeedSource::Url(uri) => Box::pin(self.ask(feed, uri, seen, now)).await,
        }
    }

    async fn ask(
        &self,
        feed: &Feed,
        uri: &Uri,
        seen: Option<&Stamp>,
        now: UnixSeconds,
    ) -> Result<Fetched, FetchError> {
        let key = feed.key.as_ref();
        let key = key.map(|name| Ok::<_, SecretError>((name, self.secrets.get(name)?)));
        let key = key.transpose()?;
        let with = key.as_ref().map(|(_, value)| value);
        let mut answer = self.ask_with(feed, uri, seen, with).await?;
        // While a key is being replaced, the secret and the source change at different moments.
        if let Some((name, refused)) = &key
            && refuses_key(answer.status)
            && let Some(other) = self.secrets.instead_of(name, refused).await
        {
            answer = self.ask_with(feed, uri, seen, Some(&other)).await?;
            if !refuses_key(answer.status) {
                self.secrets.taken(name, &other);
            }
        }
        match answer.status {
            StatusCode::OK => Ok(Fetched::New {
                stamp: Stamp::Url {
                    etag: text(&answer.headers, ETAG),
                    last_modified: text(&answer.headers, LAST_MODIFIED),
                },
                body: answer.body,
            }),
            StatusCode::NOT_MODIFIED if seen.is_some() => Ok(Fetched::Unchanged),
            status if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                Err(FetchError::Redirect)
            }
            status => Err(FetchError::Status {
                status,
                retry_after: retry_after(&answer.headers, now),
            }),
        }
    }

    async fn ask_with(
        &self,
        feed: &Feed,
        uri: &Uri,
        seen: Option<&Stamp>,
        key: Option<&SecretString>,
    ) -> Result<Answer, FetchError> {
        let mut headers = conditions(seen);
        add_key(feed, key, &mut headers)?;
        let get = Get {
            uri: uri.clone(),
            headers,
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
        };
        Ok(self.http.get(get).await?)
    }
}

fn refuses_key(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn add_key(
    feed: &Feed,
    key: Option<&SecretString>,
    headers: &mut HeaderMap,
) -> Result<(), FetchError> {
    if feed.format == FeedFormat::AbuseIpdbJson {
        // Without it, errors come as HTML.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    }
    if let Some(key) = key {
        let (header, value) = key_header(feed, key)?;
        headers.insert(header, value);
    }
    Ok(())
}

/// Where the source looks for its key.
pub fn key_header(
    feed: &Feed,
    key: &SecretString,
) -> Result<(HeaderName, HeaderValue), FetchError> {
    let (header, before) = match feed.format {
        FeedFormat::AbuseIpdbJson => (HeaderName::from_static("key"), ""),
        _ => (AUTHORIZATION, "Bearer "),
    };
    let text = Zeroizing::new(format!("{before}{}", key.expose_secret()));
    let mut value = HeaderValue::from_str(&text).map_err(|_| FetchError::KeyText)?;
    value.set_sensitive(true);
    Ok((header, value))
}

/// When to look again after a success.
pub fn pause(feed: &Feed) -> Duration {
    match feed.source {
        FeedSource::File(_) => FILE_POLL.min(feed.refresh),
        FeedSource::Url(_) => spread(feed.refresh),
    }
}

/// When to look again after `failures` failures in a row.
pub fn pause_after(feed: &Feed, failures: u32, error: &FetchError) -> Duration {
    if let FeedSource::File(_) = feed.source {
        return pause(feed);
    }
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let own = FIRST_PAUSE.saturating_mul(doubled).min(feed.refresh);
    let asked = match error {
        FetchError::Status {
            status,
            retry_after,
        } => {
            let longest = match *status {
                StatusCode::TOO_MANY_REQUESTS => LONGEST_PAUSE,
                _ => LONGEST_OUTAGE.max(feed.refresh),
            };
            retry_after.unwrap_or_default().min(longest)
        }
        _ => Duration::ZERO,
    };
    spread(own).max(asked)
}

async fn read_file(path: &Path, seen: Option<&Stamp>) -> Result<Fetched, FetchError> {
    let (here, seen) = (path.to_owned(), seen.cloned());
    let reading = tokio::task::spawn_blocking(move || file::read(&here, seen.as_ref(), MAX_BYTES));
    reading.await.unwrap_or_else(|failed| {
        Err(FetchError::Read {
            path: path.to_owned(),
            source: std::io::Error::other(failed),
        })
    })
}

fn conditions(seen: Option<&Stamp>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Stamp::Url {
        etag,
        last_modified,
    }) = seen
    {
        let mut add = |name: HeaderName, value: &Option<String>| {
            let value = value
                .as_ref()
                .and_then(|text| HeaderValue::from_str(text).ok());
            value.map(|value| headers.insert(name, value))
        };
        add(IF_NONE_MATCH, etag);
        add(IF_MODIFIED_SINCE, last_modified);
    }
    headers
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SecretName};
    use crate::intelligence::testing::{StandIn, file_feed};

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn by_url() -> Feed {
        Feed {
            source: FeedSource::Url(Uri::from_static("http://192.0.2.1/list")),
            ..file_feed("one", "")
        }
    }

    fn status(retry_after: Option<u64>) -> FetchError {
        answered(StatusCode::SERVICE_UNAVAILABLE, retry_after)
    }

    fn answered(status: StatusCode, retry_after: Option<u64>) -> FetchError {
        FetchError::Status {
            status,
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn is_about(pause: Duration, seconds: u64) -> bool {
        let wanted = Duration::from_secs(seconds);
        (wanted - wanted / 10..=wanted + wanted / 10).contains(&pause)
    }

    #[test]
    fn pauses_double_up_to_the_refresh_interval() {
        let feed = by_url();
        for (failures, seconds) in [(1, 10), (2, 20), (5, 160), (12, 3600), (u32::MAX, 3600)] {
            let pause = pause_after(&feed, failures, &status(None));
            assert!(is_about(pause, seconds), "{failures}: {pause:?}");
        }
        assert!(is_about(pause(&feed), 3600));
    }

    #[test]
    fn a_server_that_was_asked_too_often_is_left_alone_as_it_says_but_a_day_at_most() {
        let feed = by_url();
        let too_often = |seconds| answered(StatusCode::TOO_MANY_REQUESTS, Some(seconds));
        let asked = |seconds| pause_after(&feed, 1, &too_often(seconds));
        assert_eq!(asked(7200), Duration::from_secs(7200));
        assert_eq!(asked(u64::MAX), LONGEST_PAUSE);
        assert!(is_about(asked(0), 10));
    }

    #[test]
    fn a_server_that_fails_puts_off_the_next_look_by_a_refresh_interval_or_an_hour_at_most() {
        let hours = |hours: u64| Duration::from_secs(3600 * hours);
        for (refresh, asked, waited) in [
            (hours(1), 1800, 1800),
            (hours(1), 86_400, 3600),
            (hours(12), 86_400, 12 * 3600),
            (Duration::from_secs(60), 86_400, 3600),
        ] {
            let feed = Feed {
                refresh,
                ..by_url()
            };
            let waits = pause_after(&feed, 1, &status(Some(asked)));
            assert_eq!(waits, Duration::from_secs(waited), "{refresh:?} {asked}");
        }
    }

    #[test]
    fn a_file_is_looked_at_every_other_second_whatever_went_wrong() {
        let feed = file_feed("one", "/nowhere");
        assert_eq!(pause_after(&feed, 9, &status(None)), FILE_POLL);
    }

    /// A source that wants a key, and the file that the key is read from.
    struct Locked {
        source: StandIn,
        file: tempfile::NamedTempFile,
        fetcher: Fetcher,
    }

    impl Locked {
        async fn start() -> Self {
            let file = tempfile::NamedTempFile::new().unwrap();
            let toml = format!("[secret.key]\nfrom = \"file\"\nname = {:?}\n", file.path());
            let secrets = Config::parse(&toml, std::iter::empty()).unwrap().secrets;
            let secrets = std::sync::Arc::new(Secrets::new(secrets));
            Self {
                source: StandIn::start(200, "192.0.2.1\n").await,
                file,
                fetcher: Fetcher {
                    http: HttpClient::new(),
                    secrets,
                },
            }
        }

        fn write(&self, key: &str) {
            std::fs::write(self.file.path(), key).unwrap();
        }

        fn take_only(&self, key: &str) {
            self.source
                .let_in_only("authorization", &format!("Bearer {key}"));
        }

        /// Fetches, and tells the keys that the source was shown meanwhile.
        async fn fetch(&self) -> (Result<Fetched, FetchError>, Vec<String>) {
            let feed = Feed {
                source: FeedSource::Url(self.source.url.parse().unwrap()),
                key: SecretName::parse("key"),
                ..file_feed("one", "")
            };
            let before = self.source.seen().len();
            let fetched = self.fetcher.fetch(&feed, None, NOW).await;
            let shown = self.source.seen().split_off(before);
            let key = |header: &HeaderValue| header.to_str().unwrap().replace("Bearer ", "");
            let keys = shown.iter().map(|asked| key(&asked.headers[AUTHORIZATION]));
            (fetched, keys.collect())
        }

        async fn shows(&self, keys: &[&str]) {
            let (fetched, shown) = self.fetch().await;
            assert!(matches!(fetched, Ok(Fetched::New { .. })), "{fetched:?}");
            assert_eq!(shown, keys);
        }
    }

    #[tokio::test]
    async fn a_key_may_be_replaced_here_before_its_source_takes_it() {
        let locked = Locked::start().await;
        locked.write("old");
        locked.take_only("old");
        locked.shows(&["old"]).await;
        locked.write("new");
        locked.shows(&["new", "old"]).await;
        // What was taken comes first, until that is refused.
        locked.shows(&["old"]).await;
        locked.take_only("new");
        locked.shows(&["old", "new"]).await;
        locked.shows(&["new"]).await;
    }

    #[tokio::test]
    async fn a_key_that_nothing_can_stand_in_for_is_refused_after_one_question() {
        let locked = Locked::start().await;
        locked.write("wrong");
        locked.take_only("right");
        let (fetched, shown) = locked.fetch().await;
        let Err(FetchError::Status { status, .. }) = fetched else {
            panic!("{fetched:?}");
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(shown, ["wrong"]);
        locked.write("right");
        locked.shows(&["right"]).await;
    }
}
