//! What is known of the store, in memory and on this machine's disk: it serves while Redis is away,
//! also after a restart, and gives back to a Redis that lost everything.
//!
//! Two files, each replaced in one step: the version with each snapshot, the words (decisions and modes)
//! a moment after they change.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reputation::manifest::SnapshotVersion;
use reputation::mode::ModeOverride;
use reputation::{Decision, UnixSeconds};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::codec;
use crate::store::{DecisionChange, Number, Step};
use crate::telemetry::chain;

pub struct Copy {
    directory: PathBuf,
    /// Of which store this is a copy.
    place: String,
    known: Mutex<Known>,
    /// The words on disk are not those in memory.
    changed: Notify,
    /// One writer at a time, so that the newest is written last.
    writing: Mutex<()>,
}

struct Known {
    version: SnapshotVersion,
    /// As Redis last numbered a snapshot of ours.
    taken_back: Option<u64>,
    words: Arc<Words>,
    unsaved: bool,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Words {
    decisions: Vec<Decision>,
    modes: Vec<ModeOverride>,
}

impl Words {
    /// Without what no sidecar can have written: a copy is read like any foreign input.
    fn checked(mut self) -> Self {
        let before = self.decisions.len();
        self.decisions.retain(codec::is_decision);
        let dropped = before - self.decisions.len();
        let modes = codec::are_modes(&self.modes);
        if !modes {
            self.modes.clear();
        }
        if dropped > 0 || !modes {
            tracing::warn!(
                dropped,
                modes,
                "something in the copy of what is in Redis is not what a sidecar keeps there: it is left out"
            );
        }
        self
    }
}

#[derive(Serialize, Deserialize)]
struct Placed<T> {
    place: String,
    #[serde(flatten)]
    content: T,
}

const VERSION_FILE: &str = "redis-version.json";
const WORDS_FILE: &str = "redis-words.json";
const OWNERS_FOLDER: u32 = 0o700;
const OWNER_ONLY: u32 = 0o600;
/// Before any real epoch, which is a time: a store that was never seen supersedes nothing.
const NOTHING: SnapshotVersion = SnapshotVersion {
    epoch: 1,
    version: 0,
};
/// How far ahead of our clock a copy's epoch may be, in seconds.
const SKEW: u64 = 2 * 86_400;

impl Copy {
    /// Reads the copy of the store at `place`, if there is one in `directory`, which is created. Blocks.
    pub fn open(directory: &Path, place: String, now: UnixSeconds) -> io::Result<Self> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(OWNERS_FOLDER)
            .create(directory)?;
        let version = read::<SnapshotVersion>(&directory.join(VERSION_FILE), &place);
        let version = version.filter(|it| it.epoch <= u64::from(now.0).saturating_add(SKEW));
        let words = read::<Words>(&directory.join(WORDS_FILE), &place);
        let words = words.unwrap_or_default().checked();
        Ok(Self {
            directory: directory.to_owned(),
            place,
            known: Mutex::new(Known {
                version: version.unwrap_or(NOTHING),
                taken_back: None,
                words: Arc::new(words),
                unsaved: false,
            }),
            changed: Notify::new(),
            writing: Mutex::new(()),
        })
    }

    /// The highest version that is known here.
    pub fn version(&self) -> SnapshotVersion {
        self.known().version
    }

    pub fn decisions(&self) -> Vec<Decision> {
        self.known().words.decisions.clone()
    }

    pub fn modes(&self) -> Vec<ModeOverride> {
        self.known().words.modes.clone()
    }

    /// Whether there are any decisions or modes.
    pub fn has_words(&self) -> bool {
        let words = Arc::clone(&self.known().words);
        !(words.decisions.is_empty() && words.modes.is_empty())
    }

    /// Somebody handed out `version`.
    pub fn note_version(&self, version: SnapshotVersion) {
        let mut known = self.known();
        known.version = known.version.max(version);
    }

    /// We were handed out `number`.
    pub fn note_number(&self, number: Number) {
        self.note_version(number.version);
        self.known().taken_back = Some(number.taken_back);
    }

    /// Counts on by itself: Redis cannot. Others do the same, so what is taken back is named by chance: it
    /// must not pass for what another took back at the same number.
    pub fn next_number(&self, step: Step) -> Number {
        let mut known = self.known();
        known.version.version = known.version.version.saturating_add(1);
        let version = known.version;
        let known_before = known.taken_back.filter(|_| step == Step::Adds);
        let taken_back =
            known_before.unwrap_or_else(|| getrandom::u64().unwrap_or(version.version));
        known.taken_back = Some(taken_back);
        Number {
            version,
            taken_back,
        }
    }

    pub fn set_decisions(&self, decisions: Vec<Decision>) {
        self.change(|words| words.decisions = decisions);
    }

    pub fn change_decisions(&self, change: DecisionChange) {
        self.change(|words| {
            let replaced = |old: &Decision| {
                change.delete.contains(&old.id) || change.put.iter().any(|new| new.id == old.id)
            };
            words.decisions.retain(|old| !replaced(old));
            words.decisions.extend(change.put.iter().cloned());
        });
    }

    pub fn set_modes(&self, modes: Vec<ModeOverride>) {
        self.change(|words| words.modes = modes);
    }

    /// Writes the version. Blocks. A disk that fails costs no more than the next degraded start.
    pub fn save_version(&self) {
        let _one = self.writing();
        let version = self.version();
        self.save(VERSION_FILE, version);
    }

    /// Resolves when there are words to be written.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes the words if they changed. Blocks.
    pub fn save_words(&self) {
        let _one = self.writing();
        let words = {
            let mut known = self.known();
            if !std::mem::take(&mut known.unsaved) {
                return;
            }
            Arc::clone(&known.words)
        };
        self.save(WORDS_FILE, words.as_ref());
    }

    fn change(&self, change: impl FnOnce(&mut Words)) {
        let mut known = self.known();
        change(Arc::make_mut(&mut known.words));
        known.unsaved = true;
        drop(known);
        self.changed.notify_one();
    }

    fn save(&self, name: &str, content: impl Serialize) {
        let path = self.directory.join(name);
        let fresh = path.with_extension("new");
        let place = self.place.clone();
        let write = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true);
            let file = options.mode(OWNER_ONLY).open(&fresh)?;
            // One that was left by a crash of an older version may have another.
            file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
            let mut file = io::BufWriter::new(file);
            serde_json::to_writer(&mut file, &Placed { place, content })?;
            file.flush()?;
            file.get_ref().sync_data()?;
            fs::rename(&fresh, &path)
        };
        if let Err(error) = write() {
            let (path, error) = (path.display(), chain(&error));
            tracing::warn!(%path, error, "the copy of what is in Redis is not written");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A copy that cannot be read, or that is of another store, is none.
fn read<T: DeserializeOwned>(path: &Path, place: &str) -> Option<T> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            let (path, error) = (path.display(), chain(&error));
            tracing::warn!(%path, error, "the copy of what is in Redis cannot be read");
            return None;
        }
    };
    match serde_json::from_slice::<Placed<T>>(&bytes) {
        Ok(read) => (read.place == place).then_some(read.content),
        Err(error) => {
            let (path, error) = (path.display(), chain(&error));
            tracing::warn!(%path, error, "the copy of what is in Redis is damaged");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reputation::DecisionId;

    use crate::store::suite::{CREATED, decision};

    #[test]
    fn a_copy_is_read_again_at_its_place_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let open = |place: &str| Copy::open(directory.path(), place.to_owned(), CREATED).unwrap();
        let copy = open("here");
        assert_eq!(copy.version(), NOTHING);
        let version = SnapshotVersion {
            epoch: 7,
            version: 3,
        };
        copy.note_version(version);
        copy.set_decisions(vec![
            decision(1, "203.0.113.0/24"),
            decision(2, "2001:db8::/48"),
        ]);
        copy.change_decisions(DecisionChange {
            put: vec![decision(3, "192.0.2.1")],
            delete: vec![DecisionId(1)],
        });
        copy.save_version();
        copy.save_words();
        let again = open("here");
        assert_eq!(
            (again.version(), again.decisions()),
            (version, copy.decisions())
        );
        assert_eq!(again.next_number(Step::Adds).version.version, 4);
        assert_eq!(open("elsewhere").version(), NOTHING);
        assert!(open("elsewhere").decisions().is_empty());
    }

    #[test]
    fn what_two_take_back_at_the_same_number_without_redis_is_not_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Copy::open(directory.path(), "here".to_owned(), CREATED).unwrap();
        let (one, other) = (open(), open());
        let [first, second] = [&one, &other].map(|copy| copy.next_number(Step::TakesBack));
        assert_eq!(first.version, second.version);
        assert_ne!(first.generation(), second.generation());
        let added = one.next_number(Step::Adds);
        assert_eq!(added.generation(), first.generation());
    }

    #[test]
    fn only_the_owner_reads_it_wherever_it_lies() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let left = directory.path().join("redis-words.new");
        fs::write(&left, "").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o644)).unwrap();
        let copy = Copy::open(directory.path(), "here".to_owned(), CREATED).unwrap();
        copy.set_decisions(vec![decision(1, "203.0.113.0/24")]);
        copy.save_words();
        copy.save_version();
        for name in [WORDS_FILE, VERSION_FILE] {
            let file = fs::metadata(directory.path().join(name)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, OWNER_ONLY, "{name}");
        }
    }

    #[test]
    fn a_damaged_copy_or_one_from_the_far_future_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write(
            VERSION_FILE,
            r#"{"place":"here","epoch":9999999999,"version":1}"#,
        );
        write(WORDS_FILE, r#"{"place":"here","decisions":[{}]}"#);
        let copy = Copy::open(directory.path(), "here".to_owned(), CREATED).unwrap();
        assert_eq!(copy.version(), NOTHING);
        assert!(copy.decisions().is_empty());
    }

    #[test]
    fn a_decision_in_the_copy_that_no_sidecar_gave_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Copy::open(directory.path(), "here".to_owned(), CREATED).unwrap();
        let good = decision(1, "203.0.113.0/24");
        let copy = open();
        copy.set_decisions(vec![good.clone(), decision(2, "0.0.0.0/0")]);
        copy.set_modes(serde_json::from_str(r#"[{"mode":"off","route":""}]"#).unwrap());
        copy.save_words();
        let again = open();
        assert_eq!(again.decisions(), [good]);
        assert!(again.modes().is_empty());
    }
}
