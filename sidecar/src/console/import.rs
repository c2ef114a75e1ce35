//! Many decisions at once: pasted or from a file, a line each. All lines are read before any counts:
//! one fault, and nothing is imported.

use maud::{Markup, html};
use reputation::decision::is_very_wide;
use reputation::{Cidr, DecisionKind};

use super::decisions::{DURATIONS, KINDS, options};
use super::form::Form;
use super::page::{Here, Notice, Page, csrf};
use super::{Answer, Done, Visit, look};
use crate::api::admin::body as read;
use crate::api::problem::Problem;
use crate::intelligence::NewDecision;
use crate::strangers::plain;
use crate::telemetry::chain;
use hyper::StatusCode;

/// What a line says if it says nothing itself.
#[derive(Debug, Clone)]
pub struct Defaults {
    kind: DecisionKind,
    duration: String,
    reason: String,
    author: String,
}

/// Why nothing is imported.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults {
    /// The first of them: line, what stands there, what is wrong with it.
    first: Vec<(usize, String, String)>,
    faulty: usize,
    lines: usize,
}

/// The largest form, in bytes, with a file and its frame.
pub const LARGEST: usize = 16 * 1024 * 1024;
/// How many decisions are taken at once.
const MOST: usize = 50_000;
const SHOWN: usize = 20;
/// What is pasted is given back to be mended, unless it is very long.
const GIVEN_BACK: usize = 256 * 1024;
const SHOWN_CHARACTERS: usize = 60;

pub fn page(visit: &Visit<'_>) -> Page {
    blank(visit, "", &Form::default(), None)
}

/// `POST /import`
pub async fn import(visit: &Visit<'_>, form: Form) -> Result<Answer, Problem> {
    let kind = read::kind(form.get("kind"))?;
    read::duration(form.given("for"))?;
    let defaults = Defaults {
        kind,
        duration: form.get("for").to_owned(),
        reason: form.get("reason").to_owned(),
        author: visit.viewer.name.clone(),
    };
    let text = format!("{}\n{}", form.get("lines"), form.get("file"));
    // A million lines take a while, which others need not wait for.
    let reading = tokio::task::spawn_blocking(move || read_lines(&text, &defaults));
    let read = reading.await.map_err(|error| {
        tracing::error!(%error, "an import was not read");
        Problem::new(crate::api::problem::Kind::Internal)
    })?;
    let refused = |wrong: Markup| {
        let kept = Some(form.get("lines")).filter(|lines| lines.len() <= GIVEN_BACK);
        let mut page = blank(visit, kept.unwrap_or_default(), &form, Some(wrong));
        page.status = StatusCode::UNPROCESSABLE_ENTITY;
        Ok(Answer::Page(page))
    };
    let new = match taken(read) {
        Ok(new) => new,
        Err(wrong) => return refused(wrong),
    };
    let imported = visit.console.orders.import(&visit.operator, new).await;
    let count = look::count(imported.count);
    let notice = match imported.fault {
        None => Notice::good(format!("{count} decisions are imported.")),
        Some(error) if imported.count == 0 => return Err(error.into()),
        Some(error) => Notice::bad(format!(
            "{count} decisions are imported, the rest is not: {}.",
            chain(&error)
        )),
    };
    let to = "/decisions".to_owned();
    Ok(Answer::Go(Done { notice, to }))
}

/// What is imported, or what to show in its place.
fn taken(read: Result<Vec<NewDecision>, Faults>) -> Result<Vec<NewDecision>, Markup> {
    let new = read.map_err(|faults| faults.shown())?;
    let why = match new.len() {
        0 => "There is no line with an address.".to_owned(),
        1..=MOST => return Ok(new),
        many => format!(
            "{} decisions are given, and at most {} are taken at once. Nothing was imported.",
            look::count(many),
            look::count(MOST)
        ),
    };
    Err(html! { (Notice::bad(why)) })
}

/// Every line as a decision, or what is wrong with those that are none.
pub fn read_lines(text: &str, defaults: &Defaults) -> Result<Vec<NewDecision>, Faults> {
    let (mut new, mut first, mut faulty, mut lines) = (Vec::new(), Vec::new(), 0, 0);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        lines += 1;
        match decision(line, defaults) {
            // What comes after a fault is read for its faults only.
            Ok(decision) if faulty == 0 => new.push(decision),
            Ok(_) => {}
            Err(why) => {
                faulty += 1;
                new.clear();
                if first.len() < SHOWN {
                    first.push((number, plain(line, SHOWN_CHARACTERS), why));
                }
            }
        }
    }
    if faulty == 0 {
        return Ok(new);
    }
    Err(Faults {
        first,
        faulty,
        lines,
    })
}

/// `ADDRESS[, KIND[, DURATION[, REASON]]]`
fn decision(line: &str, defaults: &Defaults) -> Result<NewDecision, String> {
    let mut fields = line.splitn(4, ',').map(str::trim);
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let said = |problem: Problem| problem.detail_text().unwrap_or_default().to_owned();
    let address = next().unwrap_or_default();
    let cidr = address.parse::<Cidr>().map_err(|error| error.to_string())?;
    if is_very_wide(cidr) {
        return Err("is very wide: decide about it by itself".to_owned());
    }
    let kind = next().map(read::kind).transpose().map_err(said)?;
    let duration = next().or(Some(defaults.duration.as_str()).filter(|text| !text.is_empty()));
    let duration = duration.filter(|text| *text != "forever");
    Ok(NewDecision {
        cidr,
        kind: kind.unwrap_or(defaults.kind),
        ttl: read::duration(duration).map_err(said)?,
        reason: next().unwrap_or(&defaults.reason).to_owned(),
        author: defaults.author.clone(),
        force: false,
    })
}

fn blank(visit: &Visit<'_>, lines: &str, form: &Form, wrong: Option<Markup>) -> Page {
    let body = html! {
        h1 { "Import decisions" }
        @if let Some(wrong) = wrong { (wrong) }
        form .card .grid method="post" action="/import" enctype="multipart/form-data" {
            (csrf(&visit.viewer))
            p .wide {
                label for="lines" { "Lines" }
                textarea #lines name="lines" rows="10" spellcheck="false" aria-describedby="lines-hint" {
                    // A browser drops the first line's end.
                    "\n" (lines)
                }
                span #lines-hint .hint {
                    "An address or prefix each, such as " code { "203.0.113.7" } ", and if it shall differ from "
                    "below: " code { "203.0.113.0/24, throttle, 24h, reason" } ". " code { "forever" }
                    " is a duration too. Lines that begin with # are skipped."
                }
            }
            p .wide {
                label for="file" { "Or a file of such lines" }
                input #file type="file" name="file" accept=".txt,.csv,text/plain,text/csv";
            }
            (for_all(form))
            p .wide { button .primary type="submit" { "Import" } }
        }
        p .hint {
            "At most " (look::count(MOST)) " decisions at once. If one line is faulty, nothing is imported."
        }
    };
    Page::new("Import decisions", Here::Decisions, body)
}

/// What a line does not say itself.
fn for_all(form: &Form) -> Markup {
    html! {
        p {
            label for="kind" { "What to do" }
            select #kind name="kind" { (options(&KINDS, form.get("kind"))) }
        }
        p {
            label for="for" { "For how long" }
            select #for name="for" { (options(&DURATIONS, form.get("for"))) }
        }
        p .wide {
            label for="reason" { "Reason" }
            input #reason type="text" name="reason" maxlength="200" value=(form.get("reason"));
        }
    }
}

impl Faults {
    fn shown(&self) -> Markup {
        let rows = self.first.iter().map(|(number, line, why)| {
            vec![
                html! { (number) },
                html! { code { (line) } },
                html! { (why) },
            ]
        });
        let (faulty, lines) = (look::count(self.faulty), look::count(self.lines));
        let verb = if self.faulty == 1 { "is" } else { "are" };
        let caption = match self.faulty > self.first.len() {
            true => format!("The first {} of {faulty} faulty lines", self.first.len()),
            false => "Faulty lines".to_owned(),
        };
        html! {
            (Notice::bad(format!(
                "{faulty} of {lines} lines {verb} faulty. Nothing was imported."
            )))
            (look::table(&caption, &["Line", "What stands there", "What is wrong"], rows.collect()))
        }
    }
}
