//! What is said of each faulty value: where it stands, and what to write.

use super::*;

#[test]
fn every_fault_of_a_value_says_where_it_is_and_what_to_write() {
    for (text, expected) in [
        (
            "[listen]\nedge = 8970",
            "`listen.edge` at line 2: must be text in quotes",
        ),
        (
            "[listen]\nedge = \"localhost\"",
            "`listen.edge` at line 2: \"localhost\" is not an address with a port: write \
             \"127.0.0.1:8970\" or \"unix:/path\"",
        ),
        (
            "[listen]\nedge = \"unix:edge.sock\"",
            "`listen.edge` at line 2: \"unix:edge.sock\" must have an absolute path: write \
             \"unix:/run/portcullis/edge.sock\"",
        ),
        (
            "[listen]\nmetrics = \"127.0.0.1:8971\"",
            "`listen.metrics` at line 2: 127.0.0.1:8971 is the address of admin too",
        ),
        (
            "[listen]\nadmin_token = \"hunter2\"",
            "`listen.admin_token` at line 2: must refer to a secret: write \"secret:NAME\" and \
             configure it in [secret.NAME]",
        ),
        (
            "[listen]\nadmin_token = \"secret:admin\"",
            "`listen.admin_token` at line 2: there is no secret admin: add [secret.admin] with \
             from = \"env\" or \"file\"",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "`log.level` at line 2: \"loud\" is not known: write \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"",
        ),
        (
            "[store]\nkind = \"redis\"",
            "`store.url` at line 1: is missing: write url = \"redis://HOST:6379\"",
        ),
        (
            "[store]\nkind = \"sqlite\"",
            "`store.kind` at line 2: \"sqlite\" is not known: write \"embedded\" or \"redis\"",
        ),
        (
            "[store]\nurl = \"redis://127.0.0.1\"",
            "`store.url` at line 2: belongs to Redis: write kind = \"redis\", or remove it",
        ),
        ("[store]\npath = \"\"", "`store.path` at line 2: is empty"),
        (
            "[history]\nurl = \"postgres://portcullis:word@db/history\"",
            "`history.url` at line 2: has a password in it: keep it as a secret and write password = \"secret:NAME\"",
        ),
        (
            "[policy]\nmalicious = 101",
            "`policy.malicious` at line 2: 101 must be a number from 1 to 100",
        ),
        (
            "[policy]\nsuspicious = 90",
            "`policy.suspicious` at line 2: malicious = 80 must be above suspicious = 90 and at most 100",
        ),
        (
            "[guard]\nprotect = [\n\"10.0.0.1/8\"]",
            "`guard.protect` at line 2: 10.0.0.1/8 has bits set after its prefix: the network is \
             10.0.0.0/8",
        ),
        (
            "[guard]\nprotect = \"10.0.0.0/8\"",
            "`guard.protect` at line 2: must be a list of prefixes, such as [\"203.0.113.0/24\"]",
        ),
        (
            "[guard]\nmin_prefix_v4 = 33",
            "`guard.min_prefix_v4` at line 2: 33 must be a number from 1 to 32",
        ),
        (
            "[guard]\nmax_unreadable = 5",
            "`guard.max_unreadable` at line 2: 5 must be a number from 0 to 1",
        ),
        (
            "[guard]\npermit_special = 1",
            "`guard.permit_special` at line 2: must be true or false",
        ),
        (
            "[envoy]\nstats = [\"127.0.0.1:10002\"]",
            "`envoy.stats` at line 2: \"127.0.0.1:10002\" must begin with https:// or http:// and name a host",
        ),
        (
            "[canary]\nedge = \"https://edge\"",
            "`canary.edge` at line 2: \"https://edge\" is not a URL that can be asked in clear: write http://HOST:PORT, with a path if need be",
        ),
        (
            "[canary]\ninterval = \"1h\"",
            "`canary.interval` at line 2: \"1h\" must be from 1s to 5m",
        ),
        (
            "[envoy]\nevery = \"10ms\"",
            "`envoy.every` at line 2: \"10ms\" must be from 1s to 5m",
        ),
        (
            "guard = 1",
            "`guard` at line 1: is a section: write [guard]",
        ),
        (
            "[feed]\nname = \"a\"",
            "`feed` at line 1: is a list: write [[feed]]",
        ),
        (
            "feed = [1]",
            "`feed[0]` at line 1: is a section: write [[feed]]",
        ),
        (
            "secret.a = 1",
            "`secret.a` at line 1: is a section: write [secret.a]",
        ),
        (
            "[secret.Key]\nfrom = \"env\"\nname = \"KEY\"",
            "`secret.Key` at line 1: \"Key\" is not a name: use lower-case letters, digits, - and _",
        ),
        (
            "[secret.a]\nname = \"KEY\"",
            "`secret.a.from` at line 1: is missing: write from = \"env\", \"file\", \
             \"aws-secrets-manager\" or \"aws-ssm\"",
        ),
        (
            "[secret.a]\nfrom = \"file\"\nname = \"/key\"\nrefresh = \"1m\"",
            "`secret.a.refresh` at line 4: is for AWS alone: what is on this machine is read whenever it is used",
        ),
        (
            "[secret.a]\nfrom = \"env\"\nname = \"KEY\"\nexpires = \"soon\"",
            "`secret.a.expires` at line 4: \"soon\" is not a date: write it as \"2027-03-01\"",
        ),
        (
            "[gaurd]\nprotect = []",
            "`gaurd` at line 1: is not a key here: did you mean guard?",
        ),
    ] {
        assert_eq!(faults(text), [expected], "{text}");
    }
}

#[test]
fn a_store_in_redis_is_read_with_its_defaults() {
    let store = |lines: &str| {
        let text = format!("[store]\nkind = \"redis\"\n{lines}");
        let config = parse(&text).unwrap_or_else(|faults| panic!("{faults}"));
        match config.store.backend {
            Backend::Redis(redis) => redis,
            Backend::Embedded => panic!("{lines} is no Redis"),
        }
    };
    let redis = store("url = \"redis://127.0.0.1\"");
    assert_eq!(redis.to_string(), "redis://127.0.0.1:6379/0");
    assert_eq!(
        (redis.namespace.as_str(), redis.timeout.as_millis()),
        ("pc", 250)
    );
    for (url, shown) in [
        ("rediss://r.internal:7000/3", "rediss://r.internal:7000/3"),
        ("redis://[::1]/", "redis://[::1]:6379/0"),
        ("unix:/run/redis.sock", "unix:/run/redis.sock"),
    ] {
        assert_eq!(store(&format!("url = {url:?}")).to_string(), shown);
    }
    let document = include_str!("../../../../docs/redis.md");
    let block = document.split("```toml").nth(1).unwrap();
    let config = parse(block.split("```").next().unwrap()).unwrap();
    assert!(matches!(config.store.backend, Backend::Redis(_)));
}

#[test]
fn every_fault_of_a_store_in_redis_says_what_to_write() {
    for (lines, message) in [
        (
            "url = \"redis://anna:hunter2@127.0.0.1\"",
            "`store.url` at line 3: has a user or a password in it: write the user in username, \
             keep the password as a secret and name it in password",
        ),
        (
            "url = \"http://127.0.0.1\"",
            "`store.url` at line 3: must be redis://HOST:PORT, rediss://HOST:PORT for TLS, or \
             unix:/PATH",
        ),
        (
            "url = \"redis://127.0.0.1/one\"",
            "`store.url` at line 3: must end with the number of a database, such as /0, or nothing",
        ),
        (
            "url = \"redis://127.0.0.1\"\nusername = \"anna\"",
            "`store.username` at line 4: has no password: write password = \"secret:NAME\" and add \
             [secret.NAME]",
        ),
        (
            "url = \"redis://127.0.0.1\"\nca = \"/ca.pem\"",
            "`store.ca` at line 4: is for TLS only: write url = \"rediss://...\", or remove it",
        ),
        (
            "url = \"redis://127.0.0.1\"\ntimeout = \"1ms\"",
            "`store.timeout` at line 4: \"1ms\" must be from 5ms to 10s",
        ),
        (
            "url = \"redis://127.0.0.1\"\nnamespace = \"a:b\"",
            "`store.namespace` at line 4: \"a:b\" is not a name: use up to 64 letters, digits, -, _ \
             and .",
        ),
    ] {
        let told = faults(&format!("[store]\nkind = \"redis\"\n{lines}"));
        assert_eq!(told, [message], "{lines}");
        assert!(!told.concat().contains("hunter2"));
    }
}

#[test]
fn every_fault_of_a_feed_says_where_it_is_and_what_to_write() {
    let unknown_format = "`feed[0].format` at line 4: \"csv\" is not known: write \"plain\" or \
                          \"netset\" or \"ipsum\" or \"spamhaus-json\" or \"abuseipdb-json\" or \
                          \"prefixes-json\" or \"json-addresses\" or \"crowdsec-allowlist-json\" or \"crowdsec\"";
    for (was, is, expected) in [
        (
            "\"ipsum\"\npath",
            "\"a/b\"\npath",
            "`feed[0].name` at line 2: \"a/b\" is not a name: use up to 64 letters, digits, -, _ and .",
        ),
        (
            "name = \"ipsum\"",
            "",
            "`feed[0].name` at line 1: is missing: write name = \"…\"",
        ),
        ("format = \"ipsum\"", "format = \"csv\"", unknown_format),
        (
            "path = \"/ipsum.txt\"",
            "",
            "`feed[0].path` at line 1: is missing: write path = \"…\" or url = \"https://…\"",
        ),
        (
            "path = \"/ipsum.txt\"",
            "path = \"/a\"\nurl = \"https://example.org/a\"",
            "`feed[0].url` at line 4: stands beside path: a list comes from one of them",
        ),
        (
            "path = \"/ipsum.txt\"",
            "url = \"ftp://example.org/a\"",
            "`feed[0].url` at line 3: \"ftp://example.org/a\" must begin with https:// or http:// and name a host",
        ),
        (
            "path = \"/ipsum.txt\"",
            "url = \"https://me:pass@example.org/a\"",
            "`feed[0].url` at line 3: has a user or a password in it: keep it as a secret and name it in key",
        ),
        (
            "score = 90",
            "",
            "`feed[0].score` at line 1: is missing: write score = 1 to 100, or block = true for a hard source, or allow = true for a list of the trusted",
        ),
        (
            "score = 90",
            "score = 0",
            "`feed[0].score` at line 5: 0 must be a number from 1 to 100",
        ),
        (
            "score = 90",
            "score = 90\nblock = true",
            "`feed[0].block` at line 6: stands beside another role: write one of score, block = true and allow = true",
        ),
        (
            "score = 90",
            "block = true\nweight = 0.5",
            "`feed[0].weight` at line 6: belongs to a score: neither block nor allow is weighed",
        ),
        (
            "score = 90",
            "score = 90\nweight = 1.5",
            "`feed[0].weight` at line 6: 1.5 must be a number from 0 to 1",
        ),
        (
            "score = 90",
            "score = 90\nrefresh = \"hourly\"",
            "`feed[0].refresh` at line 6: \"hourly\" is not a duration: write a number with ms, s, m, h or d, such as \"90s\" or \"1h30m\"",
        ),
        (
            "score = 90",
            "score = 90\nrefresh = \"1ms\"",
            "`feed[0].refresh` at line 6: \"1ms\" must be from 1s to 7d",
        ),
        (
            "score = 90",
            "score = 90\nrefresh = 60",
            "`feed[0].refresh` at line 6: must be a duration in quotes, such as \"90s\", \"30m\" or \"1h\"",
        ),
        (
            "format = \"ipsum\"",
            "format = \"plain\"\nmin_count = 3",
            "`feed[0].min_count` at line 5: belongs to format = \"ipsum\", which counts lists",
        ),
        (
            "format = \"ipsum\"",
            "format = \"ipsum\"\nat = \"/list\"",
            "`feed[0].at` at line 5: belongs to format = \"json-addresses\": the place of the list",
        ),
        (
            "format = \"ipsum\"",
            "format = \"json-addresses\"",
            "`feed[0].at` at line 1: is missing: write at = \"/addresses\", where the list is",
        ),
        (
            "score = 90",
            "score = 90\nshadow = true\nenforce_percent = 10",
            "`feed[0].enforce_percent` at line 7: stands beside shadow = true, which is enforce_percent = 0: write one of them",
        ),
        (
            "score = 90",
            "scores = 90\nscore = 90",
            "`feed[0].scores` at line 5: is not a key here: did you mean score?",
        ),
        (
            "score = 90",
            "score = 90\ncolour = 1",
            "`feed[0].colour` at line 6: is not a key here: the keys are name, format, min_count, at, path, url, family, score, block, allow, weight, refresh, trial, shadow, enforce_percent, key",
        ),
    ] {
        let text = FEED.replacen(was, is, 1);
        assert_ne!(text, FEED, "{was} is in the fixture");
        assert_eq!(faults(&text), [expected], "{text}");
    }
}

#[test]
fn every_fault_of_a_provider_says_where_it_is_and_what_to_write() {
    for (added, expected) in [
        (
            "",
            "`provider[0].key` at line 4: is missing: write key = \"secret:NAME\" and add [secret.NAME]",
        ),
        (
            "key = \"secret:kye\"",
            "`provider[0].key` at line 6: there is no secret kye: add [secret.kye] with from = \"env\" or \"file\"",
        ),
        (
            "key = \"secret:key\"\nbase_url = \"http://api.example.org\"",
            "`provider[0].base_url` at line 7: would send the key in clear: write https://",
        ),
        (
            "key = \"secret:key\"\ndaily_quota = -1",
            "`provider[0].daily_quota` at line 7: -1 must be a number from 0 to 10000000",
        ),
        (
            "key = \"secret:key\"\ntimeout = \"2min\"",
            "`provider[0].timeout` at line 7: \"2min\" is not a duration: write a number with ms, s, m, h or d, such as \"90s\" or \"1h30m\"",
        ),
        (
            "key = \"secret:key\"\nmax_age_days = 366",
            "`provider[0].max_age_days` at line 7: 366 must be a number from 1 to 365",
        ),
        (
            "key = \"secret:key\"\n[[provider]]\nkind = \"abuseipdb\"\nkey = \"secret:key\"",
            "`provider[1].name` at line 7: \"abuseipdb\" is the name of another provider too: give each a name of its own",
        ),
        (
            "key = \"secret:key\"\n[[provider]]\nkind = \"oracle\"\nkey = \"secret:key\"",
            "`provider[1].kind` at line 8: \"oracle\" is not known: write \"abuseipdb\" or \"greynoise\" or \"http-json\"",
        ),
    ] {
        let text = format!("{PROVIDER}{added}");
        assert_eq!(faults(&text), [expected], "{text}");
    }
}
