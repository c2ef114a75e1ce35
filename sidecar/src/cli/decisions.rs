//! `ban`, `unban`, `allow`, `unallow` and `decisions`.

use std::time::Duration;

use hyper::Method;
use reputation::decision::Origin;
use reputation::{Action, Cidr, Decision, DecisionKind, Rank};

use super::CliError;
use super::args::{Allow, Ban};
use super::client::author;
use super::output::{count, table, time, until};
use super::session::{Session, encode};
use crate::api::admin::{Decisions, NewDecisionBody};
use crate::intelligence::{Explanation, Removed, Rule};

const PATH: &str = "/v1/decisions";
/// What `unban --allow` grants.
const GRACE: Duration = Duration::from_secs(24 * 3600);

pub async fn ban(session: &Session, ban: &Ban) -> Result<String, CliError> {
    let body = NewDecisionBody {
        force: ban.force,
        ..body("ban", ban.address, ban.duration, ban.reason.clone())
    };
    let show = |decision: Decision| {
        let Decision {
            id, cidr, expires, ..
        } = decision;
        format!("{cidr} is banned {} (decision {id})", until(expires))
    };
    let banned = session
        .change(Method::POST, PATH, Some(&body), show)
        .await?;
    if session.json {
        return Ok(banned);
    }
    // Who bans under attack must not believe in a ban that does nothing.
    let address = encode(&ban.address.network().to_string());
    let path = format!("/v1/explain/{address}");
    let overruled = session.show(&path, overruled).await?;
    Ok(banned + &overruled)
}

pub async fn allow(session: &Session, allow: &Allow) -> Result<String, CliError> {
    let body = NewDecisionBody {
        force: allow.force,
        ..body("allow", allow.address, allow.duration, allow.reason.clone())
    };
    session
        .change(Method::POST, PATH, Some(&body), allowed)
        .await
}

/// `allow` also lets the address through, and says whether a very wide one is meant.
pub async fn unban(
    session: &Session,
    address: Cidr,
    allow: Option<bool>,
) -> Result<String, CliError> {
    let path = format!("{PATH}?type=ban&cidr={}", encode(&address.to_string()));
    let show = |removed: Removed| lifted(&removed, address, allow.is_some());
    let lifted = session
        .change(Method::DELETE, &path, None::<&()>, show)
        .await?;
    let Some(force) = allow else {
        return Ok(lifted);
    };
    let reason = Some("unban --allow".to_owned());
    let body = NewDecisionBody {
        force,
        ..body("allow", address, Some(GRACE), reason)
    };
    let allowed = session
        .change(Method::POST, PATH, Some(&body), allowed)
        .await?;
    if session.json {
        return Ok(format!("{{\"unban\":{lifted},\"allow\":{allowed}}}"));
    }
    Ok(format!("{lifted}\n{allowed}"))
}

pub async fn unallow(session: &Session, address: Cidr) -> Result<String, CliError> {
    let path = format!("{PATH}?type=allow&cidr={}", encode(&address.to_string()));
    let show = |removed: Removed| match removed.removed.len() {
        0 => format!("nothing allowed {address}"),
        number => format!("{} of {address} taken back", count(number, "allow")),
    };
    session
        .change(Method::DELETE, &path, None::<&()>, show)
        .await
}

pub async fn list(session: &Session) -> Result<String, CliError> {
    session
        .show(PATH, |answer: Decisions| {
            let rows = rows(&answer.decisions);
            match answer.more {
                0 => rows,
                more => format!("{rows}\nand {more} more of sources"),
            }
        })
        .await
}

/// Decisions as a table.
pub fn rows(decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return "no decisions".to_owned();
    }
    let row = |decision: &Decision| {
        [
            decision.id.to_string(),
            format!("{:?}", decision.kind).to_lowercase(),
            decision.cidr.to_string(),
            match &decision.origin {
                Origin::Operator => format!("operator {}", decision.author),
                Origin::Source(name) => format!("{name} {}", decision.author).trim_end().to_owned(),
            },
            decision.expires.map_or_else(|| "never".to_owned(), time),
            decision.reason.clone(),
        ]
    };
    let titles = ["ID", "TYPE", "ADDRESS", "BY", "EXPIRES", "REASON"];
    table(titles, decisions.iter().map(row).collect())
}

/// A rule in words: who refuses or lets through what, by which standing.
pub fn rule(rule: &Rule) -> String {
    let Rule {
        rank,
        action,
        reason,
        prefix,
        decision,
        expires,
    } = rule;
    let id = decision
        .map(|id| format!(", decision {id}"))
        .unwrap_or_default();
    let end = expires
        .map(|at| format!(", until {}", time(at)))
        .unwrap_or_default();
    format!(
        "{} on {prefix} by {} ({reason}{id}{end})",
        action.name(),
        rank.name()
    )
}

/// What to know of a ban that an operator's allow outranks; nothing if none does.
fn overruled(explanation: Explanation) -> String {
    let allow = explanation
        .rule
        .filter(|rule| rule.rank == Rank::OperatorAllow);
    let Some(allow) = allow else {
        return String::new();
    };
    format!(
        "\n{} still passes: {}\nto let the ban count: portcullis unallow {}",
        explanation.address,
        rule(&allow),
        allow.prefix
    )
}

fn allowed(decision: Decision) -> String {
    let Decision {
        id, cidr, expires, ..
    } = decision;
    format!("{cidr} is allowed {} (decision {id})", until(expires))
}

fn lifted(removed: &Removed, address: Cidr, allow: bool) -> String {
    let mut text = match removed.removed.len() {
        0 => format!("there was no ban or throttle of {address}"),
        _ => format!("{} of {address} taken back", kinds(&removed.removed)),
    };
    if let Some(still) = removed.still_refused_by.as_ref().filter(|_| !allow) {
        let verb = if still.action == Action::Throttle {
            "throttled"
        } else {
            "refused"
        };
        text.push_str(&format!(
            "\nstill {verb}: {}\nto let it through for 24 hours: portcullis unban {address} --allow",
            rule(still)
        ));
    }
    text
}

/// `1 ban and 2 throttles`: the command takes back both.
fn kinds(removed: &[Decision]) -> String {
    let of = |kind: DecisionKind| removed.iter().filter(|it| it.kind == kind).count();
    let named = [
        (of(DecisionKind::Ban), "ban"),
        (of(DecisionKind::Throttle), "throttle"),
        (of(DecisionKind::Allow), "allow"),
    ];
    let there = named.into_iter().filter(|(number, _)| *number > 0);
    let words: Vec<_> = there.map(|(number, noun)| count(number, noun)).collect();
    words.join(" and ")
}

fn body(
    kind: &str,
    address: Cidr,
    duration: Option<Duration>,
    reason: Option<String>,
) -> NewDecisionBody {
    NewDecisionBody {
        cidr: address.to_string(),
        r#type: kind.to_owned(),
        reason,
        author: Some(author()),
        duration: duration.map(crate::duration::show),
        force: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::decision;

    #[test]
    fn what_was_taken_back_is_called_what_it_was() {
        let of = |kind| Decision {
            kind,
            ..decision(1, "203.0.113.7")
        };
        let (ban, throttle) = (of(DecisionKind::Ban), of(DecisionKind::Throttle));
        assert_eq!(kinds(std::slice::from_ref(&throttle)), "1 throttle");
        assert_eq!(
            kinds(&[ban.clone(), throttle, ban]),
            "2 bans and 1 throttle"
        );
    }
}
