//! Where the listeners of a running Envoy are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value;

use super::Envoy;
use crate::client::Request;

/// Stands for an address that is not known.
pub const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Those of the shipped configuration that listen.
#[derive(Debug, Default)]
pub struct Listeners {
    pub edge: Option<SocketAddr>,
    pub reputation_api: Option<SocketAddr>,
    pub stats: Option<SocketAddr>,
}

impl Envoy {
    /// Where a listener of this name is, once it listens.
    pub async fn listener(&self, name: &str) -> Option<SocketAddr> {
        find(&listing(self.admin).await, name)
    }
}

impl Listeners {
    /// Those that listen by now; `edge` is the name of the one where clients connect.
    pub async fn of(admin: SocketAddr, edge: &str) -> Self {
        let listing = listing(admin).await;
        Self {
            edge: find(&listing, edge),
            reputation_api: find(&listing, "reputation_api"),
            stats: find(&listing, "stats"),
        }
    }
}

async fn listing(admin: SocketAddr) -> Value {
    let request = Request::get("/listeners?format=json");
    let answer = request.send(admin).await;
    answer.map(|answer| answer.json()).unwrap_or_default()
}

fn find(listing: &Value, name: &str) -> Option<SocketAddr> {
    let listeners = listing.get("listener_statuses")?.as_array()?;
    let found = listeners.iter().find(|listener| listener["name"] == name)?;
    // A listener on a Unix socket has no port; whoever configured it knows its path.
    let Some(socket) = found.pointer("/local_address/socket_address") else {
        return Some(ANY_PORT);
    };
    let port = u16::try_from(socket.get("port_value")?.as_u64()?).ok()?;
    let address = socket.get("address")?.as_str()?.parse().ok()?;
    Some(SocketAddr::new(address, port))
}
