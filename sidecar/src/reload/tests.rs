use reputation::Band;
use tempfile::TempDir;

use super::*;
use crate::intelligence::testing::{Harness, until};
use crate::telemetry::level::Wanted;

const LISTED: &str = "198.18.0.1";

/// A watch on a file in a folder of its own, and to what the log's level was set.
struct Watched {
    harness: Harness,
    watch: Arc<Watch>,
    folder: TempDir,
    levels: Arc<Mutex<Vec<Wanted>>>,
    _running: tokio::task::JoinSet<()>,
}

impl Watched {
    async fn start(toml: &str) -> Self {
        let harness = Harness::start_with(&[("list", LISTED)], toml).await;
        harness.published(|_| true).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portcullis.toml");
        std::fs::write(&path, harness.complete(toml)).unwrap();
        let config = Arc::new(Config::read(&path).unwrap());
        let clock = Arc::clone(&harness.clock) as Arc<dyn Clock>;
        let watch = Arc::new(Watch::new(&path, config, &clock, &harness.metrics));
        let levels = Arc::new(Mutex::new(Vec::new()));
        let setting = Arc::clone(&levels);
        let http = crate::http::HttpClient::new();
        let proxies = Proxies::new(&watch.config().envoy, http, clock);
        let followers = Followers {
            intelligence: Arc::clone(&harness.intelligence),
            proxies: Arc::new(proxies),
            level: Level::new(&watch.config().log, false, move |wanted| {
                setting.lock().unwrap().push(wanted);
            }),
        };
        let mut running = tokio::task::JoinSet::new();
        let watching = Arc::clone(&watch);
        running.spawn(async move { watching.run(&followers).await });
        Self {
            harness,
            watch,
            folder,
            levels,
            _running: running,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("portcullis.toml")
    }

    /// Writes `toml` and has it read.
    fn write(&self, toml: &str) {
        std::fs::write(self.path(), self.harness.complete(toml)).unwrap();
        self.watch.read_again();
    }

    fn metric(&self, line: &str) -> bool {
        let metrics = self.harness.metrics.encode().unwrap();
        metrics.lines().any(|found| found == line)
    }

    fn fault(&self) -> Option<String> {
        self.watch.status().fault
    }

    async fn refused(&self, why: &str) {
        until(|| self.fault().is_some_and(|fault| fault.contains(why))).await;
    }
}

const LIST: &str = "[guard]\npermit_special = true\n[[feed]]\nname = \"list\"\n\
    path = \"{dir}/list\"\nformat = \"plain\"\nblock = true\n";

#[tokio::test]
async fn a_faulty_file_changes_nothing_and_is_told_of_until_it_is_mended() {
    let watched = Watched::start(LIST).await;
    let begun = watched.watch.status();
    assert_eq!((begun.fault, begun.needs_restart), (None, Vec::new()));
    watched.harness.clock.advance(60);
    watched.write("[gaurd]\n[[feed]]\nname = 7\n");
    until(|| watched.fault().is_some()).await;
    let fault = watched.fault().unwrap();
    for part in [
        "portcullis.toml is faulty",
        "`gaurd` at line 1",
        "`feed[0].name` at line 3",
    ] {
        assert!(fault.contains(part), "{fault}");
    }
    assert!(watched.metric("portcullis_config_last_reload_successful 0"));
    assert_eq!(watched.watch.status().loaded_at, begun.loaded_at);
    assert_eq!(watched.watch.config().feeds.len(), 1);
    assert_eq!(watched.harness.listed(LISTED).as_deref(), Some("list"));

    watched.write(LIST);
    until(|| watched.fault().is_none()).await;
    until(|| watched.metric("portcullis_config_last_reload_successful 1")).await;
    let later = watched.watch.status().loaded_at;
    assert_eq!(begun.loaded_at.until(later), 60);
    let time = format!(
        "portcullis_config_last_reload_timestamp_seconds {}",
        later.0
    );
    assert!(watched.metric(&time));
}

#[tokio::test]
async fn a_good_file_is_taken_over_without_being_asked_to() {
    let watched = Watched::start(LIST).await;
    std::fs::write(
        watched.path(),
        watched
            .harness
            .complete("[guard]\npermit_special = true\n[log]\nlevel = \"warn\"\n"),
    )
    .unwrap();
    until(|| watched.watch.config().feeds.is_empty()).await;
    assert_eq!(watched.harness.listed(LISTED), None);
    assert_eq!(
        watched.levels.lock().unwrap().last(),
        Some(&Wanted::Usual(tracing::Level::WARN))
    );
}

#[tokio::test]
async fn an_emptied_file_does_not_end_all_protection() {
    let watched = Watched::start(LIST).await;
    std::fs::write(watched.path(), " \n").unwrap();
    watched.watch.read_again();
    watched.refused("is empty, and was not before").await;
    assert_eq!(watched.harness.listed(LISTED).as_deref(), Some("list"));
}

#[tokio::test]
async fn a_file_that_is_gone_with_its_folder_is_missed_and_found_again() {
    let watched = Watched::start(LIST).await;
    let moved = watched.folder.path().with_extension("moved");
    std::fs::rename(watched.folder.path(), &moved).unwrap();
    watched.watch.read_again();
    watched.refused("cannot be read: No such file").await;
    std::fs::rename(&moved, watched.folder.path()).unwrap();
    until(|| watched.fault().is_none()).await;
    assert_eq!(watched.harness.listed(LISTED).as_deref(), Some("list"));
}

#[tokio::test]
async fn listeners_and_the_store_wait_for_a_restart_and_the_rest_does_not() {
    let watched = Watched::start(LIST).await;
    watched.write("[listen]\nedge = \"127.0.0.1:1\"\n[policy]\nsuspicious = 40\n");
    until(|| !watched.watch.status().needs_restart.is_empty()).await;
    assert_eq!(watched.watch.status().needs_restart, ["listen.edge"]);
    let band = |config: Arc<Config>| config.policy.band(45);
    assert_eq!(band(watched.watch.config()), Band::Suspicious);
    assert_eq!(band(watched.watch.started()), Band::Clean);
    watched.write(LIST);
    until(|| watched.watch.status().needs_restart.is_empty()).await;
}

#[tokio::test]
async fn what_is_no_text_or_has_no_end_is_refused() {
    let watched = Watched::start(LIST).await;
    for (bytes, why) in [
        (vec![0xff, 0xfe], "cannot be read"),
        (vec![b'#'; 5_000_000], "is larger than"),
    ] {
        std::fs::write(watched.path(), bytes).unwrap();
        watched.watch.read_again();
        watched.refused(why).await;
    }
    assert_eq!(watched.harness.listed(LISTED).as_deref(), Some("list"));
}

#[tokio::test]
async fn a_pipe_in_place_of_the_file_is_refused_and_does_not_end_the_watch() {
    let watched = Watched::start(LIST).await;
    watched.write("[gaurd]\n");
    until(|| watched.fault().is_some()).await;
    std::fs::remove_file(watched.path()).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        watched.path(),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    watched.watch.read_again();
    watched.refused("is no file").await;
    std::fs::remove_file(watched.path()).unwrap();
    watched.write(LIST);
    until(|| watched.fault().is_none()).await;
}
