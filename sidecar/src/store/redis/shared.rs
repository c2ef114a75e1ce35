//! What the store's methods, the keeper and the readers work on together, and each step that one of them
//! takes in Redis.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::Pipeline;
use reputation::manifest::SnapshotVersion;
use tokio::sync::{Notify, watch};

use super::codec::{self, LONGEST_VERDICT};
use super::connect::{Connection, Endpoint};
use super::copy::Copy;
use super::fault::Fault;
use super::keys::Keys;
use super::link::Link;
use super::scripts::{Bearings, Entry, Scripts};
use crate::clock::{Clock, Day};
use crate::config::RedisConfig;
use crate::secrets::Secrets;
use crate::store::{
    Booking, Concern, DecisionChange, Number, Step, StoreError, StoredVerdict, VerdictKey, failed,
};
use crate::telemetry::{Sparing, chain};

pub struct Shared {
    pub link: Link,
    pub endpoint: Endpoint,
    pub scripts: Scripts,
    pub copy: Arc<Copy>,
    pub clock: Arc<dyn Clock>,
    /// Whether Redis was tried to be reached at all.
    pub tried: watch::Sender<bool>,
    pub changed: Notify,
    pub noted: Mutex<Noted>,
    pub foreign: Sparing,
    pub unnumbered: Sparing,
}

#[derive(Default)]
pub struct Noted {
    pub concerns: Vec<Concern>,
    /// The counter of changes as it was last seen.
    pub changes: Option<Vec<u8>>,
    /// Why decisions or modes cannot be read although Redis answers.
    pub unread: HashMap<Words, Unread>,
    /// Very wide decisions that do not say that they are meant.
    pub unforced: BTreeSet<String>,
    /// The highest counts of calls, so that a Redis that lost them does not refill a quota.
    pub booked: HashMap<String, (Day, u32)>,
}

/// Decisions or modes that cannot be read.
#[derive(Debug, Clone)]
pub struct Unread {
    pub why: String,
    /// The counter of changes while something else stood in their place, if that was ever so: nobody can
    /// write any as long as it does.
    pub replaced_at: Option<Vec<u8>>,
}

/// What is read from Redis as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Words {
    Decisions,
    Modes,
}

/// How long giving everything back to an empty Redis may take.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);

impl Shared {
    pub async fn new(
        config: &RedisConfig,
        directory: &Path,
        secrets: &Arc<Secrets>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        let place = config.to_string();
        let (path, now) = (directory.to_owned(), clock.now());
        let name = format!("{place} {}", config.namespace);
        let copy = tokio::task::spawn_blocking(move || Copy::open(&path, name, now)).await;
        let copy = copy.map_err(|error| failed("open", error))?;
        let copy = copy.map_err(|source| StoreError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let me = getrandom::u64().map_err(|_| failed("open", "there is no random number"))?;
        let endpoint = Endpoint::new(config.clone(), Arc::clone(secrets));
        let keys = Keys::new(&config.namespace);
        Ok(Self {
            link: Link::new(place, endpoint.caller.clone(), config.timeout),
            endpoint,
            scripts: Scripts::new(keys, format!("{me:016x}")),
            copy: Arc::new(copy),
            clock: Arc::clone(clock),
            tried: watch::Sender::new(false),
            changed: Notify::new(),
            noted: Mutex::default(),
            foreign: Sparing::once_a_minute(),
            unnumbered: Sparing::once_a_minute(),
        })
    }

    /// What is in force, for both sides: on a new connection, and when a Redis seems to have been
    /// emptied. One that has nothing at all has lost it, and gets it back.
    pub async fn settle(&self, connection: &Arc<Connection>) -> Result<(), Fault> {
        let keys = self.scripts.keys();
        let mut exist = redis::cmd("EXISTS");
        exist.arg(&[keys.decisions(), keys.modes(), keys.changes()]);
        let exists: u32 = self.link.ask_on(connection, exist).await?;
        let (mut decisions, mut modes) = (Vec::new(), Vec::new());
        if exists == 0 {
            for decision in self.copy.decisions() {
                let json = codec::write_decision(&decision);
                decisions.push((decision.id, json.map_err(unwritable)?));
            }
            let known = self.copy.modes();
            if !known.is_empty() {
                modes = serde_json::to_vec(&known).map_err(unwritable)?;
            }
        }
        let command = self.scripts.enter(self.bearings(), &decisions, &modes);
        let entering = self.link.ask_within(RESTORE_LIMIT, connection, command);
        let (epoch, version, was_empty): (u64, u64, bool) = entering.await?;
        self.copy.note_version(SnapshotVersion { epoch, version });
        if was_empty && !(decisions.is_empty() && modes.is_empty()) {
            let decisions = decisions.len();
            tracing::warn!(
                decisions,
                "Redis had lost everything: what is known here was given back to it"
            );
        }
        Ok(())
    }

    pub fn bearings(&self) -> Bearings {
        Bearings {
            known: self.copy.version(),
            now: self.clock.now(),
        }
    }

    /// The number of the next snapshot.
    pub async fn next(&self, step: Step) -> Result<Number, Fault> {
        let command = self.scripts.next(self.bearings(), step);
        let (epoch, version, taken_back) = self.link.ask(command).await?;
        let number = Number {
            version: SnapshotVersion { epoch, version },
            taken_back,
        };
        self.copy.note_number(number);
        Ok(number)
    }

    /// Opens an epoch of at least `at_least`; answers what is in force.
    pub async fn raise(&self, at_least: u64) -> Result<SnapshotVersion, Fault> {
        let was_known = self.copy.has_words();
        let command = self.scripts.raise(self.bearings(), at_least);
        let (epoch, version, count): (u64, u64, u64) = self.link.ask(command).await?;
        let version = SnapshotVersion { epoch, version };
        self.copy.note_version(version);
        if count == 1 && was_known {
            self.give_all_back().await;
        }
        Ok(version)
    }

    /// A script that answers epoch and version.
    pub async fn number(&self, command: redis::Cmd) -> Result<SnapshotVersion, Fault> {
        let (epoch, version) = self.link.ask(command).await?;
        let version = SnapshotVersion { epoch, version };
        self.copy.note_version(version);
        Ok(version)
    }

    pub async fn change_decisions(&self, change: DecisionChange) -> Result<(), Fault> {
        let was_known = self.copy.has_words();
        let command = self.scripts.change(&change).map_err(unwritable)?;
        let changes = self.link.ask(command).await;
        let key = self.scripts.keys().decisions();
        let count = changes.map_err(|fault| fault.at(key))?;
        self.note_own_change(count);
        self.copy.change_decisions(change);
        if count == 1 && was_known {
            self.give_all_back().await;
        }
        Ok(())
    }

    /// The first change that Redis counted, although there was something: it was emptied a moment ago,
    /// and others now read that change as all there is.
    pub async fn give_all_back(&self) {
        let change = DecisionChange {
            put: self.copy.decisions(),
            delete: Vec::new(),
        };
        let (decisions, modes) = (change.put.len(), self.copy.modes());
        let given = async {
            let command = self.scripts.change(&change).map_err(unwritable)?;
            let count = self.link.ask_patiently(RESTORE_LIMIT, command).await?;
            self.note_own_change(count);
            let command = self.scripts.put_modes(&modes).map_err(unwritable)?;
            let count = self.link.ask_patiently(RESTORE_LIMIT, command).await?;
            self.note_own_change(count);
            Ok::<_, Fault>(())
        };
        match given.await {
            Ok(()) => tracing::warn!(
                decisions,
                "Redis had lost everything: what is known here \
                was given back to it"
            ),
            Err(fault) => {
                let fault = chain(&fault);
                tracing::error!(fault, "decisions are in force here alone: Redis lost them");
            }
        }
    }

    pub async fn book(&self, provider: &str, day: Day, entry: Entry) -> Result<Booking, Fault> {
        let known = self.noted().booked.get(provider).copied();
        let known = known.map_or(0, |(last, count)| if last == day { count } else { 0 });
        let command = self.scripts.book(provider, day, known, entry);
        let answer = self.link.ask(command).await;
        let (count, is_booked): (u32, bool) =
            answer.map_err(|fault| fault.at(self.scripts.keys().quota(provider)))?;
        let mut noted = self.noted();
        let booked = noted.booked.entry(provider.to_owned()).or_insert((day, 0));
        *booked = match *booked {
            (last, before) if last == day => (day, before.max(count)),
            _ => (day, count),
        };
        Ok(if is_booked {
            Booking::Made(count)
        } else {
            Booking::Full(count)
        })
    }

    pub async fn verdicts(&self, keys: &[VerdictKey]) -> Result<Vec<Option<StoredVerdict>>, Fault> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // Not GET: a value that is not ours may be of any length.
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            let name = self.scripts.keys().verdict(key);
            commands
                .cmd("GETRANGE")
                .arg(name)
                .arg(0)
                .arg(LONGEST_VERDICT);
        }
        let mut answers = self.link.ask_all(&commands).await?;
        let now = self.clock.now();
        let read = keys.iter().map(|_| match answers.next::<Vec<u8>>() {
            Ok(bytes) if bytes.is_empty() => None,
            Ok(bytes) => codec::read_verdict(&bytes, now).or_else(|| {
                self.tell_foreign("a verdict");
                None
            }),
            Err(fault) => {
                self.tell_foreign(&chain(&fault.at("a verdict")));
                None
            }
        });
        Ok(read.collect())
    }

    /// Notes the counter of changes; tells whether it differs from what was seen before.
    pub fn note_changes(&self, changes: Vec<u8>) -> bool {
        let mut noted = self.noted();
        let differs = noted.changes.as_ref().is_some_and(|seen| *seen != changes);
        noted.changes = Some(changes);
        differs
    }

    /// A change of our own need not be read; but if another came between, the counter shows it.
    pub fn note_own_change(&self, count: u64) {
        let mut noted = self.noted();
        let before = count.saturating_sub(1).to_string();
        let seen = noted.changes.as_deref().unwrap_or_default();
        if seen == before.as_bytes() || (count == 1 && seen.is_empty()) {
            noted.changes = Some(count.to_string().into_bytes());
        }
    }

    pub fn set_concerns(&self, concerns: Vec<Concern>) {
        self.noted().concerns = concerns;
    }

    pub fn tell_foreign(&self, what: &str) {
        if self.foreign.is_due() {
            let place = self.link.place();
            tracing::warn!(
                what,
                place,
                "something in Redis is not what a sidecar keeps there: it is left out"
            );
        }
    }

    pub fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unwritable(error: serde_json::Error) -> Fault {
    Fault::Said(format!("it cannot be written as JSON: {error}"))
}
