//! `doctor`: asks the sidecar, the proxies and the edge, all within ten seconds, and says what falls
//! short. Whoever does not answer is a finding. What a check means is in docs/doctor.md.
//!
//! The sidecar's own checks are `crate::doctor`'s; here are those that look from outside.

mod canary;
mod dump;
mod page;
mod proxy;
mod settings;

use std::io::IsTerminal;
use std::time::Duration;

use hyper::body::Bytes;
use reputation::mode::Mode;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::args::{Doctor, Remote};
use super::output::say;
use super::session::Session;
use super::{CliError, Exit};
use crate::clock::{Clock, SystemClock};
use crate::doctor::{Check, Examination, Finding, State};
use crate::patrol;
use crate::plain_http::{Answer, FetchError};
use crate::proxies::Stats;
use crate::telemetry::chain;
use canary::{CanaryFacts, Verdicts};
use dump::Dump;
use page::Paint;
use proxy::ProxyFacts;

pub use crate::plain_http::Url;

/// How long the sidecar may take to examine itself: its store may be slow.
const EXAMINATION: Duration = Duration::from_secs(4);
/// What the sidecar said of itself has reached every worker by then.
const SETTLED: Duration = Duration::from_millis(700);
/// What the proxies decided is counted by then, and a second has passed since the first reading.
const COUNTED: Duration = Duration::from_millis(400);

/// Groups of checks that the sidecar makes of itself.
const SIDECARS: [&str; 8] = [
    "secrets",
    "sidecar",
    "store",
    "feeds",
    "databases",
    "providers",
    "operator",
    "snapshot",
];

type Examined = Result<Examination, Finding>;

/// One proxy's statistics, twice.
struct Readings {
    url: Url,
    before: Result<Stats, FetchError>,
    after: Result<Stats, FetchError>,
}

/// Who was asked, and what came of it.
type Asked<T> = (Url, Result<T, FetchError>);

pub async fn run(doctor: &Doctor, remote: &Remote) -> Exit {
    let (page, short) = page(doctor, remote).await;
    say(&page);
    if short == 0 { Exit::Good } else { Exit::Failed }
}

/// The page, and how many checks fall short.
pub async fn page(doctor: &Doctor, remote: &Remote) -> (String, usize) {
    let mut findings = examine(doctor, remote).await;
    for finding in &mut findings {
        if doctor.accept.contains(&finding.check) && finding.state.falls_short() {
            finding.state = State::Note;
            finding.seen = format!("accepted: {}", finding.seen);
        }
    }
    findings.sort_by_key(|finding| finding.check);
    let short = page::short(&findings);
    let page = if remote.json {
        // Nothing in it can fail to be written.
        page::json(&findings).unwrap_or_default()
    } else {
        page::text(&findings, paint())
    };
    (page, short)
}

async fn examine(doctor: &Doctor, remote: &Remote) -> Vec<Finding> {
    let began = Instant::now();
    let dump = |url: Url| async move { url.or_path("/config_dump").get().await };
    let (examined, before, dumps) = tokio::join!(
        ask_sidecar(remote),
        ask_all(&doctor.stats, read),
        ask_all(&doctor.envoy_admin, dump),
    );
    sleep_until(began + SETTLED).await;
    let send = |url: Url| async move { patrol::send(&url, "portcullis-doctor").await };
    let answers = ask_all(&doctor.edge, send).await;
    sleep(COUNTED).await;
    let after = ask_all(&doctor.stats, read).await;
    let readings = before.into_iter().zip(after);
    let readings = readings.map(|((url, before), (_, after))| Readings { url, before, after });
    let readings: Vec<_> = readings.collect();

    let mut findings = of_proxies(&readings, &examined);
    findings.extend(of_edges(&answers, &readings, &examined));
    findings.extend(of_settings(&dumps));
    findings.extend(of_sidecar(examined));
    findings
}

async fn ask_sidecar(remote: &Remote) -> Examined {
    let check = Check::SidecarReachable;
    let asked = async { Session::new(remote)?.get::<Examination>("/v1/doctor").await };
    match timeout(EXAMINATION, asked).await {
        Ok(Ok(examination)) => Ok(examination),
        Ok(Err(error @ CliError::NoToken { .. })) => Err(Finding::attention(
            check,
            chain(&error),
            "run it as the sidecar's user, or see secrets.token in docs/doctor.md",
        )),
        Ok(Err(error)) => {
            let remedy =
                "while the sidecar is away proxies keep what they have: see why it is, by its log";
            Err(Finding::failing(check, chain(&error), remedy))
        }
        Err(_late) => {
            let seen = format!("the sidecar did not examine itself within {EXAMINATION:?}");
            Err(Finding::failing(
                check,
                seen,
                "see what its log says of the store",
            ))
        }
    }
}

fn of_sidecar(examined: Examined) -> Vec<Finding> {
    match examined {
        Ok(examination) => {
            let seen = format!("version {} answers", examination.version);
            let mut findings = vec![Finding::ok(Check::SidecarReachable, seen)];
            findings.extend(examination.findings);
            findings
        }
        Err(finding) => {
            let its_own = Check::ALL.iter().filter(|check| {
                SIDECARS.contains(&check.group()) && **check != Check::SidecarReachable
            });
            let skipped =
                its_own.map(|check| Finding::skipped(*check, "the sidecar was not asked"));
            std::iter::once(finding).chain(skipped).collect()
        }
    }
}

fn of_proxies(readings: &[Readings], examined: &Examined) -> Vec<Finding> {
    let several = readings.len() > 1;
    let of_one = |reading: &Readings| placed(reading.findings(examined), &reading.url, several);
    readings.iter().flat_map(of_one).collect()
}

fn of_edges(answers: &[Asked<Answer>], readings: &[Readings], examined: &Examined) -> Vec<Finding> {
    let verdicts = |stats: fn(&Readings) -> Option<Verdicts>| {
        readings.iter().filter_map(stats).reduce(Verdicts::plus)
    };
    let before = verdicts(|reading| Some(Verdicts::of(reading.before.as_ref().ok()?)));
    let after = verdicts(|reading| Some(Verdicts::of(reading.after.as_ref().ok()?)));
    let several = answers.len() > 1;
    let of_one = |(url, answer): &Asked<Answer>| {
        let facts = CanaryFacts {
            answer,
            before,
            after,
            hidden: is_hidden(examined),
            off: is_off(examined),
        };
        placed(canary::findings(url, &facts), url, several)
    };
    answers.iter().flat_map(of_one).collect()
}

fn of_settings(dumps: &[Asked<Bytes>]) -> Vec<Finding> {
    let several = dumps.len() > 1;
    let of_one = |(url, dump): &Asked<Bytes>| {
        let findings = match dump {
            Ok(bytes) => match Dump::parse(bytes) {
                Some(dump) => settings::findings(&dump),
                None => without_dump(&format!("{url} is no Envoy admin")),
            },
            Err(error) => without_dump(&chain(error)),
        };
        placed(findings, url, several)
    };
    dumps.iter().flat_map(of_one).collect()
}

/// Says of each finding whose it is, where several were asked.
fn placed(findings: impl IntoIterator<Item = Finding>, url: &Url, several: bool) -> Vec<Finding> {
    let place = |finding: Finding| match several {
        true => finding.at(url.to_string()),
        false => finding,
    };
    findings.into_iter().map(place).collect()
}

fn without_dump(why: &str) -> Vec<Finding> {
    let skipped = |check| Finding::skipped(check, why);
    settings::ALL.into_iter().map(skipped).collect()
}

impl Readings {
    fn findings(&self, examined: &Examined) -> Vec<Finding> {
        match (&self.before, &self.after) {
            (Ok(before), Ok(after)) => proxy::findings(&ProxyFacts {
                before,
                after,
                now: SystemClock.now().0.into(),
                published: examined
                    .as_ref()
                    .ok()
                    .and_then(|examination| examination.snapshot),
                off: is_off(examined),
            }),
            (Err(error), _) | (_, Err(error)) => Self::unread(chain(error)),
        }
    }

    fn unread(why: String) -> Vec<Finding> {
        let remedy = "is Envoy running, with the listener `stats`? Name another by --stats URL";
        let unread = Finding::attention(Check::EnvoyStats, why, remedy);
        let rest = proxy::NEED_STATISTICS.into_iter();
        let rest = rest.map(|check| Finding::skipped(check, "there are no statistics"));
        std::iter::once(unread).chain(rest).collect()
    }
}

async fn read(url: Url) -> Result<Stats, FetchError> {
    let body = url.or_path("/stats/prometheus").get().await?;
    Ok(Stats::parse(&String::from_utf8_lossy(&body)))
}

/// All at once: one that is silent does not delay another.
async fn ask_all<T, F>(urls: &[Url], ask: impl Fn(Url) -> F) -> Vec<Asked<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, FetchError>> + Send + 'static,
{
    let begin = |url: &Url| (url.clone(), tokio::spawn(ask(url.clone())));
    let tasks: Vec<_> = urls.iter().map(begin).collect();
    let mut asked = Vec::new();
    for (url, task) in tasks {
        let answer = task.await;
        let answer =
            answer.unwrap_or_else(|error| Err(FetchError::Broken(url.clone(), error.into())));
        asked.push((url, answer));
    }
    asked
}

fn is_off(examined: &Examined) -> bool {
    let modes = examined
        .as_ref()
        .map(|examination| examination.modes.as_slice());
    let mut modes = modes.unwrap_or_default().iter();
    modes.any(|mode| mode.mode == Mode::Off && mode.route.is_none())
}

fn is_hidden(examined: &Examined) -> bool {
    examined.as_ref().is_ok_and(|examination| {
        let mut canary = examination.findings.iter();
        canary.any(|finding| finding.check == Check::SnapshotCanary && finding.state.falls_short())
    })
}

fn paint() -> Paint {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && std::io::stdout().is_terminal() {
        Paint::Colours
    } else {
        Paint::Plain
    }
}
