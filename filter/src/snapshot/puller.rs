//! Brings snapshots from the sidecar into shared memory: the manifest by long poll, then the parts that
//! changed, one callout at a time, each checked before it is kept. Only the VM that holds the lease does
//! this; taking snapshots up from shared memory is the `loader`'s.

mod answer;
mod plan;

use std::collections::VecDeque;

use reputation::digest::Digest;
use reputation::manifest::{MAX_PART_BYTES, Manifest, ManifestError};

use self::answer::{Fault, body, call, status};
use self::plan::Part;
use super::keys::Keys;
use super::record::{self, Record};
use crate::cache::printable;
use crate::config::Sidecar;
use crate::host::{AnswerSize, Host, Token};
use crate::metrics::Refusal;
use crate::turn::Turn;

const WAIT_S: u32 = 25;
const POLL_TIMEOUT_MS: u32 = 30_000;
const PART_TIMEOUT_MS: u32 = 5_000;
/// A callout that was lost with its root is given up after this.
const LOST_MICROS: u64 = 35_000_000;
const MAX_MANIFEST_BYTES: usize = 512 * 1024;
const MAX_MESSAGE: usize = 300;
const FIRST_PAUSE_MICROS: u64 = 100_000;
const LONGEST_PAUSE_MICROS: u64 = 5_000_000;
/// How often one part is asked for where several sidecars answer in turn, of which one has it.
const PART_TRIES: u8 = 4;
/// How many polls in a row may end with a part that nobody has, until the pauses between them grow: it is
/// no fault of the sidecar's, but a broken one must not be hammered.
const PROMPT_POLLS: u8 = 8;

#[derive(Default)]
pub struct Puller {
    stage: Stage,
    not_before_micros: u64,
    pause_micros: u64,
    /// Polls in a row that ended with a part that nobody has.
    partless: u8,
    /// The fault last logged: a sidecar that is down for an hour gives one line, not thousands.
    logged: Option<String>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Idle,
    Polling {
        token: Token,
        since_micros: u64,
    },
    Fetching(Box<Fetch>),
}

struct Fetch {
    record: Record,
    /// What is still to fetch; the first of it is under way.
    todo: VecDeque<Part>,
    /// How often the first of it may still be asked for.
    tries: u8,
    token: Token,
    since_micros: u64,
}

/// What every step needs to know.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub keys: &'a Keys,
    pub sidecar: &'a Sidecar,
    pub now_micros: u64,
}

impl Puller {
    /// Starts the next poll when it is due. A VM without the lease drops what it was doing.
    pub fn on_tick<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>, leads: bool) {
        if !leads {
            self.stage = Stage::Idle;
            return;
        }
        let since = match &self.stage {
            Stage::Idle => None,
            Stage::Polling { since_micros, .. } => Some(*since_micros),
            Stage::Fetching(fetch) => Some(fetch.since_micros),
        };
        let lost = since.is_some_and(|since| place.now_micros.abs_diff(since) > LOST_MICROS);
        let idle = since.is_none() && place.now_micros >= self.not_before_micros;
        if idle || lost {
            self.poll(turn, place);
        }
    }

    pub fn owns(&self, token: Token) -> bool {
        match &self.stage {
            Stage::Idle => false,
            Stage::Polling { token: mine, .. } => *mine == token,
            Stage::Fetching(fetch) => fetch.token == token,
        }
    }

    /// Takes the answer to the callout under way.
    pub fn on_answer<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        size: AnswerSize,
    ) {
        let next = match std::mem::take(&mut self.stage) {
            Stage::Idle => return,
            Stage::Polling { .. } => self.take_manifest(turn, place, size),
            Stage::Fetching(fetch) => take_part(turn, place, size, *fetch),
        };
        match next {
            Ok(stage) => {
                if matches!(stage, Stage::Idle) {
                    (self.pause_micros, self.partless) = (0, 0);
                    self.logged = None;
                }
                self.stage = stage;
            }
            Err(fault) => self.back_off(turn, place, fault),
        }
    }

    fn poll<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>) {
        let current = record::read(turn.host, &place.keys.current);
        let after = current.map(|record| record.version()).unwrap_or_default();
        let path = format!("/v1/manifest?after={after}&wait_s={WAIT_S}");
        self.stage = match call(turn.host, place.sidecar, &path, POLL_TIMEOUT_MS) {
            Ok(token) => Stage::Polling {
                token,
                since_micros: place.now_micros,
            },
            Err(fault) => {
                self.back_off(turn, place, fault);
                Stage::Idle
            }
        };
    }

    fn take_manifest<H: Host>(
        &mut self,
        turn: &mut Turn<'_, H>,
        place: Place<'_>,
        size: AnswerSize,
    ) -> Result<Stage, Fault> {
        let status = status(turn.host, size)?;
        if status == "304" {
            return Ok(Stage::Idle);
        }
        let body = body(turn.host, size, &status, MAX_MANIFEST_BYTES)?;
        let manifest = Manifest::parse(&body).map_err(|error| {
            let cause = match error {
                ManifestError::Malformed(_) => Refusal::Malformed,
                ManifestError::Form(_) => Refusal::Wire,
                ManifestError::Parts { .. } => Refusal::Parts,
                ManifestError::Digest { .. } => Refusal::Digest,
            };
            Fault::Refused(cause, format!("the manifest was refused: {error}"))
        })?;
        let current = record::read(turn.host, &place.keys.current);
        plan::check(&manifest, current.as_ref(), turn.now)?;
        // The operator's modes hold at once, whatever becomes of the images: they are the kill switch.
        let modes = serde_json::to_vec(&manifest.modes).unwrap_or_default();
        let _written = turn.host.set_shared(&place.keys.modes, &modes, None);
        record::announce(turn.host, place.keys, turn.random);
        let (record, todo) = plan::plan(manifest, current.as_ref());
        spare_previous(turn.host, place.keys, &todo);
        advance(turn, place, record, todo)
    }

    fn back_off<H: Host>(&mut self, turn: &mut Turn<'_, H>, place: Place<'_>, fault: Fault) {
        let prompt = matches!(fault, Fault::NoSuchPart(_)) && self.partless < PROMPT_POLLS;
        // One failure between successes is no news: Envoy is still starting, or the sidecar restarts.
        let (message, is_news) = match fault {
            Fault::Sidecar(message) => (message, self.pause_micros > 0),
            Fault::NoSuchPart(message) => (message, !prompt),
            Fault::Refused(cause, message) => {
                turn.metrics.refused(cause);
                (message, true)
            }
        };
        // It may quote what the sidecar sent.
        let message = printable(&message, MAX_MESSAGE);
        if is_news && self.logged.as_ref() != Some(&message) {
            log::warn!(
                "portcullis: {message} (cluster {})",
                place.sidecar.poll_cluster
            );
            self.logged = Some(message);
        }
        self.partless = if prompt {
            self.partless.saturating_add(1)
        } else {
            self.partless
        };
        let longer = if prompt {
            0
        } else {
            self.pause_micros.saturating_mul(2)
        };
        self.pause_micros = longer.clamp(FIRST_PAUSE_MICROS, LONGEST_PAUSE_MICROS);
        // From half to the whole pause, so that a hundred proxies do not come back as one.
        let jitter = turn.random.draw() % (self.pause_micros / 2);
        let pause = self.pause_micros.saturating_sub(jitter);
        self.not_before_micros = place.now_micros.saturating_add(pause);
    }
}

/// The previous snapshot ends to be one when one of its places is about to be written over.
fn spare_previous<H: Host>(host: &H, keys: &Keys, todo: &VecDeque<Part>) {
    let previous = record::read(host, &keys.previous);
    let hit = |record: Record| todo.iter().any(|part| part.slot == record.slot(part.layer));
    if previous.is_some_and(hit) {
        record::erase(host, &keys.previous);
    }
}

/// Fetches the next part, or publishes the whole.
fn advance<H: Host>(
    turn: &mut Turn<'_, H>,
    place: Place<'_>,
    record: Record,
    todo: VecDeque<Part>,
) -> Result<Stage, Fault> {
    let Some(part) = todo.front() else {
        publish(turn, place, &record);
        return Ok(Stage::Idle);
    };
    let token = ask_for(turn, place, part)?;
    Ok(Stage::Fetching(Box::new(Fetch {
        record,
        todo,
        tries: PART_TRIES - 1,
        token,
        since_micros: place.now_micros,
    })))
}

fn ask_for<H: Host>(turn: &mut Turn<'_, H>, place: Place<'_>, part: &Part) -> Result<Token, Fault> {
    let path = format!("/v1/parts/{}", part.digest);
    call(turn.host, place.sidecar, &path, PART_TIMEOUT_MS)
}

fn take_part<H: Host>(
    turn: &mut Turn<'_, H>,
    place: Place<'_>,
    size: AnswerSize,
    mut fetch: Fetch,
) -> Result<Stage, Fault> {
    let status = status(turn.host, size)?;
    if status == "404" {
        return ask_again(turn, place, fetch);
    }
    let record = fetch.record;
    if let Some(part) = fetch.todo.pop_front() {
        let bytes = body(turn.host, size, &status, MAX_PART_BYTES)?;
        if bytes.len() != part.length || Digest::of(&bytes) != part.digest {
            let version = record.version();
            let message = format!(
                "snapshot {version} was refused: part {} is not it",
                part.digest
            );
            return Err(Fault::Refused(Refusal::Digest, message));
        }
        let key = place.keys.part(part.layer, part.slot, part.index);
        let _written = turn.host.set_shared(&key, &bytes, None);
    }
    advance(turn, place, record, fetch.todo)
}

/// The sidecar that answered has no such part, but it need not be the one that gave the manifest.
fn ask_again<H: Host>(
    turn: &mut Turn<'_, H>,
    place: Place<'_>,
    mut fetch: Fetch,
) -> Result<Stage, Fault> {
    let Some(part) = fetch.todo.front().filter(|_| fetch.tries > 0) else {
        let version = fetch.record.version();
        let message = format!(
            "snapshot {version} cannot be fetched: no sidecar that answers has all parts of it"
        );
        return Err(Fault::NoSuchPart(message));
    };
    fetch.token = ask_for(turn, place, part)?;
    fetch.since_micros = place.now_micros;
    fetch.tries -= 1;
    Ok(Stage::Fetching(Box::new(fetch)))
}

fn publish<H: Host>(turn: &mut Turn<'_, H>, place: Place<'_>, record: &Record) {
    if let Some(before) = record::read(turn.host, &place.keys.current) {
        // Another fetcher may have been faster; an older one never replaces a newer one.
        if before.version() >= record.version() {
            return;
        }
        record::write(turn.host, &place.keys.previous, &before);
    }
    record::write(turn.host, &place.keys.current, record);
    record::announce(turn.host, place.keys, turn.random);
}
