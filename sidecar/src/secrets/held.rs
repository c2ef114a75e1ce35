//! The values of one secret that may be in use: the current one, and the one before it for as long as a
//! rotation can take. Pure state: time is passed in, nothing here reads or waits.
//!
//! A rotation is two changes that never happen at the same moment: the place gets the new value, and
//! whoever checks it stops taking the old one. Whichever comes first, one of the two values works.

use reputation::UnixSeconds;
use secrecy::{ExposeSecret, SecretString};

use super::reading::Reading;

/// How long the value before is kept after the current one was first read, in seconds.
pub const OVERLAP: u32 = 24 * 3600;
/// How long the value before still opens what we guard ourselves, in seconds.
pub const HANDOVER: u32 = 300;
/// How long the value before is tried first after the current one was refused and it was not, in
/// seconds.
pub const PREFERRED: u32 = 300;

#[derive(Debug, Default)]
pub struct Held {
    current: Option<Version>,
    previous: Option<SecretString>,
    /// When the previous one is forgotten; zero for what is over, as below.
    previous_until: u32,
    /// Until when the previous one is used first: the current one is not taken yet.
    behind_until: u32,
    /// Somebody refused the current one, and nobody took it since.
    refused: bool,
}

/// A value that is in its place now.
#[derive(Debug, Clone)]
pub struct Version {
    pub reading: Reading,
    /// When we first saw it.
    pub since: UnixSeconds,
}

impl Held {
    pub fn current(&self) -> Option<&Version> {
        self.current.as_ref()
    }

    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// The value to use now.
    pub fn value(&self, now: UnixSeconds) -> Option<SecretString> {
        let behind = now.0 < self.behind_until;
        let previous = self.previous(now).filter(|_| behind);
        let current = || Some(&self.current.as_ref()?.reading.value);
        previous.or_else(current).cloned()
    }

    pub fn previous(&self, now: UnixSeconds) -> Option<&SecretString> {
        self.previous
            .as_ref()
            .filter(|_| now.0 < self.previous_until)
    }

    /// The value before, as long as whoever comes with it may not have heard of the current one.
    pub fn handed_over(&self, now: UnixSeconds) -> Option<&SecretString> {
        let until = self.previous_until.saturating_sub(OVERLAP - HANDOVER);
        self.previous.as_ref().filter(|_| now.0 < until)
    }

    /// Whether `reading` is another value than the current one.
    pub fn differs(&self, reading: &Reading) -> bool {
        let current = self.current.as_ref();
        !current.is_some_and(|current| same(&current.reading.value, &reading.value))
    }

    /// What is in its place was read.
    pub fn note(&mut self, reading: Reading, since: UnixSeconds, now: UnixSeconds) {
        if !self.differs(&reading) {
            self.current = Some(Version { reading, since });
            return self.forget(now);
        }
        let before = self.current.replace(Version { reading, since });
        if let Some(before) = before {
            self.note_previous(before.reading.value, now);
        }
        self.behind_until = 0;
        self.refused = false;
    }

    /// The value before the current one, from whoever remembers it.
    pub fn note_previous(&mut self, value: SecretString, now: UnixSeconds) {
        self.previous = Some(value);
        self.previous_until = now.0.saturating_add(OVERLAP);
    }

    /// `value` was refused. What else may be tried, if there is something.
    pub fn refused(&mut self, value: &SecretString, now: UnixSeconds) -> Option<SecretString> {
        let current = &self.current.as_ref()?.reading.value;
        if !same(current, value) {
            self.behind_until = 0;
            return Some(current.clone());
        }
        self.refused = true;
        let previous = self.previous(now).filter(|it| !same(it, value));
        previous.cloned()
    }

    /// `value` was taken after another one was refused.
    pub fn taken(&mut self, value: &SecretString, now: UnixSeconds) {
        let is = |held: Option<&SecretString>| held.is_some_and(|held| same(held, value));
        if is(self.current.as_ref().map(|current| &current.reading.value)) {
            self.refused = false;
            self.behind_until = 0;
        } else if is(self.previous(now)) {
            self.behind_until = now.0.saturating_add(PREFERRED);
        }
    }

    fn forget(&mut self, now: UnixSeconds) {
        if self.previous(now).is_none() {
            self.previous = None;
        }
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn value(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn reading(text: &str) -> Reading {
        Reading {
            value: value(text),
            version: None,
            expires: None,
        }
    }

    fn rotated() -> Held {
        let mut held = Held::default();
        held.note(reading("old"), NOW, NOW);
        held.note(reading("new"), NOW, NOW);
        held
    }

    fn used(held: &Held, now: UnixSeconds) -> String {
        held.value(now).unwrap().expose_secret().to_owned()
    }

    fn other(held: &mut Held, refused: &str, now: UnixSeconds) -> Option<String> {
        let other = held.refused(&value(refused), now);
        other.map(|other| other.expose_secret().to_owned())
    }

    #[test]
    fn after_a_rotation_the_new_value_is_used_and_the_old_one_is_at_hand() {
        let mut held = rotated();
        assert_eq!(used(&held, NOW), "new");
        assert_eq!(other(&mut held, "new", NOW).as_deref(), Some("old"));
        // Who still held the old one is told the new one.
        assert_eq!(other(&mut held, "old", NOW).as_deref(), Some("new"));
    }

    #[test]
    fn a_new_value_that_is_not_taken_yet_waits_behind_the_old_one() {
        let mut held = rotated();
        other(&mut held, "new", NOW);
        held.taken(&value("old"), NOW);
        assert_eq!(used(&held, NOW), "old");
        assert!(held.is_refused());
        let later = NOW.plus(PREFERRED);
        assert_eq!(used(&held, later), "new", "it is tried again");
        held.taken(&value("new"), later);
        assert!(!held.is_refused());
        assert_eq!(used(&held, later), "new");
    }

    #[test]
    fn an_old_value_that_is_refused_at_last_gives_way_at_once() {
        let mut held = rotated();
        held.taken(&value("old"), NOW);
        assert_eq!(other(&mut held, "old", NOW).as_deref(), Some("new"));
        assert_eq!(used(&held, NOW), "new");
    }

    #[test]
    fn the_old_value_is_forgotten_after_a_day() {
        let mut held = rotated();
        let later = NOW.plus(OVERLAP);
        assert_eq!(other(&mut held, "new", later), None);
        held.note(reading("new"), NOW, later);
        assert!(held.previous.is_none());
    }

    #[test]
    fn the_old_value_opens_for_some_minutes_more() {
        let held = rotated();
        let opens = |seconds| held.handed_over(NOW.plus(seconds)).is_some();
        assert!(opens(0) && opens(HANDOVER - 1) && !opens(HANDOVER));
        assert!(Held::default().handed_over(NOW).is_none());
    }

    #[test]
    fn a_single_value_has_no_other() {
        let mut held = Held::default();
        assert!(held.value(NOW).is_none());
        held.note(reading("only"), NOW, NOW);
        assert_eq!(other(&mut held, "only", NOW), None);
    }
}
