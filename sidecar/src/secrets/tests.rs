use std::path::Path;

use reputation::UnixSeconds;
use secrecy::ExposeSecret;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::telemetry::{Metrics, chain};

const VALUE: &str = "s3cr3t-value";
const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

fn name() -> SecretName {
    SecretName::parse("key").unwrap()
}

fn table(lines: &str) -> BTreeMap<SecretName, Secret> {
    let text = format!("[secret.key]\n{lines}");
    Config::parse(&text, std::iter::empty()).unwrap().secrets
}

fn configured(lines: &str) -> Secrets {
    Secrets::new(table(lines))
}

fn file_lines(path: &Path, more: &str) -> String {
    format!("from = \"file\"\nname = {path:?}\n{more}")
}

fn in_file(path: &Path, more: &str) -> Secrets {
    configured(&file_lines(path, more))
}

fn value(text: &str) -> SecretString {
    SecretString::from(text)
}

fn shown(value: Option<SecretString>) -> Option<String> {
    value.map(|value| value.expose_secret().to_owned())
}

fn used(secrets: &Secrets) -> String {
    secrets.get(&name()).unwrap().expose_secret().to_owned()
}

#[test]
fn a_file_is_read_without_its_newline_and_read_again_when_replaced() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let secrets = in_file(file.path(), "");
    for (written, value) in [
        ("first\n", "first"),
        ("second\r\n", "second"),
        (" x ", " x "),
    ] {
        std::fs::write(file.path(), written).unwrap();
        assert_eq!(used(&secrets), value);
    }
}

/// As Kubernetes does it: the file is a link through a link that is swapped.
#[test]
fn a_link_that_is_swapped_leads_to_the_new_value() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for version in ["one", "two"] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("key"), version).unwrap();
    }
    symlink("one", at("..data")).unwrap();
    symlink("..data/key", at("key")).unwrap();
    let secrets = in_file(&at("key"), "");
    assert_eq!(used(&secrets), "one");
    symlink("two", at("..new")).unwrap();
    std::fs::rename(at("..new"), at("..data")).unwrap();
    assert_eq!(used(&secrets), "two");
}

#[test]
fn a_field_of_a_json_object_is_a_secret() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{{\"api_key\": {VALUE:?}, \"n\": 1}}")).unwrap();
    assert_eq!(used(&in_file(file.path(), "field = \"api_key\"")), VALUE);
    for field in ["other", "n"] {
        let secrets = in_file(file.path(), &format!("field = {field:?}"));
        let error = secrets.get(&name()).unwrap_err();
        assert!(
            chain(&error).contains(&format!("a text field {field:?}")),
            "{error}"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let unset = configured("from = \"env\"\nname = \"PORTCULLIS_TEST_UNSET\"");
    let message = chain(&unset.get(&name()).unwrap_err());
    assert_eq!(
        message,
        "secret key: the environment variable PORTCULLIS_TEST_UNSET is not set"
    );
    let missing = in_file("/nonexistent/key".as_ref(), "");
    let message = chain(&missing.get(&name()).unwrap_err());
    assert!(
        message.starts_with("secret key: /nonexistent/key cannot be read: "),
        "{message}"
    );
    let other = SecretName::parse("other").unwrap();
    assert!(chain(&unset.get(&other).unwrap_err()).contains("add [secret.other]"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    let message = chain(&in_file(empty.path(), "").get(&name()).unwrap_err());
    assert!(message.ends_with("is empty"), "{message}");
}

#[test]
fn a_file_that_is_being_written_does_not_cost_the_value() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first").unwrap();
    let secrets = in_file(file.path(), "");
    assert_eq!(used(&secrets), "first");
    std::fs::write(file.path(), "").unwrap();
    assert_eq!(used(&secrets), "first");
    let status = secrets.statuses().remove(0);
    assert!(status.available && status.problem.unwrap().contains("is empty"));
    assert!(secrets.opening(&name()).is_err());
}

#[tokio::test]
async fn both_values_of_a_rotation_can_be_tried() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old").unwrap();
    let secrets = in_file(file.path(), "");
    let refused = secrets.get(&name()).unwrap();
    assert_eq!(shown(secrets.instead_of(&name(), &refused).await), None);
    std::fs::write(file.path(), "new").unwrap();
    let other = secrets.instead_of(&name(), &refused).await;
    assert_eq!(shown(other).as_deref(), Some("new"));
    // Whoever it is for does not take the new one yet.
    let other = secrets.instead_of(&name(), &value("new")).await;
    assert_eq!(shown(other).as_deref(), Some("old"));
    secrets.taken(&name(), &value("old"));
    assert_eq!(used(&secrets), "old");
    assert!(secrets.statuses().remove(0).refused);
    let opening = secrets.opening(&name()).unwrap();
    assert_eq!(opening.current.expose_secret(), "new");
}

#[test]
fn another_configuration_goes_on_with_the_values_of_the_same_places() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first").unwrap();
    let vault = Vault::in_memory();
    let before = vault.secrets(&table(&file_lines(file.path(), "")));
    assert_eq!(used(&before), "first");
    std::fs::write(file.path(), "").unwrap();
    let after = vault.secrets(&table(&file_lines(file.path(), "expires = \"2027-03-01\"")));
    assert_eq!(used(&after), "first");
    let elsewhere = vault.secrets(&table(&file_lines("/nonexistent".as_ref(), "")));
    assert!(elsewhere.get(&name()).is_err());
}

#[test]
fn a_secret_expires_by_its_own_word_by_the_configuration_or_by_its_age() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let clock = std::sync::Arc::new(ManualClock::at(NOW));
    let shown: Arc<dyn Clock> = clock.clone();
    let metrics = Arc::new(Metrics::new());
    let expiry = |more: &str| {
        let vault = Vault::open(folder.path(), &shown, &metrics);
        let secrets = vault.secrets(&table(&file_lines(&file, more)));
        let status = secrets.statuses().remove(0);
        (status.expires.unwrap(), status.expires_by.unwrap())
    };
    std::fs::write(&file, VALUE).unwrap();
    let by_age = ("2027-02-16".to_owned(), ExpiryBy::MaxAge);
    assert_eq!(expiry(""), by_age);
    clock.advance(86_400);
    assert_eq!(expiry(""), by_age, "its age survives a restart");
    assert_eq!(expiry("max_age = \"30d\"").0, "2026-12-18");
    let configured = expiry("expires = \"2027-03-01\"");
    assert_eq!(configured, ("2027-03-01".into(), ExpiryBy::Configuration));
    std::fs::write(
        &file,
        "{\"k\": \"a\", \"expires\": \"2027-05-06T07:00:00Z\"}",
    )
    .unwrap();
    let own = expiry("field = \"k\"\nexpires = \"2027-03-01\"");
    assert_eq!(own, ("2027-05-06".into(), ExpiryBy::Secret));
    let line = "portcullis_secret_expiry_timestamp_seconds{secret=\"key\"} 1809561600";
    let text = metrics.encode().unwrap();
    assert!(text.contains(line), "{text}");
}

#[test]
fn no_error_status_or_debug_print_shows_a_value() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), VALUE).unwrap();
    let broken = in_file(file.path(), "field = \"api_key\"");
    let error = broken.get(&name()).unwrap_err();
    let good = in_file(file.path(), "");
    let value = good.get(&name()).unwrap();
    let statuses = (broken.statuses(), good.statuses());
    let shown = format!(
        "{error:?} {} {statuses:?} {value:?} {good:?}",
        chain(&error)
    );
    assert!(!shown.contains(VALUE), "{shown}");
    assert!(statuses.1.first().unwrap().available && !statuses.0.first().unwrap().available);
}
