//! Connections that together reach every worker of an Envoy.

use std::time::Duration;

use crate::client::{Connection, Request};
use crate::envoy::{CONNECTIONS, Envoy};
use crate::error::KitError;

pub struct Workers(Vec<Connection>);

/// Shorter than anything that is awaited takes.
const STEP: Duration = Duration::from_millis(5);

impl Workers {
    pub async fn of(envoy: &Envoy) -> Result<Self, KitError> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(envoy.connect().await?);
        }
        Ok(Self(connections))
    }

    /// Waits until every worker answers this client with this status; whether they did within `limit`.
    pub async fn all_answer(
        &mut self,
        client: &str,
        status: u16,
        limit: Duration,
    ) -> Result<bool, KitError> {
        let end = tokio::time::Instant::now() + limit;
        while tokio::time::Instant::now() < end {
            let statuses = self.statuses(client).await?;
            if statuses.iter().all(|&have| have == status) {
                return Ok(true);
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(false)
    }

    /// What each connection answers now.
    pub async fn statuses(&mut self, client: &str) -> Result<Vec<u16>, KitError> {
        let request = Request::get("/").from_client(client);
        let mut statuses = Vec::new();
        for connection in &mut self.0 {
            statuses.push(connection.send(&request).await?.status);
        }
        Ok(statuses)
    }
}
