//! What would change if a threshold moved, or if a source in shadow had a say.

use maud::{Markup, html};
use reputation::{Action, Band, Policy};

use super::chart::{Bars, bars};
use super::page::{Here, Notice, Page};
use super::{Visit, look};
use crate::intelligence::Spread;

const ACTIONS: [Action; 3] = [Action::Deny, Action::Throttle, Action::Tag];

pub fn page(visit: &Visit<'_>) -> Page {
    let intelligence = &visit.console.intelligence;
    let (policy, spread) = (intelligence.policy(), intelligence.scores());
    let tried = tried(visit, policy);
    let (other, wrong) = match &tried {
        Ok(other) => (*other, None),
        Err(why) => (policy, Some(Notice::bad(why.clone()))),
    };
    let marks = vec![
        (u64::from(policy.suspicious()), "suspicious".to_owned()),
        (u64::from(policy.malicious()), "malicious".to_owned()),
    ];
    let values = spread.counts().map(|(_, count)| u64::from(count));
    let body = html! {
        h1 { "Thresholds" }
        p {
            "How the scores of the last one to two hours are spread, by answers to proxies: lists that "
            "block, decisions, and what proxies know from their snapshot are not weighed and do not count "
            "here."
        }
        @if let Some(notice) = wrong { (notice) }
        @if spread.total() == 0 {
            p { "Nothing was weighed lately." }
        } @else {
            div .card {
                (bars(&Bars {
                    what: "Answers by score from 0 to 100",
                    values: values.collect(),
                    marks,
                    from: "0",
                    to: "100",
                }))
            }
        }
        (form(other))
        (comparison(&spread, policy, other))
        (shadow(visit))
    };
    Page::new("Thresholds", Here::Thresholds, body)
}

/// The thresholds that are tried: those in force unless others are asked for.
fn tried(visit: &Visit<'_>, policy: Policy) -> Result<Policy, String> {
    let number = |name: &str, standing: u8| match visit.query.given(name) {
        None => Ok(standing),
        Some(text) => text
            .parse::<u8>()
            .map_err(|_| format!("{name} must be a number from 1 to 100.")),
    };
    let suspicious = number("suspicious", policy.suspicious())?;
    let malicious = number("malicious", policy.malicious())?;
    Policy::new(suspicious, malicious).map_err(|error| format!("{error}."))
}

fn form(tried: Policy) -> Markup {
    html! {
        form .row action="/thresholds" {
            p {
                label for="suspicious" { "Suspicious from" }
                input #suspicious type="number" name="suspicious" min="1" max="99"
                    value=(tried.suspicious());
            }
            p {
                label for="malicious" { "Malicious from" }
                input #malicious type="number" name="malicious" min="2" max="100"
                    value=(tried.malicious());
            }
            button type="submit" { "Try" }
        }
        p .hint {
            "Nothing is changed by this. The thresholds are " code { "policy.suspicious" } " and "
            code { "policy.malicious" } " of the configuration."
        }
    }
}

fn comparison(spread: &Spread, standing: Policy, tried: Policy) -> Markup {
    let row = |band: Band| {
        let (now, then) = (spread.in_band(standing, band), spread.in_band(tried, band));
        let change = match (then.checked_sub(now), now.saturating_sub(then)) {
            (Some(0), _) => "–".to_owned(),
            (Some(more), _) => format!("{} more", look::count(more)),
            (None, fewer) => format!("{} fewer", look::count(fewer)),
        };
        vec![
            html! { (band.name()) },
            html! { (look::count(now)) },
            html! { (look::count(then)) },
            html! { (change) },
        ]
    };
    let columns = ["Band", "In force", "Tried", "Change"];
    look::table(
        "Answers by band",
        &columns,
        Band::ALL.iter().map(|band| row(*band)).collect(),
    )
}

fn shadow(visit: &Visit<'_>) -> Markup {
    let Visit { console, .. } = visit;
    let feeds = console
        .intelligence
        .feeds()
        .into_iter()
        .map(|feed| feed.name);
    let providers = console.intelligence.providers().into_iter();
    let names = feeds.chain(providers.map(|provider| provider.name));
    let counted = names.map(|name| {
        let counts = ACTIONS.map(|action| console.metrics.shadow_answers(&name, action));
        (name, counts)
    });
    let rows: Vec<_> = counted
        .filter(|(_, counts)| counts.iter().any(|count| *count > 0))
        .map(|(name, counts)| {
            let counts = counts.map(|count| html! { (look::count(count)) });
            std::iter::once(html! { (name) }).chain(counts).collect()
        })
        .collect();
    html! {
        section aria-labelledby="shadow" {
            h2 #shadow { "Sources in shadow" }
            @if rows.is_empty() {
                p { "No source in shadow would have changed an answer since the sidecar started." }
            } @else {
                (look::table(
                    "Answers that would have been others since the sidecar started",
                    &["Source", "Refused", "Throttled", "Tagged"],
                    rows,
                ))
            }
        }
    }
}
