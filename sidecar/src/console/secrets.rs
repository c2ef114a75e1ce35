//! Secrets by name, and when they expire. Their values are nowhere near.

use maud::html;

use super::page::{Here, Page};
use super::{Visit, look};
use crate::secrets::SecretStatus;

pub fn page(visit: &Visit<'_>) -> Page {
    let now = visit.console.clock.now();
    let secrets = visit.console.intelligence.secrets().statuses();
    let row = |secret: &SecretStatus| {
        let good = secret.available && secret.problem.is_none() && !secret.refused;
        let class = if good { "allow" } else { "deny" };
        vec![
            html! { strong { (secret.name) } },
            html! { code { (secret.origin) } },
            html! { (secret.version.as_deref().unwrap_or("–")) },
            html! { @match secret.since { Some(at) => (look::moment(at, now)), None => "–" } },
            html! { (secret.expiry().as_deref().unwrap_or("nobody says")) },
            html! { span .badge .(class) { (if good { "good" } else { "look" }) } " " (secret.state()) },
        ]
    };
    let columns = [
        "Secret",
        "From",
        "Version",
        "First seen",
        "Expires",
        "State",
    ];
    let body = html! {
        h1 { "Secrets" }
        @if secrets.is_empty() {
            p { "No secret is configured." }
        } @else {
            (look::table("Secrets; values are never shown", &columns, secrets.iter().map(row).collect()))
        }
    };
    Page::new("Secrets", Here::Secrets, body)
}
