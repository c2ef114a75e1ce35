//! What is neither a fault nor to be seen elsewhere: settings of the whole.

use super::{Check, Finding};
use crate::http::Routes;

pub fn guard(permit_special: bool) -> Finding {
    let check = Check::SidecarGuard;
    if permit_special {
        return Finding::attention(
            check,
            "guard.permit_special is on: a feed may refuse private, loopback and other special space",
            "remove it: it is for tests and demonstrations only",
        );
    }
    Finding::ok(
        check,
        "no feed may list private, loopback and other special space",
    )
}

pub fn outgoing(routes: &Routes) -> Finding {
    let check = Check::SidecarOutgoing;
    if !routes.unusable.is_empty() {
        let seen = format!(
            "{} names no proxy that can be used, and counts as if it were not set",
            routes.unusable.join(" and ")
        );
        return Finding::attention(
            check,
            seen,
            "write http://HOST:PORT, with special signs of a password percent-encoded, or nothing",
        );
    }
    match (&routes.https, &routes.http) {
        (None, None) => Finding::ok(check, "lists and providers are asked directly"),
        (https, http) => {
            let way = |proxy: &Option<String>| match proxy {
                Some(proxy) => format!("through {proxy}"),
                None => "directly".to_owned(),
            };
            let seen = format!(
                "https:// {}, http:// {}, but for what NO_PROXY names",
                way(https),
                way(http)
            );
            Finding::ok(check, seen)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_way_that_requests_leave_by_is_shown() {
        let routes = |https: Option<&str>, unusable: &[&'static str]| Routes {
            http: None,
            https: https.map(str::to_owned),
            unusable: unusable.to_vec(),
        };
        assert!(outgoing(&routes(None, &[])).seen.contains("directly"));
        let proxied = outgoing(&routes(Some("proxy:3128"), &[]));
        assert_eq!(proxied.state, State::Ok);
        assert!(
            proxied.seen.contains("https:// through proxy:3128"),
            "{}",
            proxied.seen
        );
        let unusable = outgoing(&routes(None, &["HTTPS_PROXY"]));
        assert_eq!(unusable.state, State::Attention);
    }

    #[test]
    fn special_space_is_permitted_in_tests_only() {
        assert_eq!(guard(false).state, State::Ok);
        assert_eq!(guard(true).state, State::Attention);
    }
}
