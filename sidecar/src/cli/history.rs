//! `history`: what was thought and done about an address, after the fact and over the whole fleet.

use std::time::Duration;

use reputation::ClientAddress;
use serde_json::Value;

use super::CliError;
use super::output::{count, or_dash, table, time};
use super::session::{Session, encode};
use crate::history::{AddressHistory, Event, PastDecision, PastVerdict, Refusals, Totals};

pub async fn show(
    session: &Session,
    address: ClientAddress,
    since: Duration,
    most: usize,
) -> Result<String, CliError> {
    let address = encode(&address.to_string());
    let since = crate::duration::show(since);
    let path = format!("/v1/history/{address}?since={since}&limit={most}");
    session
        .show(&path, |history: AddressHistory| page(&history))
        .await
}

fn page(history: &AddressHistory) -> String {
    let AddressHistory {
        address,
        since,
        totals,
        refusals,
        events,
        next,
        ..
    } = history;
    let mut text = format!("{address} since {}: {}\n", time(*since), told(totals));
    if !refusals.is_empty() {
        let titles = ["FROM", "REQUESTS", "DONE", "WHY"];
        text.push('\n');
        text.push_str(&table(titles, refusals.iter().map(span).collect()));
    }
    if !events.is_empty() {
        let titles = ["WHEN", "WHAT", "WHY", "BY", "ABOUT"];
        text.push('\n');
        text.push_str(&table(titles, events.iter().map(row).collect()));
    }
    if let Some(next) = next {
        text.push_str(&format!(
            "and earlier ones: add --limit, or ask the API with before={next}\n"
        ));
    }
    text
}

fn told(totals: &Totals) -> String {
    let Totals {
        refused,
        throttled,
        would_be_refused,
        would_be_throttled,
    } = *totals;
    let parts = [
        (refused, "refused"),
        (throttled, "throttled"),
        (would_be_refused, "that would have been refused"),
        (would_be_throttled, "that would have been throttled"),
    ];
    let there = parts.into_iter().filter(|(requests, _)| *requests > 0);
    let parts: Vec<_> = there
        .map(|(requests, done)| {
            let requests = usize::try_from(requests).unwrap_or(usize::MAX);
            format!("{} {done}", count(requests, "request"))
        })
        .collect();
    match parts.is_empty() {
        true => "no request refused".to_owned(),
        false => parts.join(", "),
    }
}

fn span(refusals: &Refusals) -> [String; 4] {
    let Refusals {
        from,
        action,
        mode,
        requests,
        reason,
    } = refusals;
    let done = match (mode.as_str(), action.as_str()) {
        ("enforce", "throttle") => "throttled",
        ("enforce", _) => "refused",
        (_, "throttle") => "would be throttled",
        (_, _) => "would be refused",
    };
    [
        time(*from),
        requests.to_string(),
        done.to_owned(),
        reason.clone(),
    ]
}

fn row(event: &Event) -> [String; 5] {
    match event {
        Event::Verdict(verdict) => of_verdict(verdict),
        Event::Decision(decision) => of_decision(decision),
    }
}

fn of_verdict(verdict: &PastVerdict) -> [String; 5] {
    let PastVerdict {
        at,
        scope,
        action,
        band,
        score,
        reason,
        answered,
        asked,
        sources,
        ..
    } = verdict;
    let words = match (asked, in_words(sources)) {
        (0, words) if words.is_empty() => "-".to_owned(),
        (0, words) => words,
        (asked, words) => format!("{answered} of {asked} sources {words}")
            .trim_end()
            .to_owned(),
    };
    [
        time(*at),
        format!("{action} ({band}, score {score})"),
        reason.clone(),
        words,
        scope.clone(),
    ]
}

/// `ipsum 90, abuseipdb 40`.
fn in_words(sources: &Value) -> String {
    let each = sources.as_array().into_iter().flatten();
    let words = each.filter_map(|word| {
        let source = word.get("source")?.as_str()?;
        Some(format!("{source} {}", word.get("score")?))
    });
    words.collect::<Vec<_>>().join(", ")
}

fn of_decision(decision: &PastDecision) -> [String; 5] {
    let PastDecision {
        at,
        event,
        prefix,
        r#type,
        reason,
        expires,
        operator,
        way,
        ..
    } = decision;
    let what = match event.as_str() {
        "gave" => format!("{type} until {}", or_dash(expires.map(time))),
        "took_back" => format!("{type} taken back"),
        other => format!("{type} {other}"),
    };
    [
        time(*at),
        what,
        reason.clone(),
        format!("{operator} ({way})"),
        prefix.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Value {
        serde_json::json!({
            "address": "203.0.113.7", "since": 1_795_000_000, "span_s": 3600,
            "totals": {"refused": 41, "throttled": 0, "would_be_refused": 1, "would_be_throttled": 0},
            "refusals": [{"from": 1_795_003_200, "action": "deny", "mode": "monitor", "requests": 1,
                          "reason": "ipsum"}],
            "events": [
                {"kind": "decision", "at": 1_795_000_100, "event": "gave", "decision": "0d8a70cfa95060ac",
                 "prefix": "203.0.113.0/24", "type": "ban", "origin": "operator", "reason": "scanner",
                 "author": "ada", "operator": "ada", "way": "console"},
                {"kind": "verdict", "at": 1_795_000_050, "address": "203.0.113.7",
                 "scope": "203.0.113.7/32", "action": "tag", "band": "suspicious", "score": 60,
                 "reason": "ipsum", "answered": 1, "asked": 2,
                 "sources": [{"source": "ipsum", "family": "ipsum", "score": 60, "weight": 0.5}]},
            ],
            "next": "1795000050.7",
        })
    }

    #[test]
    fn one_page_says_how_often_what_and_by_whom() {
        let text = page(&serde_json::from_value(history()).unwrap());
        let lines: Vec<_> = text.lines().collect();
        let first = "203.0.113.7 since 2026-11-18T11:06:40Z: 41 requests refused, \
                     1 request that would have been refused";
        assert_eq!(lines[0], first);
        for words in [
            "1         would be refused  ipsum",
            "ban until -",
            "scanner  ada (console)",
            "203.0.113.0/24",
            "tag (suspicious, score 60)",
            "1 of 2 sources ipsum 60",
            "before=1795000050.7",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
}
