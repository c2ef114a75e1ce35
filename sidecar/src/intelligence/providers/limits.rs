//! What a provider says about its own budget, in headers. Owns telling the calls of a day from those of a
//! minute or an hour, which go by the same names. What follows from either is the gate's.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use reputation::UnixSeconds;

use crate::clock::Day;
use crate::config::LimitHeaders;
use crate::intelligence::retry_after::retry_after;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Calls in the window, and how many of them are left.
    pub limit: Option<u32>,
    pub remaining: Option<u32>,
    pub window: Window,
    /// When the next window's calls begin.
    pub reset: Option<UnixSeconds>,
    pub retry_after: Option<Duration>,
}

/// For what time calls are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Window {
    /// A day, or more: these are the calls that are dealt out.
    #[default]
    Day,
    /// Less, and this much at most: no reason but for a pause.
    Short(Duration),
}

/// A source that waits no longer than this counts no days. In a day's last hour the day's end is as near:
/// then nothing is learnt of it, and nobody is asked past its reset all the same.
const SHORT: Duration = Duration::from_secs(3600);
/// A window that is said and at least this long is a day's: nobody counts by 20 hours.
const ABOUT_A_DAY: Duration = Duration::from_secs(20 * 3600);
/// A reset beyond this is a time, before it a number of seconds: about the year 2001.
const FIRST_MOMENT: u64 = 1_000_000_000;
/// The longest that a provider can ask us to stay away, in seconds: a day and an hour.
pub const LONGEST_ABSENCE: u32 = 25 * 3600;
/// For so many seconds of a new day the provider may still count the last one: clocks differ. What it has
/// left then is not believed, or what was used up yesterday would be used up for today as well.
pub const YOUNG: u32 = 120;

impl Limits {
    /// `configured` is the window that the operator named. Else the provider's `ratelimit-policy` tells,
    /// else how far away it says that the next calls are, else it is a day.
    pub fn read(
        headers: &HeaderMap,
        names: &LimitHeaders,
        configured: Option<Duration>,
        now: UnixSeconds,
    ) -> Self {
        let said = |name: &Option<HeaderName>| number(headers, name.as_ref()?);
        let small = |name| said(name).and_then(|number| u32::try_from(number).ok());
        let limit = small(&names.limit);
        // Nobody answers within a limit of no calls: then neither number says anything.
        let (limit, remaining) = match limit {
            Some(0) => (None, None),
            limit => (limit, small(&names.remaining)),
        };
        let reset = said(&names.reset).map(|reset| match reset {
            FIRST_MOMENT.. => UnixSeconds::from_secs(reset),
            seconds => UnixSeconds::from_secs(u64::from(now.0).saturating_add(seconds)),
        });
        // One that is past says nothing.
        let reset = reset.filter(|reset| *reset > now);
        let retry_after = retry_after(headers, now);
        let away = reset.map(|reset| Duration::from_secs(now.until(reset).into()));
        let away = away.or(retry_after);
        let stated = configured.or_else(|| policy(headers, limit));
        Self {
            limit,
            remaining,
            window: Window::of(stated, away),
            reset,
            retry_after,
        }
    }

    /// What of it says something of the day that is `now`, if the call was booked at `booked`.
    pub fn of_call(self, booked: UnixSeconds, now: UnixSeconds) -> Self {
        if self.window != Window::Day {
            return self;
        }
        let same_day = Day::of(booked) == Day::of(now);
        Self {
            limit: self.limit.filter(|_| same_day),
            remaining: self.remaining.filter(|_| same_day && !is_young(booked)),
            ..self
        }
    }

    /// Calls a day.
    pub fn of_day(&self) -> Option<u32> {
        self.limit.filter(|_| self.window == Window::Day)
    }

    /// Calls left today.
    pub fn left_today(&self) -> Option<u32> {
        self.remaining.filter(|_| self.window == Window::Day)
    }

    /// When a provider can be asked again that had no call left for one that was booked at `booked`.
    pub fn over(&self, booked: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
        let latest = now.plus(LONGEST_ABSENCE);
        let after = |pause| now.plus(whole_seconds(pause));
        let said = self.reset.or_else(|| self.retry_after.map(after));
        let end = || match self.window {
            Window::Day if is_young(booked) => Day::of(booked).begin().plus(YOUNG),
            Window::Day => Day::of(booked).end(),
            Window::Short(length) => after(length),
        };
        said.unwrap_or_else(end).min(latest)
    }
}

impl Window {
    fn of(stated: Option<Duration>, away: Option<Duration>) -> Self {
        match (stated, away) {
            (Some(stated), _) if stated < ABOUT_A_DAY => Self::Short(stated),
            (None, Some(away)) if away <= SHORT => Self::Short(away),
            _ => Self::Day,
        }
    }
}

fn is_young(booked: UnixSeconds) -> bool {
    Day::of(booked).begin().until(booked) < YOUNG
}

/// A pause in seconds, one at least.
pub fn whole_seconds(pause: Duration) -> u32 {
    u32::try_from(pause.as_secs()).unwrap_or(u32::MAX).max(1)
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The window that `ratelimit-policy` gives to `limit`, as in `100;w=60` or `"minute";q=100;w=60`; if it
/// names only one, that.
fn policy(headers: &HeaderMap, limit: Option<u32>) -> Option<Duration> {
    let text = headers.get("ratelimit-policy")?.to_str().ok()?;
    let named: Vec<_> = text.split(',').filter_map(one_policy).collect();
    let mut same = named.iter().filter(|(quota, _)| *quota == limit);
    let found = same
        .next()
        .or_else(|| named.first().filter(|_| named.len() == 1));
    found.map(|(_, window)| *window)
}

fn one_policy(text: &str) -> Option<(Option<u32>, Duration)> {
    let mut parts = text.split(';').map(str::trim);
    let first = parts.next()?.parse().ok();
    let (mut quota, mut window) = (first, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        match name.trim() {
            "q" => quota = value.trim().parse().ok(),
            "w" => window = value.trim().parse().ok().map(Duration::from_secs),
            _ => {}
        }
    }
    Some((quota, window?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22 at noon; the day ends in 12 hours.
    const NOON: UnixSeconds = UnixSeconds(86_400 * 20_779 + 43_200);

    fn names() -> LimitHeaders {
        let name = |name| Some(HeaderName::from_static(name));
        LimitHeaders {
            limit: name("x-ratelimit-limit"),
            remaining: name("x-ratelimit-remaining"),
            reset: name("x-ratelimit-reset"),
        }
    }

    fn said(headers: &[(&'static str, &str)], configured: Option<u64>, now: UnixSeconds) -> Limits {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        let headers: HeaderMap = headers.iter().map(pair).collect();
        Limits::read(&headers, &names(), configured.map(Duration::from_secs), now)
    }

    /// What is taken for the day's, and for how long nobody is asked once it is used up.
    #[track_caller]
    fn expect(limits: Limits, now: UnixSeconds, day: Option<(u32, u32)>, pause: u32) {
        let taken = limits.of_day().zip(limits.left_today());
        assert_eq!(taken, day, "{limits:?}");
        assert_eq!(now.until(limits.over(now, now)), pause, "{limits:?}");
    }

    #[test]
    fn a_days_calls_are_told_from_those_of_a_minute_by_what_the_source_says() {
        let count = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "7")];
        let with = |more: &[(&'static str, &str)]| said(&[&count[..], more].concat(), None, NOON);
        let midnight = (NOON.0 + 43_200).to_string();
        let soon = (NOON.0 + 42).to_string();
        let day = Some((60, 7));
        for (more, day, pause) in [
            (&[][..], day, 43_200),
            (&[("x-ratelimit-reset", &*midnight)], day, 43_200),
            (&[("x-ratelimit-reset", "43200")], day, 43_200),
            (&[("x-ratelimit-reset", &*soon)], None, 42),
            (&[("x-ratelimit-reset", "42")], None, 42),
            (&[("x-ratelimit-reset", "3600")], None, 3600),
            (&[("retry-after", "30")], None, 30),
            (&[("retry-after", "43200")], day, 43_200),
            (&[("ratelimit-policy", "60;w=60")], None, 60),
            (&[("ratelimit-policy", "60;w=86400")], day, 43_200),
            (
                &[("ratelimit-policy", "\"m\";q=60;w=60, \"d\";q=1000;w=86400")],
                None,
                60,
            ),
            (
                &[("ratelimit-policy", "\"m\";q=5;w=1, \"d\";q=60;w=86400")],
                day,
                43_200,
            ),
            (&[("ratelimit-policy", "nonsense, 60;w=soon")], day, 43_200),
            // A month's calls are no more than a day's: what is left of them is left of the day.
            (&[("ratelimit-policy", "60;w=2592000")], day, 43_200),
        ] {
            expect(with(more), NOON, day, pause);
        }
    }

    #[test]
    fn the_window_that_the_operator_names_counts_more_than_anything_said() {
        let headers = [("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "7")];
        expect(said(&headers, Some(60), NOON), NOON, None, 60);
        let soon = [&headers[..], &[("x-ratelimit-reset", "42")]].concat();
        expect(said(&soon, Some(86_400), NOON), NOON, Some((60, 7)), 42);
    }

    #[test]
    fn in_the_last_hour_nothing_is_learnt_of_the_day_and_nobody_is_asked_past_its_end() {
        let late = UnixSeconds(NOON.0 + 43_200 - 90);
        let headers = [
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "0"),
            ("retry-after", "90"),
        ];
        expect(said(&headers, None, late), late, None, 90);
    }

    /// Every other source of the documentation sends none, but for `retry-after`.
    #[test]
    fn what_abuseipdb_and_greynoise_document_is_understood() {
        let answered = [
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "958"),
        ];
        expect(said(&answered, None, NOON), NOON, Some((1000, 958)), 43_200);
        let reset = (NOON.0 + 29_241).to_string();
        let refused = [
            ("x-ratelimit-limit", "1000"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", &*reset),
            ("retry-after", "29241"),
        ];
        expect(said(&refused, None, NOON), NOON, Some((1000, 0)), 29_241);
        expect(said(&[("retry-after", "120")], None, NOON), NOON, None, 120);
    }

    #[test]
    fn what_is_left_of_a_day_is_believed_on_that_day_and_not_in_its_first_minutes() {
        let midnight = UnixSeconds(NOON.0 + 43_200);
        let left = Limits {
            limit: Some(1000),
            remaining: Some(0),
            ..Limits::default()
        };
        let (before, after) = (UnixSeconds(midnight.0 - 1), midnight.plus(YOUNG));
        for (booked, now, limit, remaining) in [
            (NOON, before, Some(1000), Some(0)),
            (before, midnight, None, None),
            (midnight, midnight, Some(1000), None),
            (UnixSeconds(after.0 - 1), after, Some(1000), None),
            (after, after, Some(1000), Some(0)),
        ] {
            let said = left.of_call(booked, now);
            assert_eq!((said.of_day(), said.left_today()), (limit, remaining));
        }
        let a_minutes = Limits {
            window: Window::Short(Duration::from_secs(60)),
            ..left
        };
        assert_eq!(a_minutes.of_call(before, midnight), a_minutes);
    }

    #[test]
    fn a_refused_call_of_yesterday_or_of_the_first_minutes_does_not_cost_the_day() {
        let midnight = UnixSeconds(NOON.0 + 43_200);
        let (before, after) = (UnixSeconds(midnight.0 - 1), midnight.plus(YOUNG));
        let over = |booked, now| Limits::default().over(booked, now);
        assert_eq!(over(before, midnight.plus(1)), midnight);
        assert_eq!(over(midnight, midnight.plus(1)), after);
        assert_eq!(over(after, after), midnight.plus(86_400));
    }

    #[test]
    fn nobody_keeps_us_away_for_more_than_a_day_and_an_hour() {
        for (name, value) in [
            ("x-ratelimit-reset", "99999999999"),
            ("retry-after", "99999999999"),
        ] {
            expect(
                said(&[(name, value)], None, NOON),
                NOON,
                None,
                LONGEST_ABSENCE,
            );
        }
        let past = (NOON.0 - 60).to_string();
        expect(
            said(&[("x-ratelimit-reset", &past)], None, NOON),
            NOON,
            None,
            43_200,
        );
    }
}
