//! `blocked`: whom proxies refuse or slow down, as they report it.

use reputation::Action;
use reputation::mode::Mode;

use super::CliError;
use super::output::{count, table, time};
use super::session::Session;
use crate::refusals::{Blocked, BlockedClient};

pub async fn list(session: &Session, most: usize) -> Result<String, CliError> {
    session
        .show(&format!("/v1/blocked?most={most}"), |blocked: Blocked| {
            rows(&blocked)
        })
        .await
}

fn rows(blocked: &Blocked) -> String {
    let mut text = match blocked.clients.as_slice() {
        [] => "no proxy has reported a blocked client in the last hour\n".to_owned(),
        clients => {
            let titles = [
                "CLIENT",
                "LAST 5 MIN",
                "LAST HOUR",
                "DONE",
                "WHY",
                "SINCE",
                "LAST",
            ];
            table(titles, clients.iter().map(row).collect())
        }
    };
    if blocked.more > 0 {
        text.push_str(&format!("and {}\n", count(blocked.more, "more client")));
    }
    if blocked.left_out > 0 {
        let requests = count(
            usize::try_from(blocked.left_out).unwrap_or(usize::MAX),
            "request",
        );
        text.push_str(&format!("and {requests} of clients that are not named\n"));
    }
    text
}

fn row(client: &BlockedClient) -> [String; 7] {
    [
        client.client.to_string(),
        client.last_5_minutes.to_string(),
        client.last_hour.to_string(),
        done(client).to_owned(),
        client.reason.clone(),
        time(client.since),
        time(client.last),
    ]
}

fn done(client: &BlockedClient) -> &'static str {
    match (client.mode, client.action) {
        (Mode::Enforce, Action::Throttle) => "throttled",
        (Mode::Enforce, _) => "refused",
        (_, Action::Throttle) => "would be throttled",
        (_, _) => "would be refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_a_line_and_what_is_missing_is_said() {
        let client = serde_json::json!({
            "client": "203.0.113.7", "action": "deny", "mode": "monitor", "reason": "ipsum",
            "decision": "0d8a70cfa95060ac", "last_5_minutes": 3, "last_hour": 40,
            "since": 1_795_000_000, "last": 1_795_000_100,
        });
        let blocked = serde_json::json!({
            "clients": [client], "more": 2, "left_out": 1, "reported_at": 1_795_000_100,
        });
        let text = rows(&serde_json::from_value(blocked).unwrap());
        let lines: Vec<_> = text.lines().collect();
        let words: Vec<_> = lines[1].split_whitespace().collect();
        let expected = [
            "203.0.113.7",
            "3",
            "40",
            "would",
            "be",
            "refused",
            "ipsum",
            "2026-11-18T11:06:40Z",
            "2026-11-18T11:08:20Z",
        ];
        assert_eq!(words, expected);
        assert_eq!(lines[2], "and 2 more clients");
        assert_eq!(lines[3], "and 1 request of clients that are not named");
    }
}
