//! A load of strangers while something behind the sidecar fails: none may fail or wait for it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kit::{Connection, Request};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// How long a request waits for an unknown client's verdict.
const HOLD: Duration = Duration::from_millis(200);
/// What a busy machine adds.
pub const SLACK: Duration = Duration::from_millis(400);

/// The plugin's configuration by which it waits so long.
pub fn held() -> Value {
    json!({"unknown": "hold", "hold_ms": 200})
}

/// Requests of strangers, each held for a verdict, until it is told to end.
pub struct Load {
    task: JoinHandle<Vec<(u16, Duration)>>,
    end: tokio::sync::watch::Sender<bool>,
}

impl Load {
    pub fn on(edge: SocketAddr) -> Self {
        let (end, mut ended) = tokio::sync::watch::channel(false);
        let task = tokio::spawn(async move {
            let mut answers = Vec::new();
            let mut connection = Connection::open(edge).await.unwrap();
            for host in 0_u32.. {
                let client = format!("11.{}.{}.{}", host >> 16, (host >> 8) & 255, host & 255);
                let begun = Instant::now();
                let request = Request::get("/").from_client(&client);
                let answer = connection.send(&request).await.unwrap();
                answers.push((answer.status, begun.elapsed()));
                let pause = Duration::from_millis(5);
                if tokio::time::timeout(pause, ended.changed()).await.is_ok() {
                    break;
                }
            }
            answers
        });
        Self { task, end }
    }

    /// All were served, and none waited longer than it may.
    pub async fn was_served(self) {
        self.end.send_replace(true);
        let answers = self.task.await.unwrap();
        assert!(!answers.is_empty());
        let failed: Vec<_> = answers
            .iter()
            .filter(|(status, _)| *status != 200)
            .collect();
        assert!(failed.is_empty(), "{failed:?}");
        let slowest = answers.iter().map(|(_, taken)| *taken).max().unwrap();
        assert!(
            slowest < HOLD + SLACK,
            "the slowest of {} took {slowest:?}",
            answers.len()
        );
    }
}
