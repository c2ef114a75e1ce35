//! One address: what is done with it, why, by whose word; and what can be done about it.

use maud::{Markup, html};
use reputation::decision::Origin;
use reputation::{Action, Band, Cidr, Decision, DecisionKind, Rank, UnixSeconds};

use super::decisions::{self, Draft};
use super::form::Form;
use super::page::{Here, Notice, Page, csrf};
use super::{Answer, Done, Visit, blocked, look};
use crate::api::problem::{Kind, Problem};
use crate::cli::session::encode;
use crate::intelligence::{Context, Explanation, Removal, Rule, SourceWord};
use crate::orders::text_of;

/// Where an address has its page.
pub fn path_of(cidr: Cidr) -> String {
    format!("/address?of={}", encode(&text_of(cidr)))
}

pub async fn page(visit: &Visit<'_>) -> Result<Page, Problem> {
    let cidr = parse(visit.query.get("of"))?;
    if !cidr.is_host() {
        return Ok(decisions::page_about(visit, cidr));
    }
    let address = cidr.network();
    let explanation = visit.console.intelligence.explain(address).await;
    let now = visit.console.clock.now();
    let body = html! {
        h1 { code { (address) } }
        (verdict(&explanation, now))
        section aria-labelledby="do" {
            h2 #do { "What you can do" }
            (remedies(visit, &explanation))
            details open[explanation.rule.is_none()] {
                summary { "Decide about it" }
                (decisions::form(visit, &Draft::about(cidr), None))
            }
        }
        (blocked::last_hour(visit, address))
        (words(&explanation.sources, now))
        (spoken(visit, &explanation.decisions, now))
    };
    Ok(Page::new(address.to_string(), Here::Nowhere, body))
}

/// `/unban` and `/unallow`.
pub async fn take_back(visit: &Visit<'_>, path: &str, form: &Form) -> Result<Answer, Problem> {
    let cidr = parse(form.get("of"))?;
    let (removal, noun) = match path {
        "/unban" => (Removal::Bans(cidr), "ban"),
        _ => (Removal::Allows(cidr), "allow"),
    };
    let orders = &visit.console.orders;
    let removed = orders.take_back(&visit.operator, removal).await?;
    let mut text = match removed.removed.len() {
        0 => format!("There was no {noun} of {}.", text_of(cidr)),
        1 => format!("The {noun} of {} is taken back.", text_of(cidr)),
        many => format!("{many} {noun}s of {} are taken back.", text_of(cidr)),
    };
    if let Some(still) = removed.still_refused_by {
        text.push_str(&format!(
            " It is still refused by {} ({}).",
            rank(still.rank),
            still.reason
        ));
    }
    Ok(Answer::Go(Done {
        notice: Notice::good(text),
        to: path_of(cidr),
    }))
}

fn parse(text: &str) -> Result<Cidr, Problem> {
    let parsed = Cidr::parse_lenient(text);
    parsed.map_err(|error| Problem::new(Kind::BadAddress).detail(error.to_string()))
}

fn verdict(explanation: &Explanation, now: UnixSeconds) -> Markup {
    html! {
        section .card .verdict aria-labelledby="verdict" {
            h2 #verdict .quiet { "Verdict" }
            p .lead {
                (look::action(explanation.action)) " "
                @match &explanation.rule {
                    Some(rule) => { "by " (rank(rule.rank)) ": " strong { (rule.reason) } }
                    None => { "Nothing speaks against it." }
                }
            }
            (facts(explanation, now))
            @if matches!(explanation.action, Action::Deny | Action::Throttle) {
                p .hint { "A proxy in mode monitor lets it pass all the same, and counts it." }
            }
        }
    }
}

fn facts(explanation: &Explanation, now: UnixSeconds) -> Markup {
    let coverage = explanation.coverage;
    html! {
        dl {
            div { dt { "Score" } dd { (explanation.score) " of 100, " (explanation.band.name()) } }
            @if coverage.asked > 0 {
                div {
                    dt { "Heard" }
                    dd { (coverage.answered) " of " (coverage.asked) " scoring sources" }
                }
            }
            @if let Some(cap) = &explanation.cap {
                div { dt { "Vouched for by" } dd { (cap.by) ", else " (cap.from) } }
            }
            @if let Some(shadow) = &explanation.shadow {
                div {
                    dt { "If every source had a say" }
                    dd { (look::action(shadow.action)) " " (shadow.reason) }
                }
            }
            @if let Some(rule) = &explanation.rule { (rule_facts(rule, now)) }
            @if let Some(id) = explanation.decision_id.filter(|_| explanation.band != Band::Clean) {
                div { dt { "A refused client sees" } dd { code { (id) } } }
            }
        }
    }
}

fn rule_facts(rule: &Rule, now: UnixSeconds) -> Markup {
    html! {
        div { dt { "Rule" } dd { (rule.action.name()) " on " code { (rule.prefix) } } }
        @if let Some(end) = rule.expires {
            div { dt { "Ends" } dd { (look::moment(end, now)) } }
        }
    }
}

/// One click each, by what stands in the way.
fn remedies(visit: &Visit<'_>, explanation: &Explanation) -> Markup {
    let host = Cidr::host(explanation.address);
    let operators = |allow: bool| {
        explanation.decisions.iter().any(|decision| {
            let is_allow = decision.kind == DecisionKind::Allow;
            decision.origin == Origin::Operator && is_allow == allow && decision.cidr == host
        })
    };
    let refused = matches!(explanation.action, Action::Deny | Action::Throttle);
    let one_click = |path: &str, word: &str, class: &str| {
        html! {
            form method="post" action=(path) {
                (csrf(&visit.viewer))
                input type="hidden" name="of" value=(explanation.address);
                button .(class) type="submit" { (word) }
            }
        }
    };
    html! {
        div .row {
            @if operators(false) { (one_click("/unban", "Unban", "primary")) }
            @if operators(true) { (one_click("/unallow", "Take back the allow", "primary")) }
            @if refused {
                form method="post" action="/decide" {
                    (csrf(&visit.viewer))
                    input type="hidden" name="of" value=(explanation.address);
                    input type="hidden" name="kind" value="allow";
                    input type="hidden" name="for" value="24h";
                    input type="hidden" name="reason" value="let through from the console";
                    button type="submit" { "Let it pass for 24 hours" }
                }
            }
        }
    }
}

fn words(sources: &[SourceWord], now: UnixSeconds) -> Markup {
    let row = |word: &SourceWord| {
        vec![
            html! { (word.source) },
            html! { (word.role) },
            html! { (word.score) },
            html! { @match word.weight { Some(weight) => (weight), None => "–" } },
            html! { code { (word.prefix) } },
            html! { (look::span(word.age_s)) },
            html! {
                (word.categories.join(", "))
                @if let Some(said) = word.context.as_ref().and_then(Context::in_words) { " " (said) }
                " " span .quiet { (word.remark()) }
                @if let Some(seen) = word.observed { " seen " (look::moment(seen, now)) }
            },
        ]
    };
    let columns = [
        "Source",
        "Role",
        "Score",
        "Weight",
        "Prefix",
        "Age",
        "What it says",
    ];
    html! {
        section aria-labelledby="words" {
            h2 #words { "Every source's word" }
            @if sources.is_empty() {
                p { "No list and no provider has a word on it." }
            } @else {
                (look::table("Sources", &columns, sources.iter().map(row).collect()))
            }
        }
    }
}

fn spoken(visit: &Visit<'_>, spoken: &[Decision], now: UnixSeconds) -> Markup {
    html! {
        section aria-labelledby="decisions" {
            h2 #decisions { "Decisions that hold it" }
            @if spoken.is_empty() {
                p { "None." }
            } @else {
                (decisions::table("Decisions, the deciding one first", visit, spoken, now))
            }
        }
    }
}

/// Whose word it is, for people.
pub fn rank(rank: Rank) -> &'static str {
    match rank {
        Rank::Score => "what sources say together",
        Rank::SourceDecision => "a source's decision",
        Rank::HardSource => "a blocking list",
        Rank::Trusted => "a list of the trusted or a protected range",
        Rank::OperatorBan => "an operator's ban",
        Rank::OperatorAllow => "an operator's allow",
    }
}
