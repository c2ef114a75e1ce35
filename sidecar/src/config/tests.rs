mod faults;

use super::*;

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, std::iter::empty())
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<Config, Faults> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Config::parse(text, variables.iter().map(owned))
}

fn faults(text: &str) -> Vec<String> {
    parse(text)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// A good feed to which a faulty line is added.
const FEED: &str =
    "[[feed]]\nname = \"ipsum\"\npath = \"/ipsum.txt\"\nformat = \"ipsum\"\nscore = 90\n";
const PROVIDER: &str =
    "[secret.key]\nfrom = \"env\"\nname = \"KEY\"\n[[provider]]\nkind = \"abuseipdb\"\n";

#[test]
fn an_empty_file_is_a_good_configuration() {
    let config = parse("").unwrap();
    assert_eq!(config.listen.edge.to_string(), "127.0.0.1:8970");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:8971");
    assert_eq!(config.listen.metrics.to_string(), "127.0.0.1:8972");
    assert_eq!(config.listen.admin_token, None);
    assert_eq!(config.store.path, Path::new("/var/lib/portcullis"));
    assert_eq!(config.policy, Policy::default());
    assert_eq!(config.guard, Guard::default());
    assert!(config.feeds.is_empty() && config.providers.is_empty() && config.secrets.is_empty());
    assert_eq!(config.log.level, Level::INFO);
}

#[test]
fn the_designs_example_is_read() {
    let config = parse(include_str!("example.toml")).unwrap();
    let [ipsum, drop, blacklist, partners] = config.feeds.as_slice() else {
        panic!("{:?}", config.feeds)
    };
    assert_eq!(ipsum.format, FeedFormat::Ipsum { min_count: 3 });
    assert_eq!(ipsum.family, "counted");
    assert_eq!(ipsum.refresh.as_secs(), 7200);
    assert!(matches!(
        ipsum.role,
        FeedRole::Score {
            score: ListScore::Fixed(90),
            ..
        }
    ));
    assert_eq!(drop.role, FeedRole::Block);
    assert_eq!(
        (drop.family.as_str(), drop.refresh.as_secs()),
        ("drop", 3600)
    );
    assert!(matches!(&drop.source, FeedSource::Url(url) if url.host() == Some("www.spamhaus.org")));
    assert!(matches!(
        blacklist.role,
        FeedRole::Score {
            score: ListScore::PerEntry,
            ..
        }
    ));
    assert_eq!(blacklist.key.as_ref().unwrap().as_str(), "abuseipdb");
    assert_eq!(partners.role, FeedRole::Allow);
    let [provider] = config.providers.as_slice() else {
        panic!("{:?}", config.providers)
    };
    let ProviderKind::AbuseIpdb {
        base_url,
        max_age_days,
    } = &provider.kind
    else {
        panic!("{:?}", provider.kind)
    };
    assert_eq!(base_url.to_string(), "https://api.abuseipdb.com/api/v2/");
    assert_eq!((provider.daily_quota, *max_age_days), (500, 90));
    assert_eq!(
        (&*provider.name, provider.family.as_str()),
        ("abuseipdb", "abuseipdb")
    );
    let secret = &config.secrets[provider.key.as_ref().unwrap().as_str()];
    assert_eq!(secret.origin, SecretOrigin::Env("ABUSEIPDB_KEY".into()));
    assert_eq!(secret.expires.unwrap().to_string(), "2027-03-01");
    assert_eq!(config.guard.protect, ["203.0.113.0/24".parse().unwrap()]);
    assert_eq!(
        config.listen.edge.to_string(),
        "unix:/run/portcullis/edge.sock"
    );
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = format!("{FEED}fromat = 1\n[listen]\nedge = \"x\"\n[nothing]\n{FEED}");
    let told = faults(&text);
    let places: Vec<_> = told
        .iter()
        .filter_map(|fault| fault.split(':').next())
        .collect();
    assert_eq!(
        places,
        [
            "`feed[0].fromat` at line 6",
            "`listen.edge` at line 8",
            "`nothing` at line 9",
            "`feed[1].name` at line 11"
        ],
        "{told:?}"
    );
}

#[test]
fn a_name_is_told_to_be_taken_beside_other_faults_of_its_feed() {
    let text = format!("{FEED}{}", FEED.replace("score = 90", "score = 0"));
    let told = faults(&text);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("is the name of another feed too"),
        "{told:?}"
    );
}

#[test]
fn text_that_is_not_toml_names_its_lines() {
    let told = faults("[listen]\nedge = \n[store]\nkind = @\n");
    let places: Vec<_> = told
        .iter()
        .filter_map(|fault| fault.split(':').next())
        .collect();
    assert_eq!(places, ["line 2", "line 4"], "{told:?}");
}

#[test]
fn a_secret_written_where_a_reference_belongs_is_not_repeated() {
    let told = faults(&format!("{PROVIDER}key = \"0123456789abcdef\"")).join("\n");
    assert!(
        told.contains("must refer to a secret") && !told.contains("0123456789"),
        "{told}"
    );
}

#[test]
fn the_environment_sets_every_key_and_wins_over_the_file() {
    let config = with_environment(
        FEED,
        &[
            ("PORTCULLIS__LISTEN__EDGE", "127.0.0.1:0"),
            ("PORTCULLIS__POLICY__MALICIOUS", "70"),
            (
                "PORTCULLIS__GUARD__PROTECT",
                "203.0.113.0/24, 2001:db8::/32",
            ),
            ("PORTCULLIS__GUARD__PERMIT_SPECIAL", "true"),
            ("PORTCULLIS__FEED__0__SCORE", "55"),
            ("PORTCULLIS__FEED__1__NAME", "second"),
            ("PORTCULLIS__FEED__1__PATH", "/second"),
            ("PORTCULLIS__FEED__1__FORMAT", "plain"),
            ("PORTCULLIS__FEED__1__BLOCK", "true"),
            ("PORTCULLIS__SECRET__KEY__FROM", "file"),
            ("PORTCULLIS__SECRET__KEY__NAME", "/run/secrets/key"),
            ("PORTCULLIS_TOKEN", "not a key of the configuration"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.edge.to_string(), "127.0.0.1:0");
    assert_eq!(config.policy, Policy::new(50, 70).unwrap());
    assert_eq!(config.guard.protect.len(), 2);
    assert!(config.guard.permit_special);
    assert!(matches!(
        config.feeds[0].role,
        FeedRole::Score {
            score: ListScore::Fixed(55),
            ..
        }
    ));
    assert_eq!(config.feeds[1].role, FeedRole::Block);
    assert_eq!(
        config.secrets["key"].origin,
        SecretOrigin::File("/run/secrets/key".into())
    );
}

#[test]
fn entries_from_the_environment_are_counted_as_numbers() {
    let variables: Vec<_> = (0..12)
        .flat_map(|at| {
            let key = |key| format!("PORTCULLIS__FEED__{at}__{key}");
            [
                (key("NAME"), format!("feed-{at}")),
                (key("PATH"), format!("/{at}")),
                (key("FORMAT"), "plain".to_owned()),
                (key("BLOCK"), "true".to_owned()),
            ]
        })
        .collect();
    let variables: Vec<_> = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let config = with_environment("", &variables).unwrap();
    let names: Vec<_> = config.feeds.iter().map(|feed| &feed.name).collect();
    let expected: Vec<_> = (0..12).map(|at| format!("feed-{at}")).collect();
    assert_eq!(names, expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_fault_in_the_environment_names_the_variable() {
    for (name, value, expected) in [
        (
            "PORTCULLIS__POLICY__MALICIOUS",
            "many",
            "`policy.malicious` from PORTCULLIS__POLICY__MALICIOUS: many must be a number from 1 to 100",
        ),
        (
            "PORTCULLIS__POLICY__MALICOUS",
            "70",
            "`policy.malicous` from PORTCULLIS__POLICY__MALICOUS: is not a key here: did you mean \
             malicious?",
        ),
        (
            "PORTCULLIS__FEED__7__SCORE",
            "70",
            "`feed.7.score` from PORTCULLIS__FEED__7__SCORE: names no key: write \
             PORTCULLIS__SECTION__KEY, and the number of an entry (from 0, without gaps) after a list",
        ),
    ] {
        let told = with_environment("", &[(name, value)])
            .unwrap_err()
            .to_string();
        assert_eq!(told, expected);
    }
}
