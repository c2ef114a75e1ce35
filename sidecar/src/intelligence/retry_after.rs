//! What a server says about when to come back.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::RETRY_AFTER;
use reputation::UnixSeconds;

/// `retry-after`, as seconds or as a date, from `now` on.
pub fn retry_after(headers: &HeaderMap, now: UnixSeconds) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let at = u64::try_from(date.timestamp().as_second()).ok()?;
    Some(Duration::from_secs(at.saturating_sub(u64::from(now.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, UnixSeconds(1_795_000_000))
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(said("120"), Some(Duration::from_secs(120)));
        // 1,795,000,000 is 2026-11-18T11:06:40Z.
        let date = said("Wed, 18 Nov 2026 11:07:40 GMT");
        assert_eq!(date, Some(Duration::from_secs(60)));
        assert_eq!(said("Wed, 18 Nov 2020 11:07:40 GMT"), Some(Duration::ZERO));
        assert_eq!(said("soon"), None);
    }
}
