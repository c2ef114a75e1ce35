//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Enough for every connection of every listener, and for the store and lists beside them.
const WANTED: u64 = 3 * 4096 + 1024;

/// Raises the soft limit as far as the hard one permits. Service managers start with 1024, which a few
/// hundred proxies use up.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is unlimited.
    let wanted = maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let current = Some(wanted);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        tracing::warn!(%error, wanted, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_rises_as_far_as_it_may() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        let enough = after.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        assert!(after.current.is_none_or(|current| current >= enough));
        assert_eq!(after.maximum, before.maximum);
    }
}
