use super::*;
use crate::config::Config;

fn read(arguments: &[&str]) -> Result<Cli, Exit> {
    let all = std::iter::once("portcullis").chain(arguments.iter().copied());
    Cli::read(all.map(OsString::from))
}

async fn run_with(arguments: &[&str]) -> Result<String, CliError> {
    let cli = read(arguments).unwrap();
    let Command::Task(task) = cli.command else {
        panic!("{arguments:?} serves")
    };
    text_of(&task, &cli.remote).await
}

#[test]
fn every_command_of_the_public_contract_is_understood() {
    for line in [
        "serve --config a.toml",
        "check-config a.toml",
        "check 203.0.113.7",
        "explain 2001:db8::1",
        "ban 203.0.113.7 --for 24h --reason scanner --force",
        "ban 203.0.113.0/24",
        "unban 203.0.113.7 --allow",
        "allow 203.0.113.7",
        "allow 203.0.113.7 --for 1h",
        "allow 10.0.0.0/8 --force",
        "unban 10.0.0.0/8 --allow --force",
        "unallow 203.0.113.7",
        "decisions --json",
        "feeds",
        "feeds release ipsum",
        "providers",
        "secrets",
        "secrets check --json",
        "mode",
        "mode off",
        "blocked",
        "blocked --most 5 --json",
        "history 203.0.113.7",
        "history 2001:db8::1 --since 30d --limit 10 --json",
        "log-level",
        "log-level debug --for 1h",
        "log-level --clear",
        "mode monitor --route checkout* --for 1h",
        "mode --clear",
        "mode --clear --route checkout*",
        "health",
        "health http://127.0.0.1:8972/livez --json",
        "snapshot inspect base.image",
        "doctor",
        "doctor --json --stats http://a:10002 --stats http://b:10002 --accept envoy.limits",
        "doctor --edge http://127.0.0.1:10000/checkout --envoy-admin http://127.0.0.1:9901",
        "decisions --admin unix:/run/admin.sock --token-file /run/token",
        "--admin http://127.0.0.1:9 decisions",
    ] {
        let arguments: Vec<_> = line.split(' ').collect();
        assert!(read(&arguments).is_ok(), "{line}");
    }
}

#[test]
fn wrong_usage_ends_with_64_and_help_with_0() {
    for line in [
        "",
        "serve",
        "frobnicate",
        "check 10.1",
        "check 203.0.113.0/24",
        "ban 10.1.2.3/8",
        "ban 192.0.2.1/33",
        "explain fe80::1%eth0",
        "unban 192.0.2.1:80",
        "ban 203.0.113.7 --for soon",
        "unban 203.0.113.7 --force",
        "mode loud",
        "mode off --clear",
        "mode --for 1h",
        "decisions --admin ftp://x",
        "doctor --stats https://a:10002",
        "doctor --accept envoy.unheard_of",
    ] {
        let arguments: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        assert_eq!(read(&arguments).err(), Some(Exit::Usage), "{line}");
    }
    assert_eq!(read(&["--help"]).err(), Some(Exit::Good));
    assert_eq!(read(&["--version"]).err(), Some(Exit::Good));
}

#[test]
fn a_bad_address_is_explained_in_the_same_words_everywhere() {
    let arguments = ["portcullis", "check", "192.0.2.01"];
    let printed = Cli::try_parse_from(arguments).unwrap_err().to_string();
    let error = reputation::ClientAddress::parse("192.0.2.01").unwrap_err();
    assert!(printed.contains(&error.to_string()), "{printed}");
}

#[tokio::test]
async fn a_faulty_configuration_ends_with_78_and_a_good_one_warns_of_missing_secrets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, "[listen]\negde = \"x\"").unwrap();
    let error = run_with(&["check-config", path]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Config);
    assert!(
        error.to_string().contains("`listen.egde` at line 2"),
        "{error}"
    );
    let secret = "[secret.key]\nfrom = \"env\"\nname = \"PORTCULLIS_TEST_UNSET\"";
    std::fs::write(path, secret).unwrap();
    let text = run_with(&["check-config", path]).await.unwrap();
    assert!(text.contains("is good: 0 feeds, 0 providers"), "{text}");
    assert!(
        text.contains("warning: secret key: the environment variable"),
        "{text}"
    );
    let text = run_with(&["check-config", path, "--json"]).await.unwrap();
    assert!(text.contains("\"good\":true"), "{text}");
    let missing = run_with(&["check-config", "/nonexistent/file"])
        .await
        .unwrap_err();
    assert_eq!(missing.exit(), Exit::Config);
}

#[tokio::test]
async fn a_snapshot_is_inspected_without_a_sidecar() {
    use reputation::set::{Basis, Class, ImageBuilder, Kind, Meta};
    let meta = Meta {
        kind: Kind::Base,
        version: "7.3".parse().unwrap(),
        built_at: reputation::UnixSeconds(1_800_000_000),
        valid_until: reputation::UnixSeconds(1_800_000_060),
    };
    let mut builder = ImageBuilder::new(meta);
    let class = builder.class(&Class {
        rank: reputation::Rank::HardSource,
        basis: Basis::Band(reputation::Band::Malicious),
        band: reputation::Band::Malicious,
        score: 100,
        reason: "ipsum".to_owned(),
    });
    builder.list("203.0.113.7".parse().unwrap(), class);
    builder.list("2001:db8::/32".parse().unwrap(), class);
    let image = builder.build().unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    std::fs::write(path, &image).unwrap();
    let text = run_with(&["snapshot", "inspect", path]).await.unwrap();
    assert!(
        text.contains("7.3") && text.contains("2027-01-15T08:00:00Z"),
        "{text}"
    );
    let text = run_with(&["snapshot", "inspect", path, "--json"])
        .await
        .unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&document["version"], &document["ranges_v6"]),
        (&"7.3".into(), &1.into())
    );
    assert_eq!(document["bytes"], image.len());
    std::fs::write(path, b"no image").unwrap();
    let error = run_with(&["snapshot", "inspect", path]).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Failed);
}

#[tokio::test]
async fn a_sidecar_that_is_down_and_a_missing_token_are_told_apart() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "token\n").unwrap();
    let token = token.path().to_str().unwrap();
    let nobody = [
        "--admin",
        "unix:/nonexistent/admin.sock",
        "decisions",
        "--token-file",
    ];
    let down = run_with(&[nobody.as_slice(), &[token]].concat())
        .await
        .unwrap_err();
    assert!(
        down.to_string().starts_with("no sidecar answers at unix:"),
        "{down}"
    );
    let untold = run_with(&[nobody.as_slice(), &["/nonexistent/token"]].concat())
        .await
        .unwrap_err();
    assert!(
        untold
            .to_string()
            .starts_with("no token: set PORTCULLIS_TOKEN"),
        "{untold}"
    );
}

#[test]
fn the_shipped_defaults_of_command_line_and_configuration_agree() {
    let cli = read(&["decisions"]).unwrap();
    let config = Config::parse("", std::iter::empty()).unwrap();
    assert_eq!(
        cli.remote.admin.to_string(),
        format!("http://{}", config.listen.admin)
    );
    let token = config.store.path.join(crate::api::token::FILE_NAME);
    assert_eq!(cli.remote.token_file, token);
}

#[tokio::test]
async fn where_nothing_runs_the_doctor_says_so_in_time_and_makes_no_crash_of_it() {
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "token\n").unwrap();
    let nobody = "http://127.0.0.1:1";
    let arguments = [
        "doctor", "--admin", nobody, "--stats", nobody, "--edge", nobody,
    ];
    let more = [
        "--envoy-admin",
        nobody,
        "--token-file",
        token.path().to_str().unwrap(),
    ];
    let began = std::time::Instant::now();
    let page = run_with(&[arguments.as_slice(), &more].concat())
        .await
        .unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
    for word in ["no sidecar answers at", "--stats URL", "--edge URL", "3 of"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let json = [arguments.as_slice(), &more, &["--json"]].concat();
    let json: serde_json::Value = serde_json::from_str(&run_with(&json).await.unwrap()).unwrap();
    let findings = json["findings"].as_array().unwrap();
    let named = |check: &crate::doctor::Check| {
        findings
            .iter()
            .filter(|finding| finding["check"] == check.name())
            .count()
    };
    for check in crate::doctor::Check::ALL {
        assert_eq!(named(check), 1, "{check}");
    }
    let accept = [arguments.as_slice(), &more, &["--accept", "edge.canary"]].concat();
    let page = run_with(&accept).await.unwrap();
    assert!(
        page.contains("2 of") && page.contains("accepted: "),
        "{page}"
    );
}

#[tokio::test]
async fn proxies_that_are_silent_are_not_waited_for_one_after_the_other() {
    // Accepts nobody: whoever connects waits.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let mut arguments = vec!["doctor", "--admin", &silent, "--token-file", "/dev/null"];
    for option in ["--stats", "--edge", "--envoy-admin"] {
        arguments.extend([option, &silent, option, &silent, option, &silent]);
    }
    let began = std::time::Instant::now();
    let page = run_with(&arguments).await.unwrap();
    assert!(
        began.elapsed() < std::time::Duration::from_secs(10),
        "{page}"
    );
}
