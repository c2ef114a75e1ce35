//! The copy of each stream's decisions on disk, so that a sidecar that starts while its Local API is away
//! enforces what it knew.
//!
//! One file per stream, beside the feeds' last good copies: a line of JSON that says whose it is and how old, then
//! a line per decision. It may be anybody's when it is read: what it holds is checked as an answer is, and a copy
//! that is not whole counts for nothing.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use reputation::{Cidr, DecisionId, UnixSeconds};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::batch::one_line;
use crate::config::{CrowdSec, FeedSource, Guard};
use crate::intelligence::feeds::guard::{Dropped, forbidden_to_list};
use crate::intelligence::feeds::place;
use crate::intelligence::prefixes::PrefixMapBuilder;
use crate::intelligence::words::{
    Entries, Phrase, PhraseNumber, Phrasebook, Strength, Word, Words,
};

/// The largest copy that is read, in bytes: some two million decisions.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
/// The longest line of a decision, in bytes.
const LONGEST_LINE: u64 = 1024;

/// Where the copies are.
#[derive(Debug)]
pub struct Copies {
    directory: PathBuf,
    /// One at a time: two of one name would write one file.
    writing: Mutex<()>,
}

/// What a copy holds that is still in force.
#[derive(Debug)]
pub struct Kept {
    pub entries: Arc<Entries>,
    /// When the Local API answered last.
    pub told: UnixSeconds,
    pub dropped: Dropped,
}

#[derive(Debug, Error)]
pub enum CopyError {
    #[error("the copy of the decisions {path} cannot be read")]
    Read { path: PathBuf, source: io::Error },
    #[error("the copy of the decisions {path} cannot be written")]
    Write { path: PathBuf, source: io::Error },
    #[error("the copy of the decisions {path} is damaged: line {line} is not what was written")]
    Damaged { path: PathBuf, line: usize },
}

#[derive(Serialize, Deserialize)]
struct Head {
    source: String,
    format: String,
    told: UnixSeconds,
    /// So that a copy that ends early is known.
    decisions: usize,
    /// Author and reason, which decisions refer to by their place here.
    phrases: Vec<(String, String)>,
}

/// Prefix, strength, when it was told first, its end, its id, its phrase.
#[derive(Serialize, Deserialize)]
struct Line(Cidr, Strength, UnixSeconds, UnixSeconds, DecisionId, usize);

const FORMAT: &str = "crowdsec-1";

impl Copies {
    /// Copies are kept in `feeds` under the store's directory.
    pub fn under(store: &Path) -> Self {
        Self {
            directory: store.join("feeds"),
            writing: Mutex::default(),
        }
    }

    /// What is kept of the Local API that `config` names; `None` if there is nothing. Blocks.
    pub fn load(
        &self,
        config: &CrowdSec,
        guard: &Guard,
        phrasebook: &Phrasebook,
        now: UnixSeconds,
    ) -> Result<Option<Kept>, CopyError> {
        let path = self.path(config);
        let unreadable = |source| CopyError::Read {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let damaged = |line| CopyError::Damaged {
            path: path.clone(),
            line,
        };
        let mut file = BufReader::new(file.take(MAX_BYTES));
        let mut line = Vec::new();
        file.read_until(b'\n', &mut line).map_err(unreadable)?;
        let head: Head = serde_json::from_slice(&line).map_err(|_| damaged(1))?;
        if head.source != source(config) || head.format != FORMAT {
            return Ok(None);
        }
        let mut reading = Reading::new(config, guard, phrasebook, &head.phrases, now);
        let mut count = 0;
        while read_line(&mut file, &mut line).map_err(unreadable)? {
            reading.take(&line).ok_or_else(|| damaged(count + 2))?;
            count += 1;
        }
        if count != head.decisions {
            return Err(damaged(count + 2));
        }
        Ok(Some(reading.finish(head.told)))
    }

    /// Replaces the copy in one step. Blocks.
    pub fn save(
        &self,
        config: &CrowdSec,
        words: &Words,
        told: UnixSeconds,
    ) -> Result<(), CopyError> {
        let path = self.path(config);
        let fresh = path.with_extension("new");
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let mut file = BufWriter::new(File::create(&fresh)?);
            write(&mut file, config, words, told)?;
            file.flush()?;
            file.get_ref().sync_all()?;
            fs::rename(&fresh, &path)
        };
        write().map_err(|source| CopyError::Write { path, source })
    }

    fn path(&self, config: &CrowdSec) -> PathBuf {
        self.directory.join(format!("{}.decisions", config.name))
    }
}

fn write(
    file: &mut impl Write,
    config: &CrowdSec,
    words: &Words,
    told: UnixSeconds,
) -> io::Result<()> {
    let (phrases, places) = phrases(words);
    let head = Head {
        source: source(config),
        format: FORMAT.to_owned(),
        told,
        decisions: words.entries.len(),
        phrases,
    };
    serde_json::to_writer(&mut *file, &head)?;
    file.write_all(b"\n")?;
    for (cidr, word) in words.entries.iter() {
        let phrase = places.get(&word.phrase).copied().unwrap_or_default();
        let Word {
            strength,
            seen,
            expires,
            id,
            ..
        } = word;
        let line = Line(cidr, strength, seen, expires, id, phrase);
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// The phrases that are used, and the place of each.
fn phrases(words: &Words) -> (Vec<(String, String)>, HashMap<PhraseNumber, usize>) {
    let (mut phrases, mut places) = (Vec::new(), HashMap::new());
    for (_, word) in words.entries.iter() {
        places.entry(word.phrase).or_insert_with(|| {
            let phrase = words.phrase(&word);
            let texts = phrase.map(|phrase| (phrase.author.clone(), phrase.reason.clone()));
            phrases.push(texts.unwrap_or_default());
            phrases.len() - 1
        });
    }
    (phrases, places)
}

/// The next line of a decision, or as much of it as one may be long: what is cut off is no JSON. False at the end.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    Ok(file.take(LONGEST_LINE).read_until(b'\n', line)? > 0)
}

/// Where the decisions are from: those of another API do not count.
fn source(config: &CrowdSec) -> String {
    place(&FeedSource::Url(config.url.clone()))
}

/// Takes line by line what may be taken.
struct Reading<'r> {
    guard: &'r Guard,
    now: UnixSeconds,
    phrases: Vec<PhraseNumber>,
    entries: PrefixMapBuilder<Word>,
    dropped: Dropped,
}

impl<'r> Reading<'r> {
    fn new(
        config: &CrowdSec,
        guard: &'r Guard,
        phrasebook: &Phrasebook,
        phrases: &[(String, String)],
        now: UnixSeconds,
    ) -> Self {
        let source: Arc<str> = Arc::from(config.name.as_str());
        let number = |(author, reason): &(String, String)| {
            phrasebook.number(Phrase {
                source: Arc::clone(&source),
                author: one_line(author),
                reason: one_line(reason),
            })
        };
        Self {
            guard,
            now,
            phrases: phrases.iter().map(number).collect(),
            entries: PrefixMapBuilder::new(),
            dropped: Dropped::default(),
        }
    }

    fn take(&mut self, line: &[u8]) -> Option<()> {
        let Line(cidr, strength, seen, expires, id, phrase) = serde_json::from_slice(line).ok()?;
        let word = Word {
            strength,
            // A clock that was wrong then must not make what is told now the older.
            seen: seen.min(self.now),
            expires,
            id,
            phrase: *self.phrases.get(phrase)?,
        };
        if !word.in_force(self.now) {
            return Some(());
        }
        match forbidden_to_list(cidr, self.guard, &mut self.dropped) {
            Some(count) => *count += 1,
            None => self.entries.push(cidr, word),
        }
        Some(())
    }

    fn finish(self, told: UnixSeconds) -> Kept {
        Kept {
            entries: Arc::new(self.entries.build()),
            told: told.min(self.now),
            dropped: self.dropped,
        }
    }
}
