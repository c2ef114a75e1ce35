//! What is told of a panic: one line at level error, as everything else is. It says where, and what ends
//! by it: one connection or task, or on the main thread the process.
//!
//! Words that stand in the program are told. What was put together while it ran may quote anything, a
//! secret too, and is not: the place says enough.

use std::io::Write as _;
use std::panic::PanicHookInfo;

use serde_json::json;

const MAIN: &str = "main";
const WITHHELD: &str = "not told: it was put together at run time and may quote a secret";

/// From now on panics are told so, by the log or, where there is none, in its form on standard error.
pub fn tell() {
    std::panic::set_hook(Box::new(|panic| told(&Panic::of(panic))));
}

#[derive(Debug, PartialEq, Eq)]
struct Panic {
    place: String,
    said: &'static str,
    ends: &'static str,
}

impl Panic {
    fn of(panic: &PanicHookInfo<'_>) -> Self {
        let place = panic.location();
        let said = panic.payload().downcast_ref::<&'static str>();
        let on_main = std::thread::current().name() == Some(MAIN);
        Self {
            place: place.map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line())),
            said: said.copied().unwrap_or(WITHHELD),
            ends: if on_main {
                "the process"
            } else {
                "one connection or task: everything else goes on"
            },
        }
    }
}

fn told(panic: &Panic) {
    let Panic { place, said, ends } = panic;
    let what = "the program failed: please report this";
    if tracing::dispatcher::has_been_set() {
        return tracing::error!(place, said, ends, "{what}");
    }
    let line =
        json!({"level": "error", "message": what, "place": place, "said": said, "ends": ends});
    // Where standard error is gone there is nobody to tell.
    let _told = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use secrecy::{ExposeSecret, SecretString};
    use serde_json::Value;

    use crate::config::Config;
    use crate::secrets::Vault;
    use crate::telemetry::otlp::Export;
    use crate::telemetry::sentry::Reports;
    use crate::telemetry::{Metrics, log};

    const CHILD: &str = "PORTCULLIS_TEST_PANICS";
    const VALUE: &str = "canary-of-a-panic";
    const TEST: &str =
        "telemetry::panic::tests::a_panic_is_one_line_without_a_value_and_ends_one_task";

    /// What a process does that holds a secret and fails, in every way in which a panic can quote.
    #[tokio::main(flavor = "multi_thread", worker_threads = 1)]
    async fn fail() {
        let text = format!(
            "[listen]\nadmin_token = \"secret:key\"\n[secret.key]\nfrom = \"env\"\nname = {CHILD:?}"
        );
        let config = Config::parse(&text, std::iter::empty()).unwrap();
        super::tell();
        let _level = log::start(
            &config.log,
            &Metrics::new().into(),
            &Reports::default(),
            &Export::default(),
        );
        let secrets = Vault::in_memory().secrets(&config.secrets);
        let name = config.listen.admin_token.clone().unwrap();
        let value = secrets.get(&name).unwrap();
        let all = (config, secrets, value);
        let shown = format!("{all:?}");
        assert!(!shown.contains(VALUE));
        let exposed = all.2.expose_secret().to_owned();
        for task in [
            tokio::spawn(async move { panic!("{shown}") }),
            tokio::spawn(async move { panic!("{exposed}") }),
            tokio::spawn(async { VALUE.parse::<u8>().map_err(|_| VALUE).map(drop).unwrap() }),
            tokio::spawn(async { panic!("words of the program") }),
        ] {
            assert!(task.await.unwrap_err().is_panic());
        }
        let kept: SecretString = all.2;
        assert_eq!(kept.expose_secret(), VALUE);
        tracing::info!("it goes on");
    }

    #[test]
    fn a_panic_is_one_line_without_a_value_and_ends_one_task() {
        if std::env::var_os(CHILD).is_some() {
            return fail();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture", "--test-threads=1"]);
        let output = command.env(CHILD, VALUE).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(!log.contains(VALUE), "{log}");
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        let said: Vec<_> = lines
            .iter()
            .filter_map(|line| line["said"].as_str())
            .collect();
        let withheld = super::WITHHELD;
        assert_eq!(said, [withheld, withheld, withheld, "words of the program"]);
        for line in lines.iter().filter(|line| line["said"].is_string()) {
            assert!(
                line["place"].as_str().unwrap().contains("panic.rs:"),
                "{line}"
            );
            assert!(
                line["ends"]
                    .as_str()
                    .unwrap()
                    .starts_with("one connection or task")
            );
        }
        assert_eq!(lines.last().unwrap()["message"], "it goes on");
    }
}
