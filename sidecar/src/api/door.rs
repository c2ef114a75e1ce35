//! Who may administer: the token, and what becomes of wrong ones. One door for the admin API and the
//! console.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::attempts::{Attempts, Refusal};
use super::listener::Peer;
use super::token::AdminToken;

pub struct Door {
    token: AdminToken,
    attempts: Attempts,
}

impl Door {
    pub fn new(token: AdminToken) -> Self {
        Self {
            token,
            attempts: Attempts::new(),
        }
    }

    /// Whether whoever gives this token may enter.
    pub async fn admit(&self, peer: Peer, given: &[u8]) -> Result<(), Refusal> {
        self.attempts.judge(peer, || self.token.is(given)).await
    }

    /// Whether a token that was admitted is still the right one.
    pub fn still_admits(&self, given: &[u8]) -> bool {
        self.token.is(given)
    }
}

/// The token that a request carries as `Authorization: Bearer`.
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?;
    value.as_bytes().strip_prefix(b"Bearer ")
}
