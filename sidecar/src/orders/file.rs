//! The trail on the disk, so that a restart forgets neither who ordered what nor how to undo it: one JSON
//! object a line, added to with each order, written anew from what is kept when it has grown.
//!
//! A file of this sidecar, beside the store: the trail is of what came here. A line is in the system's hands
//! when the order is noted; it survives the process, and not always a power cut.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reputation::{Decision, DecisionId, UnixSeconds};
use serde::{Deserialize, Serialize};

use super::trail::{Act, Entry, MOST, settle_old};
use super::{Operator, Way};
use crate::api::listener::Peer;

pub struct TrailFile {
    path: PathBuf,
    file: File,
    end: End,
    /// Since it was written anew.
    lines: usize,
    bytes: usize,
}

/// What the file ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Line,
    /// Perhaps a part of one, after which the disk was full.
    Part,
}

/// What a line says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Order(Box<Order>),
    /// The order with this number can be undone no more.
    Settled(u64),
    /// It can again: undoing it failed.
    Unsettled(u64),
}

#[derive(Serialize, Deserialize)]
struct Order {
    number: u64,
    at: UnixSeconds,
    name: String,
    by: Way,
    /// None: the Unix socket.
    from: Option<std::net::IpAddr>,
    request_id: String,
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo: Option<Undo>,
}

/// What it takes to undo it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Undo {
    Gave {
        decision: Box<Decision>,
        replaced: Vec<Decision>,
    },
    Imported {
        given: Vec<DecisionId>,
        replaced: Vec<Decision>,
    },
    TookBack {
        decisions: Vec<Decision>,
    },
}

const NAME: &str = "trail.jsonl";
/// When it has grown by so many lines or bytes it is written anew.
const GROWN_LINES: usize = 3 * MOST;
const GROWN_BYTES: usize = 64 * 1024 * 1024;
/// An order that takes more to undo is kept as words alone.
const MOST_UNDO: usize = 4 * 1024 * 1024;
/// Of the file: what is beyond was not written here.
const MOST_BYTES: u64 = 256 * 1024 * 1024;

impl TrailFile {
    /// Opens the file in `folder`, and reads what it has, the oldest first. What cannot be read in it is
    /// left out.
    pub fn open(folder: &Path) -> io::Result<(Self, VecDeque<Arc<Entry>>)> {
        let path = folder.join(NAME);
        let entries = read(&path)?;
        let mut file = Self {
            file: open(&path)?,
            path,
            end: End::Line,
            lines: 0,
            bytes: 0,
        };
        file.write_anew(&entries)?;
        Ok((file, entries))
    }

    /// Adds an order; `kept` is all of them, with it.
    pub fn add(&mut self, entry: &Entry, kept: &VecDeque<Arc<Entry>>) -> io::Result<()> {
        let is_long = self.lines >= GROWN_LINES || self.bytes >= GROWN_BYTES;
        // What was not written before is among those that are kept.
        if is_long || self.end == End::Part {
            return self.write_anew(kept);
        }
        self.write(&Line::Order(Box::new(Order::of(entry))))
    }

    pub fn settled(&mut self, number: u64, settled: bool) -> io::Result<()> {
        self.write(&match settled {
            true => Line::Settled(number),
            false => Line::Unsettled(number),
        })
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut bytes = bytes(line)?;
        if self.end == End::Part {
            // Glued to a part, this line could be read no more than that.
            bytes.insert(0, b'\n');
        }
        self.end = End::Part;
        self.file.write_all(&bytes)?;
        self.end = End::Line;
        self.lines += 1;
        self.bytes = self.bytes.saturating_add(bytes.len());
        Ok(())
    }

    /// In one step: a crash leaves the old file or the new one.
    fn write_anew(&mut self, kept: &VecDeque<Arc<Entry>>) -> io::Result<()> {
        let fresh = self.path.with_extension("new");
        // One that a crash left would be added to.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = open(&fresh)?;
        for entry in kept {
            file.write_all(&bytes(&Line::Order(Box::new(Order::of(entry))))?)?;
        }
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        self.file = file;
        self.end = End::Line;
        self.lines = 0;
        self.bytes = 0;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path)
}

fn bytes(line: &Line) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read(path: &Path) -> io::Result<VecDeque<Arc<Entry>>> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MOST_BYTES).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        Err(error) => return Err(error),
    };
    let (mut entries, mut faulty) = (VecDeque::<Arc<Entry>>::new(), 0_usize);
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|it| !it.is_empty())
    {
        match serde_json::from_slice(line) {
            Ok(Line::Order(order)) => {
                entries.push_back(Arc::new(order.into_entry()));
                settle_old(&mut entries);
            }
            Ok(Line::Settled(number)) => mark(&mut entries, number, true),
            Ok(Line::Unsettled(number)) => mark(&mut entries, number, false),
            Err(_) => faulty += 1,
        }
        if entries.len() > MOST {
            entries.pop_front();
        }
    }
    if faulty > 0 {
        let path = path.display();
        tracing::warn!(%path, faulty, "lines of the trail cannot be read, and are left out");
    }
    Ok(entries)
}

fn mark(entries: &mut VecDeque<Arc<Entry>>, number: u64, settled: bool) {
    let mut entries = entries.iter_mut();
    if let Some(entry) = entries.find(|entry| entry.number == number) {
        // What cannot be undone at all stays so.
        let settled = settled || !entry.act.is_undoable();
        *entry = Arc::new(Entry {
            number,
            at: entry.at,
            operator: entry.operator.clone(),
            act: entry.act.clone(),
            settled,
        });
    }
}

impl Order {
    fn of(entry: &Entry) -> Self {
        let Operator {
            name,
            by,
            from,
            request_id,
        } = &entry.operator;
        Self {
            number: entry.number,
            at: entry.at,
            name: name.clone(),
            by: *by,
            from: match from {
                Peer::Address(address) => Some(*address),
                Peer::Socket => None,
            },
            request_id: request_id.clone(),
            what: entry.act.sentence(),
            undo: match entry.settled {
                true => None,
                false => Undo::of(&entry.act),
            },
        }
    }

    fn into_entry(self) -> Entry {
        let act = match self.undo {
            None => Act::Past(self.what),
            Some(Undo::Gave { decision, replaced }) => Act::Gave {
                decision,
                replaced: replaced.into(),
            },
            Some(Undo::Imported { given, replaced }) => Act::Imported {
                given: given.into(),
                replaced: replaced.into(),
            },
            Some(Undo::TookBack { decisions }) => Act::TookBack {
                decisions: decisions.into(),
            },
        };
        Entry {
            number: self.number,
            at: self.at,
            operator: Operator {
                name: self.name,
                by: self.by,
                from: self.from.map_or(Peer::Socket, Peer::Address),
                request_id: self.request_id,
            },
            settled: !act.is_undoable(),
            act,
        }
    }
}

impl Undo {
    fn of(act: &Act) -> Option<Self> {
        let undo = match act {
            Act::Gave { decision, replaced } => Self::Gave {
                decision: decision.clone(),
                replaced: replaced.to_vec(),
            },
            Act::Imported { given, replaced } => Self::Imported {
                given: given.to_vec(),
                replaced: replaced.to_vec(),
            },
            Act::TookBack { decisions } => Self::TookBack {
                decisions: decisions.to_vec(),
            },
            _ => return None,
        };
        let length = serde_json::to_vec(&undo).map_or(usize::MAX, |bytes| bytes.len());
        (length <= MOST_UNDO).then_some(undo)
    }
}

#[cfg(test)]
mod tests {
    use std::io::PipeReader;
    use std::os::fd::OwnedFd;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;

    /// A disk that takes the beginning of a long line and then no more: a pipe that nobody empties.
    fn full_disk() -> (PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    fn order(number: u64, act: Act) -> Arc<Entry> {
        let operator = Operator {
            name: "ada".to_owned(),
            by: Way::Console,
            from: Peer::Socket,
            request_id: "id-7".to_owned(),
        };
        Arc::new(Entry {
            number,
            at: UnixSeconds(1_795_000_000),
            operator,
            settled: !act.is_undoable(),
            act,
        })
    }

    /// A trail with an order that can be undone, and behind it a part of one of which the rest had no room.
    fn with_a_part(folder: &Path) -> (TrailFile, VecDeque<Arc<Entry>>) {
        let (mut file, mut kept) = TrailFile::open(folder).unwrap();
        let id = "0d8a70cfa95060ac".parse().unwrap();
        kept.push_back(order(
            1,
            Act::Imported {
                given: [id].into(),
                replaced: [].into(),
            },
        ));
        file.add(&kept[0], &kept).unwrap();
        kept.push_back(order(2, Act::Past("x".repeat(200_000))));
        let (mut reader, full) = full_disk();
        let disk = std::mem::replace(&mut file.file, full);
        file.add(&kept[1], &kept).unwrap_err();
        file.file = disk;
        let mut part = Vec::new();
        reader.read_to_end(&mut part).unwrap();
        assert!(part.len() > 1000 && !part.ends_with(b"\n"));
        file.file.write_all(&part).unwrap();
        (file, kept)
    }

    fn read_again(folder: &Path) -> Vec<(u64, bool)> {
        let entries = TrailFile::open(folder).unwrap().1.into_iter();
        entries.map(|entry| (entry.number, entry.settled)).collect()
    }

    #[test]
    fn what_had_no_room_is_written_with_the_next_order() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, mut kept) = with_a_part(folder.path());
        kept.push_back(order(3, Act::Past("the next".to_owned())));
        file.add(&kept[2], &kept).unwrap();
        assert_eq!(
            read_again(folder.path()),
            [(1, false), (2, true), (3, true)]
        );
    }

    #[test]
    fn an_order_that_was_undone_after_half_a_line_stays_undone() {
        let folder = tempfile::tempdir().unwrap();
        let (mut file, _kept) = with_a_part(folder.path());
        file.settled(1, true).unwrap();
        assert_eq!(read_again(folder.path()), [(1, true)]);
    }
}
