//! The audit trail: what was ordered, when, by whom, from where. Each order is a line in the log, which
//! is what lasts; the newest are kept here and on the disk, to be shown and undone.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reputation::mode::Mode;
use reputation::{Cidr, Decision, DecisionId, DecisionKind, UnixSeconds};

use super::Operator;
use super::file::TrailFile;
use crate::clock::Clock;
use crate::telemetry::{Sparing, level};

pub struct Trail {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    complaints: Sparing,
}

/// One order.
#[derive(Debug)]
pub struct Entry {
    pub number: u64,
    pub at: UnixSeconds,
    pub operator: Operator,
    pub act: Act,
    /// It can be undone no more.
    pub settled: bool,
}

/// What was ordered, with what it takes to undo it.
#[derive(Debug, Clone)]
pub enum Act {
    SignedIn,
    SignedOut,
    Gave {
        decision: Box<Decision>,
        replaced: Arc<[Decision]>,
    },
    Imported {
        given: Arc<[DecisionId]>,
        replaced: Arc<[Decision]>,
    },
    TookBack {
        decisions: Arc<[Decision]>,
    },
    /// An order of before of which only the words are left.
    Past(String),
    SetMode {
        mode: Mode,
        route: Option<String>,
        for_s: Option<u64>,
    },
    ClearedModes {
        route: Option<String>,
    },
    Released {
        feed: String,
    },
    SetLogLevel {
        level: tracing::Level,
        for_s: Option<u64>,
    },
    ClearedLogLevel,
    Undid {
        number: u64,
    },
}

#[derive(Default)]
struct Kept {
    last: u64,
    /// The newest last.
    entries: VecDeque<Arc<Entry>>,
    /// None where the trail ends with the process.
    file: Option<TrailFile>,
}

pub const MOST: usize = 500;
/// Only so many of the newest can be undone: the older ones let go of the decisions that they hold.
const UNDOABLE: usize = 20;

impl Trail {
    /// Ends with the process.
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
            complaints: Sparing::once_a_minute(),
        }
    }

    /// Goes on where the one in `folder` ended. Where that cannot be read or written, it ends with the
    /// process: orders must be possible on a full disk too.
    pub fn open(folder: &Path, clock: Arc<dyn Clock>) -> Self {
        let trail = Self::in_memory(clock);
        match TrailFile::open(folder) {
            Ok((file, entries)) => {
                let mut kept = trail.kept();
                kept.last = entries.back().map_or(0, |entry| entry.number);
                kept.entries = entries;
                kept.file = Some(file);
            }
            Err(error) => {
                let folder = folder.display();
                tracing::error!(%folder, %error, "the trail is not kept: a restart will forget it");
            }
        }
        trail
    }

    /// The newest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.kept().entries.iter().rev().cloned().collect()
    }

    pub fn note(&self, operator: &Operator, act: Act) {
        let Operator {
            name,
            by,
            from,
            request_id,
        } = operator;
        let what = act.sentence();
        tracing::info!(author = name, by = by.name(), %from, request_id, what, "order");
        let mut kept = self.kept();
        kept.last += 1;
        let entry = Entry {
            number: kept.last,
            at: self.clock.now(),
            operator: operator.clone(),
            settled: !act.is_undoable(),
            act,
        };
        let entry = Arc::new(entry);
        kept.entries.push_back(Arc::clone(&entry));
        if kept.entries.len() > MOST {
            kept.entries.pop_front();
        }
        settle_old(&mut kept.entries);
        let Kept { entries, file, .. } = &mut *kept;
        self.written(file.as_mut().map(|file| file.add(&entry, entries)));
    }

    /// Takes the right to undo an order, which there is once.
    pub fn settle(&self, number: u64) -> Option<Arc<Entry>> {
        let mut kept = self.kept();
        let entry = kept.entries.iter_mut().find(|it| it.number == number)?;
        if entry.settled {
            return None;
        }
        let before = Arc::clone(entry);
        *entry = Arc::new(entry.settled());
        self.written(kept.file.as_mut().map(|file| file.settled(number, true)));
        Some(before)
    }

    /// Gives it back: the order was not undone after all.
    pub fn unsettle(&self, entry: Arc<Entry>) {
        let mut kept = self.kept();
        let number = entry.number;
        if let Some(place) = kept.entries.iter_mut().find(|it| it.number == number) {
            *place = entry;
        }
        self.written(kept.file.as_mut().map(|file| file.settled(number, false)));
    }

    /// What the disk does not take stays in memory and in the log.
    fn written(&self, written: Option<std::io::Result<()>>) {
        if let Some(Err(error)) = written
            && self.complaints.is_due()
        {
            tracing::error!(%error, "the trail cannot be written: a restart will forget what it says");
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what it would take to undo orders that are too long ago.
pub fn settle_old(entries: &mut VecDeque<Arc<Entry>>) {
    let open = entries.iter_mut().rev().filter(|it| !it.settled);
    for old in open.skip(UNDOABLE) {
        *old = Arc::new(old.settled());
    }
}

impl Entry {
    /// Without what it would take to undo it; what it says stays.
    fn settled(&self) -> Self {
        Self {
            number: self.number,
            at: self.at,
            operator: self.operator.clone(),
            act: Act::Past(self.act.sentence()),
            settled: true,
        }
    }
}

impl Act {
    /// For people and the log.
    pub fn sentence(&self) -> String {
        match self {
            Self::Past(sentence) => sentence.clone(),
            Self::SignedIn => "signed in".to_owned(),
            Self::SignedOut => "signed out".to_owned(),
            Self::Gave { decision, replaced } => {
                let again = if replaced.is_empty() { "" } else { " anew" };
                format!(
                    "{} {}{again}",
                    kind_done(decision.kind),
                    text_of(decision.cidr)
                )
            }
            Self::Imported { given, .. } => format!("imported {} decisions", given.len()),
            Self::TookBack { decisions } => match decisions.as_ref() {
                [one] => format!("took back the {} of {}", noun(one.kind), text_of(one.cidr)),
                many => format!("took back {} decisions", many.len()),
            },
            Self::SetMode { mode, route, for_s } => {
                let route = route.as_deref().unwrap_or("all routes");
                format!("set mode {} for {route}{}", mode.name(), spell(*for_s))
            }
            Self::ClearedModes { route: None } => "took back all modes".to_owned(),
            Self::ClearedModes { route: Some(route) } => format!("took back the mode of {route}"),
            Self::Released { feed } => format!("released feed {feed}"),
            Self::SetLogLevel { level, for_s } => {
                format!("set log level {}{}", level::name(*level), spell(*for_s))
            }
            Self::ClearedLogLevel => "took back the log level".to_owned(),
            Self::Undid { number } => format!("undid order {number}"),
        }
    }

    pub fn is_undoable(&self) -> bool {
        matches!(
            self,
            Self::Gave { .. } | Self::Imported { .. } | Self::TookBack { .. }
        )
    }
}

/// For how long.
fn spell(for_s: Option<u64>) -> String {
    let ttl = for_s.map(std::time::Duration::from_secs);
    ttl.map_or_else(String::new, |ttl| {
        format!(" for {}", crate::duration::show(ttl))
    })
}

/// As people write it: an address without its length.
pub fn text_of(cidr: Cidr) -> String {
    if cidr.is_host() {
        cidr.network().to_string()
    } else {
        cidr.to_string()
    }
}

/// What was done to a prefix.
pub fn kind_done(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Ban => "banned",
        DecisionKind::Throttle => "throttled",
        DecisionKind::Allow => "allowed",
    }
}

fn noun(kind: DecisionKind) -> &'static str {
    match kind {
        DecisionKind::Ban => "ban",
        DecisionKind::Throttle => "throttle",
        DecisionKind::Allow => "allow",
    }
}
