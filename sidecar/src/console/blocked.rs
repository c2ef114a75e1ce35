//! Who is being blocked, as the proxies report it: on the first page all of them, on an address's page that
//! one over the last hour.

use maud::{Markup, html};
use reputation::mode::Mode;
use reputation::{Action, Cidr, ClientAddress, UnixSeconds};

use super::address::path_of;
use super::chart::{Bars, bars};
use super::{Visit, look};
use crate::refusals::BlockedClient;

/// More are on the command line.
const SHOWN: usize = 20;

pub fn section(visit: &Visit<'_>, now: UnixSeconds) -> Markup {
    let blocked = visit.console.refusals.blocked(SHOWN);
    html! {
        section aria-labelledby="blocked" {
            h2 #blocked { "Who is being blocked" }
            @if blocked.clients.is_empty() {
                p { "No proxy has reported a blocked client in the last hour." }
            } @else {
                (table(&blocked.clients, now))
            }
            @if blocked.more > 0 || blocked.left_out > 0 {
                p .hint {
                    @if blocked.more > 0 {
                        (look::count(blocked.more)) " more: " code { "portcullis blocked --most 2000" } ". "
                    }
                    @if blocked.left_out > 0 {
                        (look::count(blocked.left_out))
                        " requests of the last hour came from more clients than proxies can name."
                    }
                }
            }
        }
    }
}

/// Nothing where no proxy has reported the client.
pub fn last_hour(visit: &Visit<'_>, client: ClientAddress) -> Markup {
    let minutes = visit.console.refusals.minutes_of(client);
    html! {
        @if let Some(values) = minutes {
            section aria-labelledby="hour" {
                h2 #hour { "Its blocked requests" }
                div .card {
                    (bars(&Bars {
                        what: "Blocked, and in monitor would be blocked, per minute over the last hour",
                        values,
                        marks: Vec::new(),
                        from: "an hour ago",
                        to: "now",
                    }))
                }
            }
        }
    }
}

fn table(clients: &[BlockedClient], now: UnixSeconds) -> Markup {
    let columns = [
        "Address",
        "Last 5 min",
        "Last hour",
        "Done",
        "Why",
        "Since",
        "Last",
    ];
    let row = |it: &BlockedClient| {
        vec![
            html! { a href=(path_of(Cidr::host(it.client))) { code { (it.client) } } },
            html! { (look::count(it.last_5_minutes)) },
            html! { (look::count(it.last_hour)) },
            done(it),
            html! { (it.reason) },
            look::moment(it.since, now),
            look::moment(it.last, now),
        ]
    };
    look::table(
        "Blocked clients and their requests, the busiest first",
        &columns,
        clients.iter().map(row).collect(),
    )
}

fn done(client: &BlockedClient) -> Markup {
    match (client.mode, client.action) {
        (Mode::Enforce, action) => look::action(action),
        (_, Action::Throttle) => html! { span .badge .tag { "would be throttled" } },
        (_, _) => html! { span .badge .tag { "would be refused" } },
    }
}
