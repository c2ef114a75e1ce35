//! The audit trail: who ordered what, when, from where.

use maud::html;

use super::page::{Here, Page};
use super::{Visit, look};

pub fn page(visit: &Visit<'_>) -> Page {
    let now = visit.console.clock.now();
    let trail = visit.console.orders.trail();
    let rows = trail.iter().map(|entry| {
        let operator = &entry.operator;
        vec![
            html! { (entry.number) },
            look::moment(entry.at, now),
            html! { (operator.name) },
            html! { (entry.act.sentence()) },
            html! { (operator.by) },
            html! { (operator.from) },
            html! { code { (operator.request_id) } },
        ]
    });
    let columns = ["Order", "When", "Who", "What", "By", "From", "Request"];
    let body = html! {
        h1 { "Trail" }
        p .hint {
            "The last 500 orders that came to this sidecar, by whichever way. Its log has all of "
            "them, under the message " code { "order" } "."
        }
        @if trail.is_empty() {
            p { "Nothing was ordered yet." }
        } @else {
            (look::table("Orders, the newest first", &columns, rows.collect()))
        }
    };
    Page::new("Trail", Here::Trail, body)
}
