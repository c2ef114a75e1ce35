//! What happens now: how much is refused, in which mode, and how the proxies are.

use maud::{Markup, html};
use reputation::UnixSeconds;
use reputation::mode::ModeOverride;

use super::chart::{Bars, bars};
use super::form::Form;
use super::page::{Here, Notice, Page, csrf};
use super::{Answer, Done, Visit, blocked, look};
use crate::api::admin::body as read;
use crate::api::problem::{Kind, Problem};
use crate::intelligence::ModeError;
use crate::proxies::{Counts, Figure, MINUTES, Minute, ProxyStatus};
use crate::telemetry::chain;

const SECONDS: u32 = 60;
const DURATIONS: [(&str, &str); 5] = [
    ("15m", "15 minutes"),
    ("1h", "1 hour"),
    ("8h", "8 hours"),
    ("24h", "24 hours"),
    ("", "until it is taken back"),
];
/// What is counted of requests, with its words.
const ACTIONS: [(Figure, &str); 8] = [
    (Figure::Allowed, "passed"),
    (Figure::Tagged, "passed with a tag"),
    (Figure::Throttled, "throttled"),
    (Figure::Denied, "refused"),
    (Figure::WouldTag, "would be tagged (monitor)"),
    (Figure::WouldThrottle, "would be throttled (monitor)"),
    (Figure::WouldDeny, "would be refused (monitor)"),
    (Figure::Failures, "without a verdict, by a failure of ours"),
];

pub fn page(visit: &Visit<'_>) -> Page {
    let now = visit.console.clock.now();
    let (proxies, minutes) = (
        visit.console.proxies.statuses(),
        visit.console.proxies.minutes(),
    );
    let body = html! {
        h1 { "Now" }
        (mode(visit, now))
        (blocked::section(visit, now))
        @if proxies.is_empty() {
            section .card aria-labelledby="figures" {
                h2 #figures { "Requests" }
                p {
                    "No proxy is configured here to read figures from. Name the statistics listeners: "
                    code { "[envoy] stats = [\"HOST:10002\"]" } "."
                }
            }
        } @else {
            (figures(&minutes, now))
            (proxy_table(&proxies, now))
        }
        (snapshot(visit, now))
    };
    Page::new("Now", Here::Now, body)
}

/// `/mode` and `/mode/clear`
pub async fn set_mode(visit: &Visit<'_>, path: &str, form: &Form) -> Result<Answer, Problem> {
    let (orders, operator) = (&visit.console.orders, &visit.operator);
    let route = form.given("route");
    let (outcome, done) = if path == "/mode/clear" {
        let cleared = orders.clear_modes(operator, route).await;
        (cleared, "The mode is taken back.".to_owned())
    } else {
        let mode = read::mode(form.get("mode"))?;
        let ttl = read::duration(form.given("for"))?;
        let set = orders
            .set_mode(operator, mode, route.map(str::to_owned), ttl)
            .await;
        (set, format!("Mode {} is set.", mode.name()))
    };
    let notice = match outcome {
        Ok(()) => Notice::good(done),
        Err(error @ ModeError::NotKept(_)) => {
            tracing::error!(error = chain(&error), "a mode is not kept");
            Notice::bad(format!("{done} But {}", chain(&error)))
        }
        Err(error) => return Err(Problem::new(Kind::FaultyValue).detail(error.to_string())),
    };
    let to = "/".to_owned();
    Ok(Answer::Go(Done { notice, to }))
}

fn mode(visit: &Visit<'_>, now: UnixSeconds) -> Markup {
    let modes = visit.console.intelligence.modes();
    html! {
        section .card aria-labelledby="mode" {
            h2 #mode { "Mode" }
            @if modes.is_empty() {
                p { "No mode is set here: each proxy follows its own configuration." }
            }
            @for mode in &modes { (standing(visit, mode, now)) }
            form .row method="post" action="/mode" {
                (csrf(&visit.viewer))
                p {
                    label for="route" { "Route" }
                    input #route type="text" name="route" maxlength="256" placeholder="every route"
                        autocomplete="off" autocapitalize="off" spellcheck="false";
                }
                p {
                    label for="for" { "For how long" }
                    select #for name="for" {
                        @for (value, name) in DURATIONS {
                            option value=(value) selected[value == "1h"] { (name) }
                        }
                    }
                }
                div .buttons role="group" aria-label="Set the mode" {
                    button type="submit" name="mode" value="off" { "Off" }
                    button type="submit" name="mode" value="monitor" { "Monitor" }
                    button type="submit" name="mode" value="enforce" { "Enforce" }
                }
            }
            p .hint {
                "Off does nothing, monitor counts and lets pass, enforce refuses. Where a proxy's own "
                "configuration is more permissive, that one counts."
            }
        }
    }
}

fn standing(visit: &Visit<'_>, mode: &ModeOverride, now: UnixSeconds) -> Markup {
    let route = mode.route.as_deref();
    html! {
        form .row method="post" action="/mode/clear" {
            (csrf(&visit.viewer))
            @if let Some(route) = route { input type="hidden" name="route" value=(route); }
            span {
                span .badge .tag { (mode.mode.name()) } " for "
                @match route { Some(route) => code { (route) }, None => "every route" }
                ", "
                @match mode.until { Some(at) => { "ends " (look::moment(at, now)) }, None => "until it is taken back" }
            }
            button .small type="submit" {
                @if route.is_some() { "Take back" } @else { "Take back all modes" }
            }
        }
    }
}

fn figures(minutes: &[Minute], now: UnixSeconds) -> Markup {
    let this = now.0 - now.0 % SECONDS;
    // The minute that is not over yet would look like a fall.
    let last = this.saturating_sub(SECONDS);
    let counts_at = |at: u32| minutes.iter().find(|minute| minute.at == at);
    let latest = counts_at(last)
        .map(|minute| minute.counts)
        .unwrap_or_default();
    let mut hour = Counts::default();
    minutes.iter().for_each(|minute| hour.add(&minute.counts));
    let figure = |name: &str, count: u64| {
        html! {
            div .card { p .figure { (look::count(count)) } p .quiet { (name) } }
        }
    };
    html! {
        section aria-labelledby="figures" {
            h2 #figures { "Requests in the last full minute" }
            div .cards {
                (figure("requests", latest.get(Figure::Requests)))
                (figure("refused", latest.get(Figure::Denied)))
                (figure("would be refused (monitor)", latest.get(Figure::WouldDeny)))
                (figure("answered with 5xx", latest.get(Figure::Errors)))
            }
            h2 { "Refused per minute" }
            div .card { (refused(minutes, this)) }
            (by_action(&latest, &hour))
        }
    }
}

/// The last hour before the minute `this`.
fn refused(minutes: &[Minute], this: u32) -> Markup {
    let series = (1..=MINUTES).rev().map(|back| {
        let at = this.saturating_sub(back * SECONDS);
        let counts = minutes.iter().find(|minute| minute.at == at);
        counts.map_or(0, |minute| {
            minute.counts.get(Figure::Denied) + minute.counts.get(Figure::WouldDeny)
        })
    });
    bars(&Bars {
        what: "Refused, and in monitor would be refused, per minute over the last hour",
        values: series.collect(),
        marks: Vec::new(),
        from: "an hour ago",
        to: "now",
    })
}

fn by_action(latest: &Counts, hour: &Counts) -> Markup {
    let rows = ACTIONS.map(|(what, name)| {
        vec![
            html! { (name) },
            html! { (look::count(latest.get(what))) },
            html! { (look::count(hour.get(what))) },
        ]
    });
    look::table(
        "Requests by what was done",
        &["What was done", "Last full minute", "Last hour"],
        rows.into(),
    )
}

fn proxy_table(proxies: &[ProxyStatus], now: UnixSeconds) -> Markup {
    let row = |proxy: &ProxyStatus| {
        let seen = proxy.seen_at.map(UnixSeconds);
        let built = Some(proxy.holds.snapshot_built).filter(|built| *built > 0);
        let built = built.map(UnixSeconds::from_secs);
        vec![
            html! { code { (proxy.url) } },
            html! { @match seen { Some(at) => (look::moment(at, now)), None => "never" } },
            html! { @match built { Some(at) => (look::moment(at, now)), None => "none yet" } },
            html! { (proxy.holds.vms) },
            html! {
                @match &proxy.fault {
                    Some(fault) => { span .badge .deny { "away" } " " (fault) }
                    None => span .badge .allow { "answers" },
                }
            },
        ]
    };
    let columns = ["Proxy", "Read", "Its snapshot was built", "VMs", "State"];
    html! {
        section aria-labelledby="proxies" {
            h2 #proxies { "Proxies" }
            (look::table("Proxies", &columns, proxies.iter().map(row).collect()))
        }
    }
}

fn snapshot(visit: &Visit<'_>, now: UnixSeconds) -> Markup {
    let published = visit.console.intelligence.snapshots().borrow().clone();
    html! {
        @if let Some(published) = published {
            p .hint {
                "The snapshot of this sidecar: version " code { (published.manifest.version) }
                ", built " (look::moment(published.manifest.built_at, now)) "."
            }
        }
    }
}
