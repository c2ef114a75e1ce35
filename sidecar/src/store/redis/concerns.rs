//! What about a Redis that works may cost the operator decisions. `INFO` tells most of it; when it may
//! be asked, `CONFIG GET` tells how often it writes to disk and whom it listens to.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::store::Concern;

/// What Redis said of itself.
pub struct Examined {
    pub info: HashMap<String, String>,
    /// Empty if it may not be asked.
    pub config: HashMap<String, String>,
    pub peer: Option<IpAddr>,
    pub by_password: bool,
}

/// The settings that are asked for.
pub const SETTINGS: [&str; 3] = ["save", "bind", "protected-mode"];

impl Examined {
    pub fn concerns(&self) -> Vec<Concern> {
        let all = [
            self.evicting(),
            self.full(),
            self.persistence(),
            self.persistence_failing(),
            self.no_password(),
            self.read_only(),
        ];
        all.into_iter().flatten().collect()
    }

    fn evicting(&self) -> Option<Concern> {
        let policy = self.text("maxmemory_policy");
        let takes_all = policy.starts_with("allkeys-") && self.number("maxmemory") > 0;
        takes_all.then(|| Concern::Evicting {
            policy: policy.to_owned(),
        })
    }

    fn full(&self) -> Option<Concern> {
        let limit = self.number("maxmemory");
        let evicts = self.text("maxmemory_policy") != "noeviction";
        let full = limit > 0 && !evicts && self.number("used_memory") >= limit;
        full.then_some(Concern::Full)
    }

    fn persistence(&self) -> Option<Concern> {
        if self.text("aof_enabled") != "0" {
            return None;
        }
        match self.config.get("save").map(String::as_str) {
            Some("") => Some(Concern::NoPersistence),
            _ => Some(Concern::SnapshotsOnly),
        }
    }

    fn persistence_failing(&self) -> Option<Concern> {
        let fails = [
            "aof_last_write_status",
            "aof_last_bgrewrite_status",
            "rdb_last_bgsave_status",
        ]
        .iter()
        .any(|status| self.text(status) == "err");
        fails.then_some(Concern::PersistenceFailing)
    }

    /// Through a socket file or on loopback only this machine comes in, unless it listens elsewhere too.
    fn no_password(&self) -> Option<Concern> {
        if self.by_password {
            return None;
        }
        let far = self.peer.filter(|peer| !peer.is_loopback());
        if let Some(peer) = far {
            return Some(Concern::NoPassword {
                address: peer.to_string(),
            });
        }
        let protected = self
            .config
            .get("protected-mode")
            .is_none_or(|mode| mode == "yes");
        if protected {
            return None;
        }
        let is_near = |address: &str| address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        let open = match self.config.get("bind")?.as_str() {
            // Bound to nothing in particular means to everything.
            "" => Some("*"),
            bind => {
                let addresses = bind.split_whitespace();
                let mut addresses = addresses.map(|address| address.trim_start_matches('-'));
                addresses.find(|address| !is_near(address))
            }
        };
        open.map(|address| Concern::NoPassword {
            address: address.to_owned(),
        })
    }

    fn read_only(&self) -> Option<Concern> {
        let follows = self.text("role") == "slave" && self.text("slave_read_only") != "0";
        follows.then_some(Concern::ReadOnly)
    }

    fn text(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }
}

/// The lines `name:value` of an answer to `INFO`.
pub fn read_info(text: &str) -> HashMap<String, String> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examined(info: &str, config: &[(&str, &str)]) -> Examined {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Examined {
            info: read_info(&info.replace(' ', "\r\n")),
            config: config.iter().map(owned).collect(),
            peer: Some(IpAddr::from([127, 0, 0, 1])),
            by_password: false,
        }
    }

    fn names(examined: &Examined) -> Vec<&'static str> {
        examined.concerns().iter().map(Concern::name).collect()
    }

    const GOOD: &str = "role:master maxmemory:100 maxmemory_policy:volatile-lru used_memory:100 \
        aof_enabled:1 aof_last_write_status:ok rdb_last_bgsave_status:ok";

    #[test]
    fn each_danger_is_named_and_a_good_redis_has_none() {
        assert!(names(&examined(GOOD, &[])).is_empty());
        for (good, bad, concern) in [
            ("volatile-lru", "allkeys-lru", "evicting"),
            ("volatile-lru", "noeviction", "full"),
            ("aof_enabled:1", "aof_enabled:0", "snapshots_only"),
            ("status:ok", "status:err", "persistence_failing"),
            ("role:master", "role:slave slave_read_only:1", "read_only"),
        ] {
            assert!(GOOD.contains(good));
            assert_eq!(names(&examined(&GOOD.replace(good, bad), &[])), [concern]);
        }
        let unlimited = GOOD.replace("maxmemory:100", "maxmemory:0");
        let unlimited = unlimited.replace("volatile-lru", "allkeys-lru");
        assert!(names(&examined(&unlimited, &[])).is_empty());
        let never_saved = examined(
            &GOOD.replace("aof_enabled:1", "aof_enabled:0"),
            &[("save", "")],
        );
        assert_eq!(names(&never_saved), ["no_persistence"]);
    }

    #[test]
    fn without_a_password_it_must_not_be_reached_from_elsewhere() {
        let open = |bind| examined(GOOD, &[("bind", bind), ("protected-mode", "no")]);
        for bind in ["", "* -::*", "127.0.0.1 192.0.2.7", "0.0.0.0"] {
            assert_eq!(names(&open(bind)), ["no_password"], "{bind:?}");
        }
        assert!(names(&open("127.0.0.1 -::1")).is_empty());
        let protected = [("bind", "* -::*"), ("protected-mode", "yes")];
        assert!(names(&examined(GOOD, &protected)).is_empty());
        let mut far = examined(GOOD, &[]);
        far.peer = Some(IpAddr::from([192, 0, 2, 7]));
        assert_eq!(names(&far), ["no_password"]);
        far.by_password = true;
        assert!(names(&far).is_empty());
        far.peer = None;
        far.by_password = false;
        assert!(names(&far).is_empty());
    }
}
