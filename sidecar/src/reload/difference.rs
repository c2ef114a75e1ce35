//! What differs between two configurations: sections that are taken over, and keys that only a restart
//! takes over.

use crate::config::{Config, SecretName};

/// The sections that are taken over while the process runs and that differ.
pub fn sections(before: &Config, now: &Config) -> Vec<&'static str> {
    let differs = [
        ("log", before.log != now.log),
        ("policy", before.policy != now.policy),
        ("guard", before.guard != now.guard),
        ("feed", before.feeds != now.feeds),
        ("provider", before.providers != now.providers),
        ("secret", before.secrets != now.secrets),
    ];
    differs
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(section, _)| section)
        .collect()
}

/// The keys that differ from what the process was `started` with and is bound to until its end: its
/// listeners, its store, and where their secrets come from.
pub fn waiting(started: &Config, now: &Config) -> Vec<String> {
    let (were, are) = (&started.listen, &now.listen);
    let listen = [
        ("listen.edge", were.edge != are.edge),
        ("listen.admin", were.admin != are.admin),
        ("listen.metrics", were.metrics != are.metrics),
        ("listen.admin_token", were.admin_token != are.admin_token),
    ];
    let store = [("store.path", started.store.path != now.store.path)];
    let keys = listen.into_iter().chain(store);
    let mut waiting: Vec<String> = keys
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key.to_owned())
        .collect();
    let moved = |name: &&SecretName| started.secrets.get(*name) != now.secrets.get(*name);
    // If the reference itself changed, that was said already.
    let kept = were
        .admin_token
        .as_ref()
        .filter(|_| were.admin_token == are.admin_token);
    waiting.extend(kept.filter(moved).map(|name| format!("secret.{name}")));
    waiting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text, std::iter::empty()).unwrap()
    }

    #[test]
    fn each_section_that_differs_is_named_and_no_other() {
        let empty = config("");
        assert!(sections(&empty, &empty).is_empty());
        for (text, section) in [
            ("[log]\nlevel = \"warn\"", "log"),
            ("[policy]\nsuspicious = 40", "policy"),
            ("[guard]\nmax_growth = 5", "guard"),
            (
                "[[feed]]\nname = \"a\"\npath = \"/a\"\nformat = \"plain\"\nblock = true",
                "feed",
            ),
            ("[secret.a]\nfrom = \"env\"\nname = \"A\"", "secret"),
        ] {
            assert_eq!(sections(&empty, &config(text)), [section]);
        }
        let listen = config("[listen]\nedge = \"127.0.0.1:1\"\n[store]\npath = \"/elsewhere\"");
        assert!(sections(&empty, &listen).is_empty());
    }

    #[test]
    fn what_waits_for_a_restart_is_named_by_its_key() {
        let started = config("");
        let now = config(
            "[listen]\nedge = \"127.0.0.1:1\"\nadmin_token = \"secret:a\"\n[store]\npath = \"/x\"\n\
             [secret.a]\nfrom = \"env\"\nname = \"A\"",
        );
        let expected = ["listen.edge", "listen.admin_token", "store.path"];
        assert_eq!(waiting(&started, &now), expected);
        assert!(waiting(&now, &now).is_empty());
    }

    #[test]
    fn the_admin_token_comes_from_where_it_came_at_the_start() {
        let with = |variable: &str| {
            config(&format!(
                "[listen]\nadmin_token = \"secret:a\"\n[secret.a]\nfrom = \"env\"\nname = \"{variable}\""
            ))
        };
        assert_eq!(waiting(&with("A"), &with("B")), ["secret.a"]);
    }
}
