//! Who is signed in. Sessions are kept here, in memory, so that a forged cookie opens nothing and a
//! sign-out ends one for good. A session ends with the token that opened it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reputation::digest::Digest;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use super::page::Notice;
use crate::api::door::Door;
use crate::api::token::{is_same, random};

#[derive(Default)]
pub struct Sessions {
    /// By the digest of the id: how long a look-up takes tells nothing of an id.
    open: Mutex<HashMap<Digest, Session>>,
}

/// Somebody who is signed in.
pub struct Viewer {
    /// As he calls himself.
    pub name: String,
    /// What every form of his carries.
    pub csrf: String,
    key: Digest,
}

struct Session {
    viewer: Arc<Viewer>,
    token: SecretString,
    began: Instant,
    seen: Instant,
    notice: Option<Notice>,
}

const LONGEST: Duration = Duration::from_secs(12 * 3600);
const LONGEST_IDLE: Duration = Duration::from_secs(3600);
/// Only who knows the token opens one.
const MOST: usize = 256;

impl Sessions {
    /// Opens a session with the token that was admitted; returns its id, for the cookie.
    pub fn open(
        &self,
        name: String,
        token: SecretString,
    ) -> Result<(String, Arc<Viewer>), getrandom::Error> {
        let id = random()?;
        let key = Digest::of(id.as_bytes());
        let csrf = random()?;
        let viewer = Arc::new(Viewer { name, csrf, key });
        let now = Instant::now();
        let session = Session {
            viewer: Arc::clone(&viewer),
            token,
            began: now,
            seen: now,
            notice: None,
        };
        let mut open = self.sessions();
        open.retain(|_, session| session.lasts(now));
        if open.len() >= MOST {
            let oldest = open.iter().min_by_key(|(_, session)| session.seen);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                open.remove(&oldest);
            }
        }
        open.insert(key, session);
        Ok((id, viewer))
    }

    /// Whose session it is, if it still is one.
    pub fn of(&self, id: &str, door: &Door) -> Option<Arc<Viewer>> {
        let (key, now) = (Digest::of(id.as_bytes()), Instant::now());
        let token = {
            let open = self.sessions();
            let session = open.get(&key).filter(|session| session.lasts(now))?;
            session.token.clone()
        };
        // The token may be in a file.
        let admitted = door.still_admits(token.expose_secret().as_bytes());
        let mut open = self.sessions();
        if !admitted {
            open.remove(&key);
            return None;
        }
        let session = open.get_mut(&key)?;
        session.seen = now;
        Some(Arc::clone(&session.viewer))
    }

    pub fn close(&self, viewer: &Viewer) {
        self.sessions().remove(&viewer.key);
    }

    /// Something to be shown on the next page.
    pub fn leave(&self, viewer: &Viewer, notice: Notice) {
        if let Some(session) = self.sessions().get_mut(&viewer.key) {
            session.notice = Some(notice);
        }
    }

    pub fn take(&self, viewer: &Viewer) -> Option<Notice> {
        self.sessions().get_mut(&viewer.key)?.notice.take()
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// Whether a form carries what only a page of this viewer's has.
    pub fn gave(&self, csrf: &str) -> bool {
        is_same(csrf.as_bytes(), self.csrf.as_bytes())
    }
}

/// What his forms carry is as good as his session.
impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Viewer").field(&self.name).finish()
    }
}

impl Session {
    fn lasts(&self, now: Instant) -> bool {
        now.duration_since(self.began) < LONGEST && now.duration_since(self.seen) < LONGEST_IDLE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::token::AdminToken;
    use crate::api::token::testing::{FIRST, SECOND, configured};
    use crate::clock::ManualClock;

    /// A door whose token is what is in the file.
    fn door(file: &std::path::Path) -> (Door, Arc<ManualClock>) {
        std::fs::write(file, FIRST).unwrap();
        let (config, secrets, manual) = configured(file);
        let token = AdminToken::prepare(&config, &secrets).unwrap();
        (Door::new(token), manual)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_ends_with_time_and_with_idleness() {
        let directory = tempfile::tempdir().unwrap();
        let (door, _clock) = door(&directory.path().join("token"));
        let sessions = Sessions::default();
        let (idle, _) = sessions.open("ada".to_owned(), FIRST.into()).unwrap();
        let (busy, _) = sessions.open("ada".to_owned(), FIRST.into()).unwrap();
        let half = LONGEST_IDLE / 2;
        for _ in 0..23 {
            tokio::time::advance(half).await;
            assert!(sessions.of(&busy, &door).is_some());
        }
        assert!(sessions.of(&idle, &door).is_none());
        tokio::time::advance(half).await;
        assert!(sessions.of(&busy, &door).is_none());
    }

    #[tokio::test]
    async fn a_session_ends_with_the_token_that_opened_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let (door, clock) = door(&file);
        let sessions = Sessions::default();
        let (id, _) = sessions.open("ada".to_owned(), FIRST.into()).unwrap();
        assert!(sessions.of(&id, &door).is_some());
        std::fs::write(&file, SECOND).unwrap();
        // A token that was replaced opens for five minutes more.
        assert!(sessions.of(&id, &door).is_some());
        clock.advance(300);
        assert!(sessions.of(&id, &door).is_none());
        std::fs::write(&file, FIRST).unwrap();
        assert!(sessions.of(&id, &door).is_none());
    }

    #[tokio::test]
    async fn what_a_viewers_forms_carry_is_not_printed() {
        let (id, viewer) = Sessions::default()
            .open("ada".to_owned(), FIRST.into())
            .unwrap();
        let shown = format!("{viewer:?} {viewer:#?}");
        assert!(shown.contains("ada"));
        for secret in [viewer.csrf.as_str(), &viewer.key.to_string(), &id] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[tokio::test]
    async fn sessions_are_bounded() {
        let sessions = Sessions::default();
        for _ in 0..2 * MOST {
            sessions.open(String::new(), "x".into()).unwrap();
        }
        assert_eq!(sessions.sessions().len(), MOST);
    }
}
