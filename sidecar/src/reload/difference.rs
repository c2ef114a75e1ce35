//! What differs between two configurations: sections that are taken over, and keys that only a restart
//! takes over.

use std::path::PathBuf;

use crate::config::{Backend, Config, Listen, RedisConfig, RedisServer, SecretName};

/// The sections that are taken over while the process runs and that differ.
pub fn sections(before: &Config, now: &Config) -> Vec<&'static str> {
    let differs = [
        ("log", before.log != now.log),
        ("history", before.history != now.history),
        ("policy", before.policy != now.policy),
        ("guard", before.guard != now.guard),
        ("budget", before.budget != now.budget),
        ("envoy", before.envoy != now.envoy),
        ("canary", before.canary != now.canary),
        (
            "feed",
            before.feeds != now.feeds || before.crowdsec != now.crowdsec,
        ),
        ("database", before.databases != now.databases),
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
    let mut keys = Vec::from(of_listeners(&started.listen, &now.listen));
    keys.push(("sentry", started.sentry != now.sentry));
    keys.push(("otlp", started.otlp != now.otlp));
    keys.push(("store.path", started.store.path != now.store.path));
    match (&started.store.backend, &now.store.backend) {
        (Backend::Redis(were), Backend::Redis(are)) => keys.extend(of_redis(were, are)),
        (were, are) => keys.push(("store.kind", were != are)),
    }
    let differing = keys.into_iter().filter(|(_, differs)| *differs);
    let mut waiting: Vec<String> = differing.map(|(key, _)| key.to_owned()).collect();
    let bound = |config: &Config| {
        let password = match &config.store.backend {
            Backend::Redis(redis) => redis.password.clone(),
            Backend::Embedded => None,
        };
        [config.listen.admin_token.clone(), password]
    };
    for (were, is) in bound(started).into_iter().zip(bound(now)) {
        // If the reference itself changed, that was said already.
        let same = were.filter(|were| Some(were) == is.as_ref());
        let moved = same.filter(|name| has_moved(name, started, now));
        waiting.extend(moved.map(|name| format!("secret.{name}")));
    }
    waiting
}

fn of_listeners(were: &Listen, are: &Listen) -> [(&'static str, bool); 4] {
    [
        ("listen.edge", were.edge != are.edge),
        ("listen.admin", were.admin != are.admin),
        ("listen.metrics", were.metrics != are.metrics),
        ("listen.admin_token", were.admin_token != are.admin_token),
    ]
}

fn of_redis(were: &RedisConfig, are: &RedisConfig) -> [(&'static str, bool); 6] {
    let place = |redis: &RedisConfig| (redis.to_string(), redis.database);
    [
        ("store.url", place(were) != place(are)),
        ("store.username", were.username != are.username),
        ("store.password", were.password != are.password),
        ("store.ca", authorities(were) != authorities(are)),
        ("store.namespace", were.namespace != are.namespace),
        ("store.timeout", were.timeout != are.timeout),
    ]
}

fn authorities(redis: &RedisConfig) -> Option<&PathBuf> {
    match &redis.server {
        RedisServer::Tcp { tls, .. } => tls.as_ref()?.ca.as_ref(),
        RedisServer::Unix(_) => None,
    }
}

fn has_moved(name: &SecretName, started: &Config, now: &Config) -> bool {
    let both = started.secrets.get(name).zip(now.secrets.get(name));
    !both.is_some_and(|(was, is)| was.is_read_as(is))
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
            ("[history]\nurl = \"postgres://p@db/history\"", "history"),
            ("[policy]\nsuspicious = 40", "policy"),
            ("[guard]\nmax_growth = 5", "guard"),
            ("[budget]\nreserve_percent = 5", "budget"),
            ("[envoy]\nevery = \"5s\"", "envoy"),
            ("[canary]\ninterval = \"5s\"", "canary"),
            (
                "[[feed]]\nname = \"a\"\npath = \"/a\"\nformat = \"plain\"\nblock = true",
                "feed",
            ),
            ("[[database]]\nname = \"a\"\npath = \"/a\"", "database"),
            (
                "[[feed]]\nname = \"a\"\nformat = \"crowdsec\"\nurl = \"https://lapi\"\n\
                 client_certificate = \"/c\"\nclient_key = \"/k\"",
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
    fn each_key_of_a_redis_is_named() {
        let redis = |lines: &str| {
            config(&format!(
                "[store]\nkind = \"redis\"\n{lines}\n[secret.a]\nfrom = \"env\"\nname = \"A\""
            ))
        };
        let url = "url = \"rediss://redis:6379\"";
        let started = redis(url);
        assert_eq!(waiting(&config(""), &started), ["store.kind"]);
        for (lines, key) in [
            ("url = \"rediss://redis:6380\"".to_owned(), "store.url"),
            (format!("{url}\nca = \"/ca\""), "store.ca"),
            (format!("{url}\npassword = \"secret:a\""), "store.password"),
            (format!("{url}\nnamespace = \"b\""), "store.namespace"),
            (format!("{url}\ntimeout = \"1s\""), "store.timeout"),
        ] {
            assert_eq!(waiting(&started, &redis(&lines)), [key]);
        }
    }

    #[test]
    fn the_admin_token_comes_from_where_it_came_at_the_start() {
        let with = |variable: &str| {
            config(&format!(
                "[listen]\nadmin_token = \"secret:a\"\n[secret.a]\nfrom = \"env\"\nname = \"{variable}\""
            ))
        };
        assert_eq!(waiting(&with("A"), &with("B")), ["secret.a"]);
        let expires = with("A\"\nexpires = \"2027-03-01");
        assert!(waiting(&with("A"), &expires).is_empty());
    }
}
