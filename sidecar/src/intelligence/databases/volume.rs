//! One file in MaxMind's format: checked whole before anybody reads in it, then kept in memory.
//!
//! Not mapped: a file that is cut short under a mapping ends the process.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::body::Bytes;
use maxminddb::{MaxMindDbError, Reader, WithinOptions};
use reputation::{Cidr, ClientAddress, UnixSeconds};
use thiserror::Error;

use super::record::Facts;
use super::tree;
use crate::config::{Database, DatabaseKind};
use crate::intelligence::feeds::FetchError;

/// The largest file that is read, in bytes: while a newer one takes its place, both are in memory.
pub const MAX_BYTES: usize = 512 * 1024 * 1024;
/// How far a file may be ahead of our clock.
const AHEAD: Duration = Duration::from_secs(86_400);
/// How many records are read as a check of whether they are what they are taken for.
const SAMPLES: usize = 1024;

pub struct Volume {
    reader: Reader<Bytes>,
    pub kind: DatabaseKind,
    pub built: UnixSeconds,
    /// Whether its records have flags.
    pub flags: bool,
}

/// Why a file is not taken.
#[derive(Debug, Error)]
pub enum Refusal {
    #[error(transparent)]
    Read(#[from] FetchError),
    #[error("{path} is no whole database in MaxMind's format")]
    Faulty {
        path: PathBuf,
        source: Box<MaxMindDbError>,
    },
    #[error(
        "{path} is a {given:?}, of which it is not known what its records are: say so with kind"
    )]
    Unknown { path: PathBuf, given: String },
    #[error("{path} is a {given:?}, and its records are not what kind {kind:?} has")]
    Records {
        path: PathBuf,
        given: String,
        kind: &'static str,
        source: Option<Box<MaxMindDbError>>,
    },
    #[error("{path} was built on {built}, which is still to come: is the clock right?")]
    Future { path: PathBuf, built: String },
    #[error(
        "{path} was built on {built}, before the one in force, of {in_force}: if that is meant, \
         restart the sidecar"
    )]
    Older {
        path: PathBuf,
        built: String,
        in_force: String,
    },
    #[error(
        "{path} is of the kind {given:?}, and the one in force is of the kind {in_force:?}: if that \
         is meant, restart the sidecar"
    )]
    Foreign {
        path: PathBuf,
        given: &'static str,
        in_force: &'static str,
    },
    #[error("{path} could not be checked to its end")]
    Unchecked {
        path: PathBuf,
        source: tokio::task::JoinError,
    },
}

impl Refusal {
    /// The metric's label.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Read(FetchError::TooLarge { .. }) => "too_large",
            Self::Read(_) => "unreadable",
            Self::Faulty { .. } => "faulty",
            Self::Unknown { .. } | Self::Records { .. } | Self::Foreign { .. } => "foreign",
            Self::Future { .. } => "future",
            Self::Older { .. } => "older",
            Self::Unchecked { .. } => "internal",
        }
    }
}

impl Volume {
    /// Walks through all of `bytes`. Blocks, for a moment per million networks.
    pub fn open(config: &Database, bytes: Bytes, now: UnixSeconds) -> Result<Self, Refusal> {
        let path = &config.path;
        let faulty = |error| Refusal::Faulty {
            path: path.clone(),
            source: Box::new(error),
        };
        let reader = Reader::from_source(bytes.clone()).map_err(faulty)?;
        if !tree::is_bounded(&bytes, reader.metadata()) {
            return Err(faulty(MaxMindDbError::invalid_database(
                "its tree has no end",
            )));
        }
        reader.verify().map_err(faulty)?;
        let built = built(&reader, path, now)?;
        let given = reader.metadata().database_type.clone();
        let kind = config.kind.or_else(|| kind_of(&given));
        let kind = kind.ok_or_else(|| Refusal::Unknown {
            path: path.clone(),
            given: given.clone(),
        })?;
        let records = |error: Option<_>| Refusal::Records {
            path: path.clone(),
            given: given.clone(),
            kind: kind.name(),
            source: error.map(Box::new),
        };
        let sampled = sample(&reader, kind).map_err(|error| records(Some(error)))?;
        let flags = sampled.iter().any(|facts| !facts.flags.is_empty());
        if sampled.iter().all(Facts::is_empty) {
            return Err(records(None));
        }
        Ok(Self {
            reader,
            kind,
            built,
            flags,
        })
    }

    /// Refuses to follow what is newer, or another thing altogether.
    pub fn may_follow(&self, before: &Self, path: &Path) -> Result<(), Refusal> {
        if self.kind != before.kind {
            return Err(Refusal::Foreign {
                path: path.to_owned(),
                given: self.kind.name(),
                in_force: before.kind.name(),
            });
        }
        if self.built < before.built {
            return Err(Refusal::Older {
                path: path.to_owned(),
                built: date(self.built.0.into()),
                in_force: date(before.built.0.into()),
            });
        }
        Ok(())
    }

    /// What it says of `address`, and for which network.
    pub fn find(&self, address: ClientAddress) -> Option<(Facts, Cidr)> {
        let found = self.reader.lookup(IpAddr::from(address)).ok()?;
        let facts = Facts::read(self.kind, &found).ok().flatten()?;
        let len = self.prefix_len(address)?;
        Some((facts, Cidr::new(address, len)?))
    }

    /// Whether it may say different things of addresses inside `network`.
    pub fn splits(&self, network: Cidr) -> bool {
        let len = self.prefix_len(network.network());
        len.is_some_and(|len| len > network.len())
    }

    /// Whether it has records for addresses of this version.
    pub fn covers(&self, address: ClientAddress) -> bool {
        address.is_v4() || self.reader.metadata().ip_version == 6
    }

    pub fn database_type(&self) -> &str {
        &self.reader.metadata().database_type
    }

    pub fn nodes(&self) -> u32 {
        self.reader.metadata().node_count
    }

    /// How long the prefix is that `address` is looked up under.
    fn prefix_len(&self, address: ClientAddress) -> Option<u8> {
        let found = self.reader.lookup(IpAddr::from(address)).ok()?;
        let network = found.network().ok()?;
        // What holds all of IPv4 may be given as a prefix of IPv6.
        let of_both = network.is_ipv4() == address.is_v4();
        Some(if of_both { network.prefix() } else { 0 })
    }
}

fn built(reader: &Reader<Bytes>, path: &Path, now: UnixSeconds) -> Result<UnixSeconds, Refusal> {
    let built = reader.metadata().build_epoch;
    if built > u64::from(now.0) + AHEAD.as_secs() {
        return Err(Refusal::Future {
            path: path.to_owned(),
            built: date(built),
        });
    }
    Ok(UnixSeconds::from_secs(built))
}

/// As the names that MaxMind and IPinfo, and others who write such files, give to theirs.
fn kind_of(database_type: &str) -> Option<DatabaseKind> {
    let given = database_type.to_ascii_lowercase();
    let has = |part: &str| given.contains(part);
    if given.starts_with("ipinfo") {
        Some(DatabaseKind::IpInfo)
    } else if has("anonymous") {
        Some(DatabaseKind::Anonymous)
    } else if has("-asn") || has("-isp") {
        Some(DatabaseKind::Asn)
    } else if has("-country") || has("-city") || has("-enterprise") {
        Some(DatabaseKind::Country)
    } else {
        None
    }
}

/// Records from all over the file.
fn sample(reader: &Reader<Bytes>, kind: DatabaseKind) -> Result<Vec<Facts>, MaxMindDbError> {
    let nodes = usize::try_from(reader.metadata().node_count).unwrap_or(usize::MAX);
    let networks = reader.networks(WithinOptions::default())?;
    let mut sampled = Vec::new();
    for network in networks.step_by(1 + nodes / SAMPLES) {
        sampled.extend(Facts::read(kind, &network?)?);
    }
    Ok(sampled)
}

fn date(seconds: u64) -> String {
    let timestamp = i64::try_from(seconds)
        .ok()
        .map(jiff::Timestamp::from_second);
    match timestamp {
        Some(Ok(timestamp)) => timestamp.strftime("%F").to_string(),
        _ => format!("second {seconds}"),
    }
}
