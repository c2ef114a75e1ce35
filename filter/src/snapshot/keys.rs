//! The names of what we keep in the host's shared memory. All plugins with a blank `vm_id` share one
//! space, so every name carries the sidecar's cluster and a hash of where the data comes from: two
//! sidecars never meet, and a changed option that has nothing to do with the source loses nothing.

use reputation::digest::Digest;
use serde::Serialize;

use crate::config::Sidecar;

/// Which image of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    Base,
    Overlay,
}

/// Parts are written to two places in turn, so that nothing grows and what is in use stays whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    A,
    B,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
    /// Changes whenever something was published: the one value that every tick reads.
    pub signal: String,
    pub current: String,
    pub previous: String,
    pub modes: String,
    pub lease: String,
    pub trying: String,
    pub fleet: String,
}

impl Keys {
    pub fn new(sidecar: &Sidecar) -> Self {
        let Sidecar {
            cluster,
            poll_cluster,
            authority,
        } = sidecar;
        let source = format!("{cluster}\n{poll_cluster}\n{authority}");
        let hash: String = Digest::of(source.as_bytes()).to_string();
        let hash: String = hash.chars().take(16).collect();
        let prefix = format!("portcullis/{cluster}/{hash}/");
        let key = |name: &str| format!("{prefix}{name}");
        Self {
            signal: key("signal"),
            current: key("current"),
            previous: key("previous"),
            modes: key("modes"),
            lease: key("lease"),
            trying: key("trying"),
            fleet: key("fleet"),
            prefix,
        }
    }

    pub fn part(&self, layer: Layer, slot: Slot, index: usize) -> String {
        let layer = match layer {
            Layer::Base => "base",
            Layer::Overlay => "overlay",
        };
        format!("{}{layer}.{}.{index}", self.prefix, slot.name())
    }
}

impl Slot {
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::A, Self::B]
            .into_iter()
            .find(|slot| slot.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::config;

    #[test]
    fn sources_have_their_own_names_and_other_options_do_not_change_them() {
        let keys = |json: &str| Keys::new(&config(json).sidecar);
        let plain = keys("{}");
        assert_eq!(plain, keys(r#"{"mode":"enforce","hold_ms":50}"#));
        for other in [
            r#"{"sidecar":{"cluster":"b"}}"#,
            r#"{"sidecar":{"poll_cluster":"b"}}"#,
            r#"{"sidecar":{"authority":"b"}}"#,
        ] {
            assert_ne!(plain.current, keys(other).current, "{other}");
        }
        assert!(plain.current.starts_with("portcullis/portcullis/"));
        assert_ne!(
            plain.part(Layer::Base, Slot::A, 1),
            plain.part(Layer::Base, Slot::B, 1)
        );
    }
}
