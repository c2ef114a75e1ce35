//! Lists and providers: how old, how much, what went wrong; a held list is let in here.

use maud::{Markup, html};
use reputation::UnixSeconds;

use super::form::Form;
use super::page::{Here, Notice, Page, csrf};
use super::{Answer, Done, Visit, look};
use crate::api::problem::{Kind, Problem};
use crate::config::Say;
use crate::intelligence::{DatabaseStatus, FeedStatus, ProviderStatus, ReleaseError};

pub fn page(visit: &Visit<'_>) -> Page {
    let intelligence = &visit.console.intelligence;
    let now = visit.console.clock.now();
    let (feeds, providers) = (intelligence.feeds(), intelligence.providers());
    let body = html! {
        h1 { "Sources" }
        section aria-labelledby="feeds" {
            h2 #feeds { "Lists" }
            @if feeds.is_empty() {
                p { "No list is configured." }
            } @else {
                (feed_table(visit, &feeds))
            }
        }
        section aria-labelledby="providers" {
            h2 #providers { "Providers" }
            @if providers.is_empty() {
                p { "No provider is configured." }
            } @else {
                (provider_table(&providers, now))
            }
        }
        @let databases = intelligence.databases();
        @if !databases.is_empty() {
            section aria-labelledby="databases" {
                h2 #databases { "Databases" }
                (database_table(&databases, now))
            }
        }
    };
    Page::new("Sources", Here::Sources, body)
}

/// `/release`
pub async fn release(visit: &Visit<'_>, form: &Form) -> Result<Answer, Problem> {
    let name = form.get("feed");
    let released = visit.console.orders.release(&visit.operator, name).await;
    released.map_err(|error| {
        let kind = match error {
            ReleaseError::Unknown(_) => Kind::NotFound,
            ReleaseError::NotHeld(_) => Kind::Conflict,
        };
        Problem::new(kind).detail(error.to_string())
    })?;
    Ok(Answer::Go(Done {
        notice: Notice::good(format!("{name}: its newest version is in force.")),
        to: "/sources".to_owned(),
    }))
}

fn feed_table(visit: &Visit<'_>, feeds: &[FeedStatus]) -> Markup {
    let row = |feed: &FeedStatus| {
        vec![
            html! { strong { (feed.name) } " " span .quiet { (feed.role) } },
            html! { code { (feed.source) } },
            html! {
                (look::count(feed.entries))
                @if feed.skipped > 0 { ", " (look::count(feed.skipped)) " unreadable" }
                @if feed.in_shadow > 0 { ", " (look::count(feed.in_shadow)) " in shadow" }
            },
            html! { @match feed.age_s { Some(age) => (look::span(age)), None => "–" } },
            feed_state(visit, feed),
        ]
    };
    let columns = ["List", "From", "Entries", "Age", "State"];
    look::table(
        "Lists in the order of the configuration",
        &columns,
        feeds.iter().map(row).collect(),
    )
}

fn feed_state(visit: &Visit<'_>, feed: &FeedStatus) -> Markup {
    let now = visit.console.clock.now();
    html! {
        @if let Some(until) = feed.trial_until.filter(|_| !feed.held) {
            p { span .badge .tag { "on trial" } " what its new version adds, ending " (look::moment(until, now)) }
            (release_form(visit, feed))
        }
        @if feed.held {
            p { span .badge .tag { "held" } " " (feed.held_because.as_deref().unwrap_or_default()) }
            (release_form(visit, feed))
        }
        @match &feed.last_error {
            Some(error) => { span .badge .deny { "failed" } " " (error) }
            None if feed.held => {}
            None => span .badge .allow { "good" },
        }
    }
}

fn release_form(visit: &Visit<'_>, feed: &FeedStatus) -> Markup {
    html! {
        form method="post" action="/release" {
            (csrf(&visit.viewer))
            input type="hidden" name="feed" value=(feed.name);
            button .small type="submit" aria-label={ "Release " (feed.name) } { "Release" }
        }
    }
}

fn database_table(databases: &[DatabaseStatus], now: UnixSeconds) -> Markup {
    let row = |database: &DatabaseStatus| {
        let in_force = database.in_force.as_ref();
        vec![
            html! { strong { (database.name) } (say(database.enforce_percent)) },
            html! { (in_force.map_or("–", |it| it.database_type.as_str())) },
            html! { @match in_force { Some(it) => (look::moment(it.built, now)), None => "none" } },
            html! {
                @match &database.last_error {
                    Some(error) => { span .badge .deny { "failed" } " " (error) }
                    None => span .badge .allow { "good" },
                }
            },
        ]
    };
    let columns = ["Database", "Type", "Built", "State"];
    look::table(
        "Databases on disk",
        &columns,
        databases.iter().map(row).collect(),
    )
}

/// How far a source has a say, if that is not everywhere.
fn say(say: Say) -> Markup {
    html! { @if let Some(words) = say.in_words() { " " span .quiet { (words) } } }
}

fn provider_table(providers: &[ProviderStatus], now: UnixSeconds) -> Markup {
    let row = |provider: &ProviderStatus| {
        let class = if provider.available { "allow" } else { "deny" };
        vec![
            html! { strong { (provider.name) } (say(provider.enforce_percent)) },
            html! {
                span .badge .(class) { (provider.state()) }
                @if let Some(until) = provider.closed_until { " " (look::moment(until, now)) }
            },
            html! { (provider.remaining) " of " (provider.daily_quota) },
            html! { (provider.released) " now, " (provider.reserved) " for suspicious ones" },
            html! { @match provider.last_success { Some(at) => (look::moment(at, now)), None => "never" } },
            html! { (provider.last_error.as_deref().unwrap_or("–")) },
        ]
    };
    let columns = [
        "Provider",
        "State",
        "Left today",
        "Released",
        "Last answer",
        "Last error",
    ];
    look::table(
        "Providers and their quotas",
        &columns,
        providers.iter().map(row).collect(),
    )
}
