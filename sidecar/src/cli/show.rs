//! The commands that only look: `check`, `explain`, `feeds` (and its release), `providers`, `secrets`.

use hyper::Method;
use reputation::{Band, ClientAddress, Verdict};
use serde::Deserialize;

use super::CliError;
use super::args::FeedAction;
use super::decisions::{rows, rule};
use super::output::{or_dash, table, time};
use super::session::{Session, encode};
use crate::config::Say;
use crate::intelligence::{
    Context, DatabaseStatus, Explanation, FeedStatus, ProviderStatus, SourceWord,
};
use crate::secrets::SecretStatus;

#[derive(Deserialize)]
struct Feeds {
    feeds: Vec<FeedStatus>,
}

#[derive(Deserialize)]
struct Released {
    released: String,
}

#[derive(Deserialize)]
struct Providers {
    providers: Vec<ProviderStatus>,
    #[serde(default)]
    databases: Vec<DatabaseStatus>,
}

#[derive(Deserialize)]
struct Secrets {
    secrets: Vec<SecretStatus>,
}

pub async fn check(session: &Session, address: ClientAddress) -> Result<String, CliError> {
    let path = format!("/v1/check/{}", encode(&address.to_string()));
    let show = |verdict: Verdict| {
        let Verdict {
            action,
            band,
            score,
            reason,
            ttl_s,
            scope,
            ..
        } = &verdict;
        let (action, band) = (action.name(), band.name());
        let provisional = if verdict.provisional {
            "; a provider is still being asked"
        } else {
            ""
        };
        format!(
            "{address}: {action} ({band}, score {score}, {reason}), holds {ttl_s} s for {scope}{provisional}"
        )
    };
    session.show(&path, show).await
}

pub async fn explain(session: &Session, address: ClientAddress) -> Result<String, CliError> {
    let path = format!("/v1/explain/{}", encode(&address.to_string()));
    session
        .show(&path, |explanation: Explanation| explained(&explanation))
        .await
}

pub async fn feeds(session: &Session, action: Option<&FeedAction>) -> Result<String, CliError> {
    match action {
        None => {
            session
                .show("/v1/feeds", |answer: Feeds| feed_rows(&answer.feeds))
                .await
        }
        Some(FeedAction::Release { name }) => {
            let path = format!("/v1/feeds/{}/release", encode(name));
            let show =
                |Released { released }| format!("{released}: its newest version is in force");
            session.change(Method::POST, &path, None::<&()>, show).await
        }
    }
}

pub async fn providers(session: &Session) -> Result<String, CliError> {
    session
        .show("/v1/providers", |answer: Providers| {
            let mut text = provider_rows(&answer.providers);
            if !answer.databases.is_empty() {
                text.push_str(&format!("\n{}", database_rows(&answer.databases)));
            }
            text
        })
        .await
}

pub async fn secrets(session: &Session) -> Result<String, CliError> {
    session
        .show("/v1/secrets", |answer: Secrets| secret_rows(answer.secrets))
        .await
}

fn explained(explanation: &Explanation) -> String {
    let Explanation {
        address,
        action,
        band,
        score,
        reason,
        ..
    } = explanation;
    let (action, band) = (action.name(), band.name());
    let mut text = format!("{address}: {action} ({band}, score {score}, {reason})\n");
    text.push_str(&decided(explanation));
    if !explanation.decisions.is_empty() {
        text.push_str(&format!("\n{}", rows(&explanation.decisions)));
    }
    if !explanation.sources.is_empty() {
        text.push_str(&format!("\n{}", words(&explanation.sources)));
    }
    for word in &explanation.sources {
        let context = word.context.as_ref().and_then(Context::in_words);
        if let Some(context) = context {
            text.push_str(&format!("\n{}: {context}\n", word.source));
        }
    }
    text.push_str(&sum(explanation));
    if let Some(shadow) = &explanation.shadow {
        text.push_str(&format!(
            "with every source in force it would be: {} ({}, {})\n",
            shadow.action.name(),
            shadow.band.name(),
            shadow.reason
        ));
    }
    text
}

/// The rule, and how a client that it refuses would name it.
fn decided(explanation: &Explanation) -> String {
    let mut text = match &explanation.rule {
        Some(deciding) => format!("decided by: {}\n", rule(deciding)),
        None => "decided by: no list or decision holds it\n".to_owned(),
    };
    let may_be_refused = explanation.band != Band::Clean;
    if let Some(id) = explanation.decision_id.filter(|_| may_be_refused) {
        text.push_str(&format!(
            "a refused client sees: x-portcullis-decision: {id}\n"
        ));
    }
    text
}

fn words(sources: &[SourceWord]) -> String {
    let titles = [
        "SOURCE", "FAMILY", "ROLE", "SCORE", "WEIGHT", "LEFT", "POINTS", "AGE", "SEEN", "PREFIX",
        "",
    ];
    let row = |word: &SourceWord| {
        [
            word.source.clone(),
            word.family.clone(),
            word.role.clone(),
            word.score.to_string(),
            or_dash(word.weight),
            word.left
                .map_or_else(|| "-".to_owned(), |left| format!("{:.0} %", left * 100.0)),
            word.points
                .map_or_else(|| "-".to_owned(), |points| format!("{points:.1}")),
            age(word.age_s),
            word.observed.map_or_else(|| "-".to_owned(), time),
            word.prefix.to_string(),
            word.remark().to_owned(),
        ]
    };
    table(titles, sources.iter().map(row).collect())
}

/// What the words add up to.
fn sum(explanation: &Explanation) -> String {
    let coverage = explanation.coverage;
    if coverage.asked == 0 {
        return String::new();
    }
    let (answered, asked) = (coverage.answered, coverage.asked);
    let combined = explanation.combined;
    let mut text = format!(
        "\n{answered} of {asked} scoring sources had a word on it: together {combined} of 100\n"
    );
    if let Some(cap) = &explanation.cap {
        text.push_str(&format!(
            "{} vouches for it: without that it would be {}\n",
            cap.by, cap.from
        ));
    }
    text
}

fn feed_rows(feeds: &[FeedStatus]) -> String {
    if feeds.is_empty() {
        return "no feeds are configured".to_owned();
    }
    let row = |feed: &FeedStatus| {
        let state = match (&feed.held_because, &feed.last_error) {
            (Some(why), _) => format!("held: {why} (portcullis feeds release {})", feed.name),
            (None, _) if feed.held => format!("held (portcullis feeds release {})", feed.name),
            (None, Some(error)) => format!("error: {error}"),
            (None, None) if feed.trial_until.is_some() => format!(
                "a new version adds {}, in shadow until {} (portcullis feeds release {} ends that)",
                feed.in_shadow,
                feed.trial_until.map_or_else(String::new, time),
                feed.name
            ),
            (None, None) if feed.in_shadow > 0 => format!("ok, {} in shadow", feed.in_shadow),
            (None, None) => "ok".to_owned(),
        };
        [
            feed.name.clone(),
            feed.role.clone(),
            feed.entries.to_string(),
            feed.skipped.to_string(),
            feed.age_s.map_or_else(|| "-".to_owned(), age),
            state,
        ]
    };
    let titles = ["FEED", "ROLE", "ENTRIES", "UNREADABLE", "AGE", "STATE"];
    table(titles, feeds.iter().map(row).collect())
}

fn provider_rows(providers: &[ProviderStatus]) -> String {
    if providers.is_empty() {
        return "no providers are configured".to_owned();
    }
    let row = |provider: &ProviderStatus| {
        [
            provider.name.clone(),
            with_say(provider.state().to_owned(), provider.enforce_percent),
            format!("{} of {}", provider.remaining, provider.daily_quota),
            provider.released.to_string(),
            provider.reserved.to_string(),
            provider.sightings_needed.to_string(),
            provider.closed_until.map_or_else(|| "-".to_owned(), time),
            provider.last_success.map_or_else(|| "-".to_owned(), time),
            or_dash(provider.last_error.as_ref()),
        ]
    };
    let titles = [
        "PROVIDER",
        "STATE",
        "LEFT TODAY",
        "RELEASED",
        "RESERVE",
        "SIGHTINGS",
        "CLOSED UNTIL",
        "LAST SUCCESS",
        "LAST ERROR",
    ];
    table(titles, providers.iter().map(row).collect())
}

fn database_rows(databases: &[DatabaseStatus]) -> String {
    let row = |database: &DatabaseStatus| {
        let in_force = database.in_force.as_ref();
        let state = match (&database.last_error, in_force) {
            (Some(error), _) => format!("error: {error}"),
            (None, None) => "being read".to_owned(),
            (None, Some(in_force)) if in_force.age_s > limit(database) => "out of date".to_owned(),
            (None, Some(_)) => "ok".to_owned(),
        };
        let use_of = in_force.map(|it| if it.scores { "scores" } else { "explains" });
        [
            database.name.clone(),
            or_dash(in_force.map(|it| it.database_type.as_str())),
            or_dash(use_of),
            in_force.map_or_else(|| "-".to_owned(), |it| time(it.built)),
            in_force.map_or_else(|| "-".to_owned(), |it| age(it.age_s)),
            or_dash(in_force.map(|it| it.nodes)),
            with_say(state, database.enforce_percent),
        ]
    };
    let titles = ["DATABASE", "TYPE", "USE", "BUILT", "AGE", "NODES", "STATE"];
    table(titles, databases.iter().map(row).collect())
}

/// A state, and how far the source has a say if that is not everywhere.
fn with_say(state: String, say: Say) -> String {
    match say.in_words() {
        Some(words) => format!("{state}, {words}"),
        None => state,
    }
}

fn limit(database: &DatabaseStatus) -> u32 {
    u32::try_from(database.max_age_s).unwrap_or(u32::MAX)
}

fn secret_rows(secrets: Vec<SecretStatus>) -> String {
    if secrets.is_empty() {
        return "no secrets are configured".to_owned();
    }
    let row = |secret: SecretStatus| {
        let (state, expires) = (secret.state(), secret.expiry());
        [
            secret.name.to_string(),
            secret.origin,
            or_dash(secret.version),
            secret.since.map_or_else(|| "-".to_owned(), time),
            or_dash(expires),
            state,
        ]
    };
    table(
        ["SECRET", "FROM", "VERSION", "SINCE", "EXPIRES", "STATE"],
        secrets.into_iter().map(row).collect(),
    )
}

fn age(seconds: u32) -> String {
    crate::duration::show(std::time::Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(action: &str, band: &str) -> String {
        let explanation = serde_json::json!({
            "address": "203.0.113.7", "action": action, "band": band, "score": 0,
            "reason": "operator", "decision_id": "0d8a70cfa95060ac",
            "decisions": [], "sources": [], "coverage": {"answered": 0, "asked": 0},
        });
        explained(&serde_json::from_value(explanation).unwrap())
    }

    #[test]
    fn each_word_is_shown_with_what_it_weighs_and_why_it_does_not() {
        let word = |source: &str, part: &str, left: f64, points: f64| {
            serde_json::json!({
                "source": source, "family": "one", "role": "provider", "score": 90, "weight": 0.75,
                "part": part, "left": left, "points": points, "prefix": "203.0.113.7/32",
                "age_s": 7200, "observed": 1_795_000_000,
            })
        };
        let explanation = serde_json::json!({
            "address": "203.0.113.7", "action": "allow", "band": "clean", "score": 20,
            "reason": "clean", "decisions": [], "combined": 20, "cap": {"by": "friend", "from": 67},
            "sources": [
                word("loud", "counts", 1.0, 67.5), word("old", "outweighed", 0.5, 33.75),
                word("friend", "caps", 1.0, 0.0), word("late", "expired", 0.0, 0.0),
            ],
            "coverage": {"answered": 3, "asked": 5},
        });
        let text = explained(&serde_json::from_value(explanation).unwrap());
        let line = |source: &str| {
            let mut lines = text.lines().filter(|line| line.starts_with(source));
            lines
                .next()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let rest = "2h 2026-11-18T11:06:40Z 203.0.113.7/32";
        assert_eq!(
            line("loud"),
            format!("loud one provider 90 0.75 100 % 67.5 {rest}")
        );
        assert_eq!(
            line("old"),
            format!("old one provider 90 0.75 50 % 33.8 {rest} outweighed in its family")
        );
        assert!(line("friend").ends_with("vouches for it"));
        assert!(line("late").ends_with("expired"));
        assert!(text.contains("3 of 5 scoring sources had a word on it: together 20 of 100"));
        assert!(text.ends_with("friend vouches for it: without that it would be 67\n"));
    }

    #[test]
    fn only_who_may_be_refused_is_told_to_see_a_decision() {
        let id = "x-portcullis-decision: 0d8a70cfa95060ac";
        assert!(text("deny", "malicious").contains(id));
        assert!(text("tag", "suspicious").contains(id));
        assert!(!text("allow", "clean").contains(id));
    }
}
