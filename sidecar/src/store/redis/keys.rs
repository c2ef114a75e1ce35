//! The names under which things are kept in Redis. All begin with the namespace, so that an access
//! control list can say `~NAMESPACE:*`.

use reputation::ClientAddress;
use reputation::digest::Digest;

use crate::store::VerdictKey;

pub struct Keys {
    namespace: String,
}

/// Providers whose name is one octet in a key: a million keys are a million times the difference.
const SHORT: [(&str, u8); 2] = [("abuseipdb", 1), ("greynoise", 2)];
/// Stands before so many octets of the digest of any other name: names may have 64 of their own.
const LONG: u8 = 0;
const OF_DIGEST: usize = 4;

impl Keys {
    pub fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
        }
    }

    /// A number.
    pub fn epoch(&self) -> String {
        self.key("epoch")
    }

    /// A number: the last version in this epoch.
    pub fn version(&self) -> String {
        self.key("version")
    }

    /// A number: the last version of this epoch that took something back.
    pub fn taken_back(&self) -> String {
        self.key("taken_back")
    }

    /// A hash: decisions as JSON by their ids.
    pub fn decisions(&self) -> String {
        self.key("decisions")
    }

    /// A JSON list.
    pub fn modes(&self) -> String {
        self.key("modes")
    }

    /// A number that every change of epoch, decisions or modes raises.
    pub fn changes(&self) -> String {
        self.key("changes")
    }

    /// A hash: calls by day.
    pub fn quota(&self, provider: &str) -> String {
        self.key(&format!("quota:{provider}"))
    }

    /// The channel on which changes are announced.
    pub fn channel(&self) -> String {
        self.key("changed")
    }

    /// `NAMESPACE:v`, the provider, and the address in network order, of which the zero half of an IPv6
    /// network is left out.
    pub fn verdict(&self, key: &VerdictKey) -> Vec<u8> {
        let mut name = self.key("v").into_bytes();
        match SHORT.iter().find(|(provider, _)| *provider == key.provider) {
            Some((_, short)) => name.push(*short),
            None => {
                name.push(LONG);
                let digest = Digest::of(key.provider.as_bytes());
                name.extend(digest.0.iter().take(OF_DIGEST));
            }
        }
        match key.address {
            ClientAddress::V4(bits) => name.extend(bits.to_be_bytes()),
            ClientAddress::V6(bits) => match u64::try_from(bits >> 64) {
                Ok(network) if u128::from(network) << 64 == bits => {
                    name.extend(network.to_be_bytes());
                }
                _ => name.extend(bits.to_be_bytes()),
            },
        }
        name
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_verdict_has_a_key_of_its_own_and_a_short_one_by_network() {
        let keys = Keys::new("pc");
        let of = |provider: &str, address: &str| {
            keys.verdict(&VerdictKey {
                provider: provider.to_owned(),
                address: address.parse().unwrap(),
            })
        };
        assert_eq!(of("abuseipdb", "203.0.113.7").len(), 9);
        assert_eq!(of("abuseipdb", "2001:db8::").len(), 13);
        assert_eq!(of(&"x".repeat(64), "2001:db8::").len(), 17);
        let all = [
            of("abuseipdb", "203.0.113.7"),
            of("abuseipdb", "2001:db8::"),
            of("abuseipdb", "2001:db8::1"),
            of("other", "203.0.113.7"),
            of("other", "::"),
            of("other", "::1"),
            of("othe", "203.0.113.7"),
            of("abuseipdb", "0.0.0.0"),
            Keys::new("p").verdict(&VerdictKey {
                provider: "c".to_owned(),
                address: ClientAddress::V4(0),
            }),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(all.iter().all(|key| key.starts_with(b"p")));
    }
}
