//! How single values look on a page: times, actions, kinds, tables.

use maud::{Markup, html};
use reputation::decision::Origin;
use reputation::{Action, Decision, DecisionKind, UnixSeconds};

use crate::cli::output::time;

/// A badge: its word says what its colour says.
pub fn action(action: Action) -> Markup {
    let (class, word) = match action {
        Action::Deny => ("deny", "refused"),
        Action::Throttle => ("throttle", "throttled"),
        Action::Tag => ("tag", "tagged"),
        Action::Allow => ("allow", "passes"),
    };
    html! { span .badge .(class) { (word) } }
}

pub fn kind(kind: DecisionKind) -> Markup {
    let (class, word) = match kind {
        DecisionKind::Ban => ("deny", "ban"),
        DecisionKind::Throttle => ("throttle", "throttle"),
        DecisionKind::Allow => ("allow", "allow"),
    };
    html! { span .badge .(class) { (word) } }
}

/// A moment, and how far it is from now.
pub fn moment(at: UnixSeconds, now: UnixSeconds) -> Markup {
    let exact = time(at);
    let relative = if at > now {
        format!("in {}", span(now.until(at)))
    } else {
        format!("{} ago", span(at.until(now)))
    };
    html! { time datetime=(exact) title=(exact) { (relative) } }
}

pub fn ends(decision: &Decision, now: UnixSeconds) -> Markup {
    match decision.expires {
        Some(at) => moment(at, now),
        None => html! { "when taken back" },
    }
}

pub fn by(decision: &Decision) -> String {
    match &decision.origin {
        Origin::Operator => decision.author.clone(),
        Origin::Source(name) => format!("{name} {}", decision.author).trim_end().to_owned(),
    }
}

/// A span of time in its largest unit: people compare, they do not subtract.
pub fn span(seconds: u32) -> String {
    match seconds {
        0..=89 => format!("{seconds} s"),
        90..=5399 => format!("{} min", rounded(seconds, 60)),
        5400..=129_599 => format!("{} h", rounded(seconds, 3600)),
        _ => format!("{} d", rounded(seconds, 86_400)),
    }
}

fn rounded(seconds: u32, unit: u32) -> u32 {
    seconds.saturating_add(unit / 2) / unit
}

/// A count with its thousands apart.
pub fn count(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A table that turns into a list of cards on a phone: each cell carries its column's title, and the
/// roles are said aloud because that change of display takes them away. `rows` are cells in the order of
/// the columns.
pub fn table(caption: &str, columns: &[&str], rows: Vec<Vec<Markup>>) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for column in columns { th scope="col" role="columnheader" { (column) } }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (cell, column) in row.into_iter().zip(columns) {
                            td role="cell" data-label=(column) { (cell) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_counts_read_easily() {
        for (seconds, text) in [
            (0, "0 s"),
            (89, "89 s"),
            (90, "2 min"),
            (86_399, "24 h"),
            (7200, "2 h"),
            (200_000, "2 d"),
        ] {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }
}
