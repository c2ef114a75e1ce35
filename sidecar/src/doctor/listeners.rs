//! Whether the sidecar listens where only its own people are.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use reputation::special;

use super::{Check, Finding};
use crate::config::{Listen, ListenAddress};

/// How far a listener can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// This machine, by loopback or Unix socket.
    Machine,
    /// A private network, or every address of a machine that has no public one.
    Network,
    World,
}

#[derive(Debug, Clone)]
pub struct ListenerFacts {
    pub name: &'static str,
    pub address: String,
    pub reach: Reach,
}

/// An address of the documentation space, where a route leads but nothing is sent.
const ANYWHERE: (&str, u16) = ("192.0.2.1", 9);

pub fn facts(listen: &Listen) -> Vec<ListenerFacts> {
    let own = own_address();
    let listeners = [
        ("edge", &listen.edge),
        ("admin", &listen.admin),
        ("metrics", &listen.metrics),
    ];
    let facts = |(name, address): (_, &ListenAddress)| ListenerFacts {
        name,
        address: address.to_string(),
        reach: match address {
            ListenAddress::Unix(_) => Reach::Machine,
            ListenAddress::Tcp(address) => reach(*address, own),
        },
    };
    listeners.into_iter().map(facts).collect()
}

pub fn listeners(listeners: &[ListenerFacts]) -> Finding {
    let check = Check::SidecarListeners;
    let which = |wanted: &dyn Fn(&ListenerFacts) -> bool| {
        let found = listeners.iter().filter(|listener| wanted(listener));
        let shown = found.map(|listener| format!("{} on {}", listener.name, listener.address));
        shown.collect::<Vec<_>>()
    };
    let world = which(&|listener| listener.reach == Reach::World);
    if !world.is_empty() {
        let seen = format!("the world may reach {}", world.join(", "));
        return Finding::failing(
            check,
            seen,
            "bind it to loopback or a private address ([listen])",
        );
    }
    let admin = which(&|listener| listener.name == "admin" && listener.reach != Reach::Machine);
    if !admin.is_empty() {
        let seen = format!(
            "others reach {}, and the token crosses the network in clear",
            admin.join(", ")
        );
        let remedy = "bind it to loopback or a Unix socket, and go there by ssh or kubectl exec";
        return Finding::attention(check, seen, remedy);
    }
    let network = which(&|listener| listener.reach == Reach::Network);
    if network.is_empty() {
        return Finding::ok(check, "only this machine reaches edge, admin and metrics");
    }
    let seen = format!("others in the network reach {}", network.join(", "));
    Finding::note(check, seen)
        .hint("let a firewall or network policy admit proxies and Prometheus only")
}

fn reach(address: SocketAddr, own: Option<IpAddr>) -> Reach {
    let ip = match address.ip() {
        ip if ip.is_loopback() => return Reach::Machine,
        ip if ip.is_unspecified() => own,
        ip => Some(ip),
    };
    match ip {
        Some(ip) if special::is_public(ip.into()) => Reach::World,
        _ => Reach::Network,
    }
}

/// The address from which this machine would speak to the world. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(ANYWHERE).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    fn state(name: &'static str, address: &str, own: &str) -> State {
        let reach = reach(address.parse().unwrap(), Some(own.parse().unwrap()));
        let address = address.to_owned();
        listeners(&[ListenerFacts {
            name,
            address,
            reach,
        }])
        .state
    }

    #[test]
    fn who_reaches_a_listener_decides() {
        let private = "10.0.0.7";
        assert_eq!(state("admin", "127.0.0.1:8971", private), State::Ok);
        assert_eq!(state("admin", "10.0.0.7:8971", private), State::Attention);
        assert_eq!(state("admin", "0.0.0.0:8971", private), State::Attention);
        assert_eq!(state("metrics", "0.0.0.0:8972", private), State::Note);
        assert_eq!(state("metrics", "0.0.0.0:8972", "8.8.8.8"), State::Failing);
        assert_eq!(
            state("edge", "[2a00:1450::1]:8970", private),
            State::Failing
        );
    }

    #[test]
    fn a_socket_file_is_for_this_machine() {
        let config = crate::config::Config::parse(
            "[listen]\nadmin = \"unix:/run/admin.sock\"",
            std::iter::empty(),
        );
        let facts = facts(&config.unwrap().listen);
        assert!(
            facts
                .iter()
                .all(|listener| listener.reach == Reach::Machine),
            "{facts:?}"
        );
    }
}
