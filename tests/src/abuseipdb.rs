//! A stand-in for AbuseIPDB's API v2, with the answers that its documentation shows. Tests say what it
//! knows, how slow it is and how it fails; it counts what it is asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::error::KitError;
use crate::serve::{Answer, Asked, Server};

/// The calls a day that it tells of.
const FREE_PLAN: usize = 1000;
/// The key it accepts.
pub const KEY: &str = "stand-in-key";

pub struct AbuseIpDb {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    scores: HashMap<String, u8>,
    delay: Duration,
    failure: Option<Answer>,
    asked: Vec<String>,
    requests: Vec<Asked>,
    /// The keys it accepts, if not just [`KEY`].
    keys: Option<Vec<String>>,
    refused: usize,
    /// The calls a day that it tells of, if not [`FREE_PLAN`].
    daily: Option<usize>,
}

impl AbuseIpDb {
    pub async fn start() -> Result<Self, KitError> {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server = Server::start(0, move |asked| {
            let shared = Arc::clone(&shared);
            async move {
                let (delay, answer) = with(&shared, |state| (state.delay, state.answer(&asked)));
                tokio::time::sleep(delay).await;
                answer
            }
        });
        Ok(Self {
            server: server.await?,
            state,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The `[[provider]]` and `[secret]` sections that point a sidecar here.
    pub fn toml(&self) -> String {
        format!(
            "[[provider]]\nkind = \"abuseipdb\"\nbase_url = \"http://{}/api/v2/\"\nkey = \"secret:abuseipdb\"\n\
             weight = 1.0\ntimeout = \"2s\"\n[secret.abuseipdb]\nfrom = \"env\"\nname = \"ABUSEIPDB_KEY\"\n",
            self.address()
        )
    }

    /// What it says of `address`; all others have no reports.
    pub fn knows(&self, address: &str, score: u8) {
        with(&self.state, |state| {
            state.scores.insert(address.to_owned(), score)
        });
    }

    /// The keys that it accepts from now on.
    pub fn accepts(&self, keys: &[&str]) {
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        with(&self.state, |state| state.keys = Some(keys));
    }

    /// The calls a day that it tells of from now on.
    pub fn grants(&self, daily: usize) {
        with(&self.state, |state| state.daily = Some(daily));
    }

    /// How many questions came with a key that it does not accept.
    pub fn refused(&self) -> usize {
        with(&self.state, |state| state.refused)
    }

    /// Every answer takes this long from now on.
    pub fn delay(&self, delay: Duration) {
        with(&self.state, |state| state.delay = delay);
    }

    /// Every answer is this one from now on.
    pub fn fail_with(&self, answer: Option<Answer>) {
        with(&self.state, |state| state.failure = answer);
    }

    /// The requests with which it was asked, in order.
    pub fn requests(&self) -> Vec<Asked> {
        with(&self.state, |state| state.requests.clone())
    }

    /// The addresses that it was asked about, in order.
    pub fn asked(&self) -> Vec<String> {
        with(&self.state, |state| state.asked.clone())
    }
}

impl State {
    fn accepts(&self, key: Option<&str>) -> bool {
        match &self.keys {
            Some(keys) => key.is_some_and(|key| keys.iter().any(|it| it == key)),
            None => key == Some(KEY),
        }
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        let Some(address) = asked.query("ipAddress") else {
            return error(422, "The ip address field is required.");
        };
        self.asked.push(address.clone());
        self.requests.push(asked.clone());
        if !self.accepts(asked.header("key")) {
            self.refused += 1;
            return error(
                401,
                "Authentication failed. Your API key is either missing, incorrect, or revoked.",
            );
        }
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        let score = self.scores.get(&address).copied().unwrap_or(0);
        let daily = self.daily.unwrap_or(FREE_PLAN);
        let left = daily.saturating_sub(self.asked.len());
        check_answer(&address, score)
            .with_header("X-RateLimit-Limit", &daily.to_string())
            .with_header("X-RateLimit-Remaining", &left.to_string())
    }
}

fn check_answer(address: &str, score: u8) -> Answer {
    let reports = u32::from(score) / 10;
    Answer::json(&json!({"data": {
        "ipAddress": address,
        "isPublic": true,
        "ipVersion": if address.contains(':') { 6 } else { 4 },
        "isWhitelisted": false,
        "abuseConfidenceScore": score,
        "countryCode": "DE",
        "usageType": "Data Center/Web Hosting/Transit",
        "isp": "Example",
        "domain": "example.net",
        "hostnames": [],
        "isTor": false,
        "totalReports": reports,
        "numDistinctUsers": reports,
        "lastReportedAt": if reports > 0 { json!("2026-11-20T20:55:14+00:00") } else { json!(null) },
    }}))
}

fn error(status: u16, detail: &str) -> Answer {
    Answer::json(&json!({"errors": [{"detail": detail, "status": status}]})).with_status(status)
}

fn with<R>(state: &Mutex<State>, act: impl FnOnce(&mut State) -> R) -> R {
    act(&mut state.lock().unwrap_or_else(PoisonError::into_inner))
}
