//! The formats of lists, one file each. Owns turning bytes into entries and naming what could not be
//! read; whether the result is taken is `guard`'s question.

mod abuseipdb;
mod allowlist;
mod ipsum;
mod json;
mod lines;
mod spamhaus;

use reputation::{Cidr, UnixSeconds};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{FeedFormat, ListScore};
use crate::intelligence::prefixes::{PrefixMap, PrefixMapBuilder};
use crate::strangers::plain;

/// What a feed lists: a score for each prefix.
pub type Listing = PrefixMap<u8>;

/// How many unreadable lines are kept for the status.
const FAULTS_KEPT: usize = 5;
/// How much of an unreadable line is kept.
const FAULT_TEXT: usize = 80;

/// A list that was read.
#[derive(Debug)]
pub struct Parsed {
    pub entries: PrefixMapBuilder<u8>,
    /// Lines (or rows) that hold data, readable or not.
    pub rows: usize,
    pub unreadable: usize,
    /// The first few unreadable ones.
    pub faults: Vec<LineFault>,
    /// The list itself says that it is meant to be empty.
    pub declared_empty: bool,
    /// When the first of its entries ends, if any does.
    pub first_end: Option<UnixSeconds>,
}

/// An unreadable line, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineFault {
    pub line: usize,
    pub text: String,
}

/// Why a list can't be used at all.
#[derive(Debug, Error)]
pub enum FormatError {
    #[error("it is not the JSON document that this format has: {0}")]
    Json(#[source] serde_json::Error),
    #[error("the source answered with an error in place of a list: {0}")]
    SourceError(String),
    #[error("it has no list at {0}")]
    NoList(String),
    #[error("its last line says {declared} records, but it has {found}: the list is cut off")]
    Records { declared: u64, found: usize },
    #[error("its metadata line is missing: the list is cut off, or it has another format")]
    NoMetadata,
}

/// The score of an entry whose list was to say one, but does not.
const UNSAID: u8 = 100;

/// Reads `bytes` as they are meant at `now`. Runs for as long as the list is long: not for an async thread.
pub fn parse(
    bytes: &[u8],
    format: &FeedFormat,
    score: ListScore,
    now: UnixSeconds,
) -> Result<Parsed, FormatError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let fixed = match score {
        ListScore::Fixed(score) => score,
        ListScore::PerEntry => UNSAID,
    };
    match format {
        FeedFormat::Plain | FeedFormat::Netset => Ok(lines::parse(bytes, fixed)),
        FeedFormat::Ipsum { min_count } => Ok(ipsum::parse(bytes, fixed, *min_count)),
        FeedFormat::SpamhausJson => spamhaus::parse(bytes, fixed),
        FeedFormat::AbuseIpdbJson => abuseipdb::parse(bytes, score),
        FeedFormat::CrowdSecAllowlistJson => allowlist::parse(bytes, fixed, now),
        FeedFormat::PrefixesJson => json::prefixes(bytes, fixed),
        FeedFormat::JsonAddresses { at } => json::addresses(bytes, at.as_str(), fixed),
    }
}

impl Parsed {
    fn new() -> Self {
        Self {
            entries: PrefixMapBuilder::new(),
            rows: 0,
            unreadable: 0,
            faults: Vec::new(),
            declared_empty: false,
            first_end: None,
        }
    }

    fn entry(&mut self, cidr: Cidr, score: u8) {
        self.rows += 1;
        self.entries.push(cidr, score);
    }

    fn fault(&mut self, line: usize, text: &[u8]) {
        self.rows += 1;
        self.unreadable += 1;
        if self.faults.len() < FAULTS_KEPT {
            // A line may be as long as the list; a character has at most four bytes. It reaches
            // terminals, where control characters would do more than show.
            let text = text.trim_ascii_start();
            let text = text.get(..4 * FAULT_TEXT).unwrap_or(text);
            let text = String::from_utf8_lossy(text);
            let text = plain(text.trim(), FAULT_TEXT);
            self.faults.push(LineFault { line, text });
        }
    }
}

/// Lines with their numbers from 1, whatever ends them: LF, CRLF, or CR alone in files without LF.
fn numbered_lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let end = if bytes.contains(&b'\n') { b'\n' } else { b'\r' };
    let lines = bytes.split(move |byte| *byte == end);
    lines.enumerate().map(|(index, line)| (index + 1, line))
}

/// The fields of a line without its comment, if anything is left of it.
fn fields(line: &[u8]) -> Option<Result<(&str, Option<&str>), ()>> {
    let end = line.iter().position(|byte| matches!(byte, b'#' | b';'));
    let data = line.get(..end.unwrap_or(line.len())).unwrap_or(line);
    let data = data.trim_ascii();
    if data.is_empty() {
        return None;
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return Some(Err(()));
    };
    let mut words = text.split_ascii_whitespace();
    let first = words.next()?;
    let second = words.next();
    Some(match words.next() {
        None => Ok((first, second)),
        Some(_) => Err(()),
    })
}
