//! One database: its configuration, the volume in force, and what went wrong with the last one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use reputation::score::{Indicator, Stance};
use reputation::{Cidr, ClientAddress, UnixSeconds};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::record::Facts;
use super::volume::Volume;
use crate::config::{Database, Say};
use crate::intelligence::answers::Key;
use crate::intelligence::feeds::{Hearing, Stamp};

pub struct Slot {
    pub config: Arc<Database>,
    /// Ends the watch on the file.
    pub ended: CancellationToken,
    volume: ArcSwapOption<Volume>,
    state: Mutex<State>,
}

#[derive(Default, Clone)]
pub struct State {
    /// The file that was last looked into, taken or not.
    pub seen: Option<Stamp>,
    pub last_error: Option<String>,
}

/// What a database says of an address, and what that is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub facts: Facts,
    /// Of which network.
    pub network: Cidr,
    pub score: u8,
    /// What of it made the score: flags, systems, countries.
    pub because: Vec<String>,
    pub built: UnixSeconds,
}

/// What an operator is told about a database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DatabaseStatus {
    pub name: String,
    pub path: String,
    /// Absent as long as nothing is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force: Option<VolumeStatus>,
    /// Beyond this age it is out of date.
    pub max_age_s: u64,
    /// `shadow = true` is 0.
    #[serde(default)]
    pub enforce_percent: Say,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VolumeStatus {
    pub kind: String,
    /// As the file itself says.
    pub database_type: String,
    pub built: UnixSeconds,
    /// Since it was built.
    pub age_s: u32,
    /// Of its tree: a measure of how many networks it tells apart.
    pub nodes: u32,
    /// Whether anything that it says has a score; otherwise it only explains.
    pub scores: bool,
}

impl DatabaseStatus {
    /// Whether its file has not been read to the end for the first time.
    pub fn is_being_read(&self) -> bool {
        self.in_force.is_none() && self.last_error.is_none()
    }
}

impl Slot {
    pub fn new(config: Database, ended: CancellationToken) -> Self {
        Self {
            config: Arc::new(config),
            ended,
            volume: ArcSwapOption::empty(),
            state: Mutex::default(),
        }
    }

    /// Begins with what `forerunner` has, if that is the same file.
    pub fn inherit(&self, forerunner: &Self) {
        let (ours, theirs) = (&self.config, &forerunner.config);
        if (&ours.path, ours.kind) == (&theirs.path, theirs.kind) {
            // In this order: what is in force counts as seen a moment later, never before.
            let state = forerunner.state().clone();
            self.volume.store(forerunner.volume());
            *self.state() = state;
        }
    }

    pub fn volume(&self) -> Option<Arc<Volume>> {
        self.volume.load_full()
    }

    pub fn take(&self, volume: Volume) {
        self.volume.store(Some(Arc::new(volume)));
        self.state().last_error = None;
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anything that it says has a score.
    pub fn has_a_say(&self) -> bool {
        let scores = &self.config.scores;
        self.volume().is_some_and(|volume| {
            let mut written = scores.asn.values().chain(scores.country.values());
            let flags = match &scores.flags {
                Some(flags) => flags.values().any(|score| *score > 0),
                None => volume.flags,
            };
            flags || written.any(|score| *score > 0)
        })
    }

    /// Whether it has a say on the client that `address` is, or all are heard.
    pub fn is_heard(&self, address: ClientAddress, hearing: Hearing) -> bool {
        let client = Key::of(address).address();
        hearing == Hearing::All || self.config.say.covers(&self.config.name, client)
    }

    /// What it says of `address`, if it has a record.
    pub fn word(&self, address: ClientAddress) -> Option<Word> {
        let volume = self.volume()?;
        let (facts, network) = volume.find(address)?;
        let scores = &self.config.scores;
        let flags = facts.flags.iter();
        let mut worth: Vec<_> = flags
            .map(|flag| (flag.name().to_owned(), scores.flag(*flag)))
            .collect();
        let asn = facts
            .asn
            .and_then(|asn| Some((asn.to_string(), *scores.asn.get(&asn)?)));
        let country = facts.country;
        let country = country.and_then(|it| Some((it.to_string(), *scores.country.get(&it)?)));
        worth.extend(asn.into_iter().chain(country));
        worth.retain(|(_, score)| *score > 0);
        Some(Word {
            score: worth.iter().map(|(_, score)| *score).max().unwrap_or(0),
            because: worth.into_iter().map(|(what, _)| what).collect(),
            built: volume.built,
            facts,
            network,
        })
    }

    /// Its word in the arithmetic. What it does not list, it has nothing against.
    pub fn indicator(&self, address: ClientAddress) -> Option<Indicator> {
        self.volume().filter(|volume| volume.covers(address))?;
        let word = self.word(address);
        Some(word.map_or_else(
            || self.speak(0, Vec::new()),
            |word| self.indicator_of(&word),
        ))
    }

    pub fn indicator_of(&self, word: &Word) -> Indicator {
        self.speak(word.score, word.because.clone())
    }

    fn speak(&self, score: u8, categories: Vec<String>) -> Indicator {
        Indicator {
            source: self.config.name.clone(),
            family: self.config.family.clone(),
            score,
            stance: Stance::Rated,
            weight: self.config.weight,
            categories,
            // A file says what is so now: whoever makes it forgets, not we.
            observed: None,
            half_life: None,
            expires: None,
        }
    }

    pub fn status(&self, now: UnixSeconds) -> DatabaseStatus {
        let volume = self.volume();
        DatabaseStatus {
            name: self.config.name.clone(),
            path: self.config.path.display().to_string(),
            in_force: volume.map(|volume| VolumeStatus {
                kind: volume.kind.name().to_owned(),
                database_type: volume.database_type().to_owned(),
                built: volume.built,
                age_s: volume.built.until(now),
                nodes: volume.nodes(),
                scores: self.has_a_say(),
            }),
            max_age_s: self.config.max_age.as_secs(),
            enforce_percent: self.config.say,
            last_error: self.state().last_error.clone(),
        }
    }
}
