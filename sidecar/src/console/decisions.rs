//! Decisions: found among very many, given, taken back; the last orders undone.

use maud::{Markup, html};
use reputation::decision::Origin;
use reputation::{Cidr, Decision, DecisionId, UnixSeconds};

use super::form::Form;
use super::page::{Here, Notice, Page, csrf};
use super::{Answer, Done, Visit, address, look};
use crate::api::admin::body as read;
use crate::api::problem::{Kind, Problem};
use crate::cli::session::encode;
use crate::intelligence::{DecisionError, Found, NewDecision, Removal, Search, Wanted, Window};
use crate::orders::{UndoError, kind_done, text_of};

/// A decision as it is being typed.
#[derive(Debug, Default)]
pub struct Draft {
    of: String,
    kind: String,
    duration: String,
    reason: String,
    /// It is very wide, and whoever types was told so.
    wide: bool,
}

const ROWS: usize = 50;
/// How many orders are offered to be undone.
const UNDOABLE: usize = 5;
pub const DURATIONS: [(&str, &str); 6] = [
    ("1h", "1 hour"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
    ("365d", "a year"),
    ("", "until it is taken back"),
];
pub const KINDS: [(&str, &str); 3] = [
    ("ban", "Ban: refuse it"),
    ("throttle", "Throttle: limit it harder"),
    ("allow", "Allow: let it pass"),
];

/// With `draft` and what is wrong with it, if there is something.
pub fn page(visit: &Visit<'_>, draft: Option<(Draft, Notice)>) -> Page {
    listing(visit, visit.query.get("q").to_owned(), draft)
}

/// What stands on a prefix, around it and inside it.
pub fn page_about(visit: &Visit<'_>, cidr: Cidr) -> Page {
    listing(visit, cidr.to_string(), None)
}

/// `/decide`
pub async fn decide(visit: &Visit<'_>, form: &Form) -> Result<Answer, Problem> {
    let draft = Draft::of_form(form);
    match draft.accepted(visit, form).await {
        Ok(done) => Ok(Answer::Go(done)),
        Err((problem, wide)) => {
            let draft = Draft { wide, ..draft };
            let detail = problem.detail_text().unwrap_or(problem.title());
            let notice = Notice::bad(format!("Nothing was decided: {detail}."));
            let mut page = page(visit, Some((draft, notice)));
            page.status = problem.status();
            Ok(Answer::Page(page))
        }
    }
}

/// `/take-back`
pub async fn take_back(visit: &Visit<'_>, form: &Form) -> Result<Answer, Problem> {
    let id = form.get("id").parse::<DecisionId>();
    let id = id.map_err(|error| Problem::new(Kind::NotFound).detail(error.to_string()))?;
    let orders = &visit.console.orders;
    let removed = orders.take_back(&visit.operator, Removal::Id(id)).await;
    let removed = removed?.removed;
    let what = removed.first().map(|decision| text_of(decision.cidr));
    Ok(Answer::Go(Done {
        notice: Notice::good(format!(
            "The decision on {} is taken back.",
            what.unwrap_or_default()
        )),
        to: back(form),
    }))
}

/// `/undo`
pub async fn undo(visit: &Visit<'_>, form: &Form) -> Result<Answer, Problem> {
    let number = form.get("order").parse().unwrap_or(0);
    let undone = visit.console.orders.undo(&visit.operator, number).await;
    let notice = match undone {
        Ok(outcome) => {
            let mut text = format!(
                "Undone: {} taken back, {} given again.",
                outcome.taken_back.len(),
                outcome.restored.len()
            );
            if outcome.left > 0 {
                text.push_str(&format!(
                    " {} had lapsed or were decided anew since.",
                    outcome.left
                ));
            }
            Notice::good(text)
        }
        Err(error @ UndoError::Settled(_)) => Notice::bad(format!("{error}.")),
        Err(UndoError::Decision(error)) => return Err(error.into()),
    };
    let to = "/decisions".to_owned();
    Ok(Answer::Go(Done { notice, to }))
}

/// Decisions with what they say; those of operators can be taken back.
pub fn table(caption: &str, visit: &Visit<'_>, decisions: &[Decision], now: UnixSeconds) -> Markup {
    let of = visit.query.given("of");
    let row = |decision: &Decision| {
        vec![
            html! {
                a href=(address::path_of(decision.cidr)) {
                    code { (text_of(decision.cidr)) }
                }
            },
            look::kind(decision.kind),
            html! { (decision.reason) },
            html! { (look::by(decision)) },
            look::moment(decision.created, now),
            look::ends(decision, now),
            html! {
                @if decision.origin == Origin::Operator {
                    form method="post" action="/take-back" {
                        (csrf(&visit.viewer))
                        input type="hidden" name="id" value=(decision.id);
                        @if let Some(of) = of { input type="hidden" name="of" value=(of); }
                        button .small type="submit"
                            aria-label={ "Take back the decision on " (decision.cidr) } { "Take back" }
                    }
                }
            },
        ]
    };
    let columns = ["Address", "Kind", "Reason", "By", "Given", "Ends", "Undo"];
    look::table(caption, &columns, decisions.iter().map(row).collect())
}

/// The form that gives a decision.
pub fn form(visit: &Visit<'_>, draft: &Draft, wrong: Option<Notice>) -> Markup {
    html! {
        @if let Some(notice) = wrong { (notice) }
        form .card .grid method="post" action="/decide" {
            (csrf(&visit.viewer))
            p {
                label for="decide-of" { "Address or prefix" }
                input #decide-of type="text" name="of" value=(draft.of) required
                    autocomplete="off" autocapitalize="off" spellcheck="false";
            }
            p {
                label for="decide-kind" { "What to do" }
                select #decide-kind name="kind" { (options(&KINDS, &draft.kind)) }
            }
            p {
                label for="decide-for" { "For how long" }
                select #decide-for name="for" { (options(&DURATIONS, &draft.duration)) }
            }
            p .wide {
                label for="decide-reason" { "Reason" }
                input #decide-reason type="text" name="reason" maxlength="200" value=(draft.reason);
            }
            @if draft.wide {
                p .wide {
                    label .check {
                        input type="checkbox" name="wide" value="yes" required;
                        " I mean this very wide prefix"
                    }
                }
            }
            p .wide { button .primary type="submit" { "Decide" } }
        }
    }
}

fn listing(visit: &Visit<'_>, wanted: String, draft: Option<(Draft, Notice)>) -> Page {
    let query = &visit.query;
    let of_sources = query.get("by") == "sources";
    let search = Search {
        what: Wanted::of(&wanted),
        kind: read::kind(query.get("kind")).ok(),
    };
    let at = query.get("page").parse::<usize>().unwrap_or(1).max(1);
    let window = Window {
        skip: (at - 1).saturating_mul(ROWS),
        most: ROWS,
    };
    let intelligence = &visit.console.intelligence;
    let found = match of_sources {
        true => intelligence.find_words(&search, window),
        false => intelligence.find_decisions(&search, window),
    };
    let now = visit.console.clock.now();
    let (draft, wrong) = draft.map_or((Draft::default(), None), |(draft, wrong)| {
        (draft, Some(wrong))
    });
    let body = html! {
        h1 { "Decisions" }
        (tabs(of_sources))
        (search_form(&wanted, query.get("kind"), of_sources))
        @if found.total == 0 {
            p { "Nothing is found." }
        } @else {
            (table(&caption(&found, window), visit, &found.decisions, now))
            (pages(&found, at, &wanted, query.get("kind"), of_sources))
        }
        section aria-labelledby="decide" {
            h2 #decide { "Decide" }
            (form(visit, &draft, wrong))
            p { a href="/import" { "Import many at once" } }
        }
        (last_orders(visit, now))
    };
    Page::new("Decisions", Here::Decisions, body)
}

fn tabs(of_sources: bool) -> Markup {
    html! {
        nav .tabs aria-label="Whose decisions" {
            a href="/decisions" aria-current=[(!of_sources).then_some("page")] { "Of operators" }
            a href="/decisions?by=sources" aria-current=[of_sources.then_some("page")] { "Of sources" }
        }
    }
}

fn search_form(wanted: &str, kind: &str, of_sources: bool) -> Markup {
    let kinds = [
        ("", "Any kind"),
        ("ban", "Bans"),
        ("throttle", "Throttles"),
        ("allow", "Allows"),
    ];
    html! {
        form .row action="/decisions" role="search" aria-label="Decisions" {
            @if of_sources { input type="hidden" name="by" value="sources"; }
            p {
                label for="q" { "Address, prefix, id, or words of a reason" }
                input #q type="search" name="q" value=(wanted) autocomplete="off";
            }
            p {
                label for="kind" { "Kind" }
                select #kind name="kind" { (options(&kinds, kind)) }
            }
            button type="submit" { "Search" }
        }
    }
}

fn caption(found: &Found, window: Window) -> String {
    let from = window.skip.saturating_add(1).min(found.total);
    let to = window.skip.saturating_add(found.decisions.len());
    format!(
        "{} to {} of {}",
        look::count(from),
        look::count(to),
        look::count(found.total)
    )
}

fn pages(found: &Found, at: usize, wanted: &str, kind: &str, of_sources: bool) -> Markup {
    let last = found.total.div_ceil(ROWS);
    let by = if of_sources { "&by=sources" } else { "" };
    let link = |page: usize| {
        format!(
            "/decisions?page={page}&q={}&kind={}{by}",
            encode(wanted),
            encode(kind)
        )
    };
    html! {
        @if last > 1 {
            nav .row aria-label="More decisions" {
                @if at > 1 { a href=(link(at - 1)) rel="prev" { "Earlier page" } }
                span { "Page " (look::count(at)) " of " (look::count(last)) }
                @if at < last { a href=(link(at + 1)) rel="next" { "Next page" } }
            }
        }
    }
}

fn last_orders(visit: &Visit<'_>, now: UnixSeconds) -> Markup {
    let trail = visit.console.orders.trail();
    let open = trail.iter().filter(|entry| !entry.settled);
    let rows: Vec<_> = open
        .take(UNDOABLE)
        .map(|entry| {
            vec![
                html! { (entry.operator.name) " " (entry.act.sentence()) },
                look::moment(entry.at, now),
                html! {
                    form method="post" action="/undo" {
                        (csrf(&visit.viewer))
                        input type="hidden" name="order" value=(entry.number);
                        button .small type="submit"
                            aria-label={ "Undo: " (entry.act.sentence()) } { "Undo" }
                    }
                },
            ]
        })
        .collect();
    html! {
        section aria-labelledby="undo" {
            h2 #undo { "Undo" }
            @if rows.is_empty() {
                p { "There is nothing to undo." }
            } @else {
                (look::table("The last orders", &["Order", "When", "Undo"], rows))
            }
        }
    }
}

pub fn options(choices: &[(&str, &str)], chosen: &str) -> Markup {
    html! {
        @for (value, name) in choices {
            option value=(value) selected[*value == chosen] { (name) }
        }
    }
}

/// The page that a form came from.
fn back(form: &Form) -> String {
    let of = form.given("of");
    of.map_or_else(
        || "/decisions".to_owned(),
        |of| format!("/address?of={}", encode(of)),
    )
}

impl Draft {
    pub fn about(cidr: Cidr) -> Self {
        Self {
            of: text_of(cidr),
            duration: "24h".to_owned(),
            ..Self::default()
        }
    }

    fn of_form(form: &Form) -> Self {
        Self {
            of: form.get("of").to_owned(),
            kind: form.get("kind").to_owned(),
            duration: form.get("for").to_owned(),
            reason: form.get("reason").to_owned(),
            wide: false,
        }
    }

    /// Gives it; or says what is wrong, and whether that is its width.
    async fn accepted(&self, visit: &Visit<'_>, form: &Form) -> Result<Done, (Problem, bool)> {
        let faulty = |problem| (problem, false);
        let new = NewDecision {
            cidr: read::cidr(&self.of).map_err(faulty)?,
            kind: read::kind(&self.kind).map_err(faulty)?,
            reason: self.reason.clone(),
            author: visit.viewer.name.clone(),
            ttl: read::duration(form.given("for")).map_err(faulty)?,
            force: form.get("wide") == "yes",
        };
        let (cidr, kind) = (new.cidr, new.kind);
        let given = visit.console.orders.give(&visit.operator, new).await;
        given.map_err(|error| {
            let wide = matches!(error, DecisionError::TooWide { .. });
            (error.into(), wide)
        })?;
        let verb = kind_done(kind);
        Ok(Done {
            notice: Notice::good(format!("{} is {verb}.", text_of(cidr))),
            to: address::path_of(cidr),
        })
    }
}
