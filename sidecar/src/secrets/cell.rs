//! One secret's values and the way to them: read on this machine whenever they are used, asked for from
//! time to time elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use reputation::UnixSeconds;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::aws::Stage;
use super::held::{Held, Version};
use super::reading::{self, Reading, understand};
use super::vault::Shared;
use super::{Both, SecretError, SecretStatus};
use crate::chance::spread;
use crate::config::{Secret, SecretName};
use crate::telemetry::chain;

/// How often what is on this machine is looked at even if nobody uses it.
const LOCAL_LOOK: Duration = Duration::from_secs(10);
/// As long as a refused value stands in its place: a rotation is under way, or a hand is needed.
const REFUSED_LOOK: Duration = Duration::from_secs(15);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// AWS asks us to be slower.
const THROTTLED_PAUSE: Duration = Duration::from_secs(30);

/// Whose word an expiry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryBy {
    Secret,
    Configuration,
    /// Nobody's: it is the value's age that ends then.
    MaxAge,
}

pub struct Cell {
    name: SecretName,
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// One look at a time; who waits for it need not look again.
    looking: tokio::sync::Mutex<()>,
}

struct State {
    secret: Secret,
    held: Held,
    /// Why the last look found nothing.
    problem: Option<String>,
    /// When the last look began, and when the next is due.
    looked: Option<Instant>,
    due: Instant,
    failures: u32,
}

impl Cell {
    pub fn new(name: SecretName, secret: Secret, shared: Arc<Shared>) -> Self {
        Self {
            name,
            shared,
            state: Mutex::new(State {
                secret,
                held: Held::default(),
                problem: None,
                looked: None,
                due: Instant::now(),
                failures: 0,
            }),
            looking: tokio::sync::Mutex::default(),
        }
    }

    pub fn name(&self) -> &SecretName {
        &self.name
    }

    /// Whether `secret` is this one, perhaps on other terms.
    pub fn is_of(&self, name: &SecretName, secret: &Secret) -> bool {
        self.name == *name && self.state().secret.is_read_as(secret)
    }

    /// Goes on with other terms of the same place.
    pub fn follow(&self, secret: &Secret) {
        self.state().secret = secret.clone();
        self.show_expiry();
    }

    /// The value to use now. What was read before serves while its place is empty or far away.
    pub fn value(&self) -> Result<SecretString, SecretError> {
        let read = self.look_here();
        let state = self.state();
        let value = state.held.value(self.shared.clock.now());
        value.ok_or_else(|| self.without(read, &state))
    }

    /// What is in its place now, and for some minutes what was there before; nothing once it is gone.
    pub fn opening(&self) -> Result<Both, SecretError> {
        let read = self.look_here();
        if let Some(Err(error)) = read {
            return Err(error);
        }
        let state = self.state();
        let Some(current) = state.held.current() else {
            return Err(self.without(read, &state));
        };
        Ok(Both {
            current: current.reading.value.clone(),
            previous: state.held.handed_over(self.shared.clock.now()).cloned(),
        })
    }

    /// The values that may be in use.
    pub fn both(&self) -> Result<Both, SecretError> {
        let read = self.look_here();
        let state = self.state();
        let Some(current) = state.held.current() else {
            return Err(self.without(read, &state));
        };
        Ok(Both {
            current: current.reading.value.clone(),
            previous: state.held.previous(self.shared.clock.now()).cloned(),
        })
    }

    /// What else can be tried after `refused` was refused: its place is read again at once.
    pub async fn instead_of(self: &Arc<Self>, refused: &SecretString) -> Option<SecretString> {
        self.look().await;
        let now = self.shared.clock.now();
        {
            let mut state = self.state();
            let other = state.held.refused(refused, now);
            state.due = state.due.min(Instant::now() + REFUSED_LOOK);
            if other.is_some() {
                return other;
            }
        }
        let before = self.before().await.ok()?;
        let mut state = self.state();
        state.held.note_previous(before.value, now);
        state.held.refused(refused, now)
    }

    /// `value` was taken after another one was refused.
    pub fn taken(&self, value: &SecretString) {
        self.state().held.taken(value, self.shared.clock.now());
    }

    pub fn is_due(&self) -> bool {
        self.state().due <= Instant::now() && self.looking.try_lock().is_ok()
    }

    /// Whether anybody looked for it yet.
    pub fn was_looked_for(&self) -> bool {
        self.state().looked.is_some()
    }

    /// Reads what is in its place. Takes as long as AWS needs; ends even if nobody waits any more.
    pub async fn look(self: &Arc<Self>) {
        let cell = Arc::clone(self);
        let looking = tokio::spawn(async move { cell.look_once(Instant::now()).await });
        // It ends early only with the runtime.
        let _ended = looking.await;
    }

    pub fn status(&self) -> SecretStatus {
        let read = self.look_here();
        let state = self.state();
        let current = state.held.current();
        let expiry = current.map(|current| expiry(&state.secret, current));
        let failed = read.and_then(Result::err).map(|error| chain(&error));
        let not_yet = || {
            let lacks = current.is_none();
            lacks.then(|| chain(&self.without(None, &state)))
        };
        SecretStatus {
            name: self.name.clone(),
            origin: state.secret.origin.to_string(),
            available: current.is_some(),
            problem: failed.or_else(|| state.problem.clone()).or_else(not_yet),
            version: current.and_then(|current| current.reading.version.clone()),
            since: current.map(|current| current.since),
            expires: expiry.map(|(date, _)| date.to_string()),
            expires_by: expiry.map(|(_, by)| by),
            refused: state.held.is_refused(),
        }
    }

    async fn look_once(&self, asked: Instant) {
        let _one = self.looking.lock().await;
        if self.state().looked.is_some_and(|looked| looked >= asked) {
            return;
        }
        let began = Instant::now();
        let secret = self.state().secret.clone();
        let read = match reading::local(&self.name, &secret) {
            Some(read) => read,
            None => self.ask(&secret, Stage::Current).await,
        };
        match read {
            Ok(reading) => self.note(reading),
            Err(error) => self.note_failure(&secret, &error),
        }
        self.state().looked = Some(began);
    }

    async fn ask(&self, secret: &Secret, stage: Stage) -> Result<Reading, SecretError> {
        let found = self.shared.aws.read(&secret.origin, stage).await;
        let found = found.map_err(|source| SecretError::Aws {
            name: self.name.clone(),
            place: secret.origin.to_string(),
            source,
        })?;
        understand(&self.name, secret, &found.value, found.version)
    }

    /// The value before the current one, where its place remembers one.
    async fn before(&self) -> Result<Reading, SecretError> {
        let (secret, version) = {
            let state = self.state();
            let current = state.held.current();
            let version = current.and_then(|current| current.reading.version.clone());
            (state.secret.clone(), version)
        };
        self.ask(&secret, Stage::Before(version)).await
    }

    /// Reads it if it is on this machine.
    fn look_here(&self) -> Option<Result<(), SecretError>> {
        let secret = self.state().secret.clone();
        let read = reading::local(&self.name, &secret)?;
        Some(read.map(|reading| self.note(reading)))
    }

    fn note(&self, reading: Reading) {
        let now = self.shared.clock.now();
        let differs = self.state().held.differs(&reading);
        let since = self.shared.seen.since(&self.name, &reading.value, now);
        let mut state = self.state();
        let replaced = differs && state.held.current().is_some();
        let (secret, version) = (self.name.as_str(), reading.version.clone());
        state.held.note(reading, since, now);
        if replaced {
            tracing::info!(secret, version, "a secret has a new value");
        } else if state.problem.is_some() {
            tracing::info!(secret, "a secret can be read again");
        }
        state.problem = None;
        state.failures = 0;
        state.due = Instant::now() + pause(&state);
        drop(state);
        if differs {
            self.show_expiry();
        }
    }

    fn note_failure(&self, secret: &Secret, error: &SecretError) {
        let why = chain(error);
        let mut state = self.state();
        state.due = Instant::now() + pause_after(state.failures, error);
        state.failures = state.failures.saturating_add(1);
        let known = state.problem.as_ref() == Some(&why);
        if !known && !secret.origin.is_local() {
            tracing::warn!(why, "a secret cannot be read: what was read before serves");
        }
        state.problem = Some(why);
    }

    fn without(&self, read: Option<Result<(), SecretError>>, state: &State) -> SecretError {
        if let Some(Err(error)) = read {
            return error;
        }
        match &state.problem {
            Some(problem) => SecretError::AsBefore(problem.clone()),
            None => SecretError::NotYet {
                name: self.name.clone(),
                place: state.secret.origin.to_string(),
            },
        }
    }

    fn show_expiry(&self) {
        let state = self.state();
        let Some(current) = state.held.current() else {
            return;
        };
        let (date, _) = expiry(&state.secret, current);
        let midnight = date.to_zoned(TimeZone::UTC);
        let seconds = midnight.map_or(0, |midnight| midnight.timestamp().as_second());
        self.shared
            .metrics
            .secret_expiry(self.name.as_str(), seconds);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The secret's own word comes first: it changes with each rotation by itself.
fn expiry(secret: &Secret, current: &Version) -> (Date, ExpiryBy) {
    if let Some(date) = current.reading.expires {
        return (date, ExpiryBy::Secret);
    }
    if let Some(date) = secret.expires {
        return (date, ExpiryBy::Configuration);
    }
    let age = u32::try_from(secret.max_age.as_secs()).unwrap_or(u32::MAX);
    (day(current.since.plus(age)), ExpiryBy::MaxAge)
}

fn day(moment: UnixSeconds) -> Date {
    let moment = jiff::Timestamp::from_second(moment.0.into()).unwrap_or(jiff::Timestamp::MAX);
    moment.to_zoned(TimeZone::UTC).date()
}

fn pause(state: &State) -> Duration {
    let usual = if state.secret.origin.is_local() {
        LOCAL_LOOK
    } else {
        state.secret.refresh
    };
    let usual = spread(usual);
    if state.held.is_refused() {
        usual.min(REFUSED_LOOK)
    } else {
        usual
    }
}

fn pause_after(failures: u32, error: &SecretError) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.min(16)));
    let least = match error {
        SecretError::Aws { source, .. } if source.is_throttling() => THROTTLED_PAUSE,
        _ => FIRST_PAUSE,
    };
    spread(doubled.clamp(least, LONGEST_PAUSE))
}
