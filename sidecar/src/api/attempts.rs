//! Wrong tokens: counted per client, logged, and answered late. Nobody but the guesser waits, and the table
//! is bounded. It slows whoever tries one after another; against many connections at once it is the token's
//! length that holds, since the right one is always let in at once: see `token::SHORTEST`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::listener::Peer;
use super::problem::{Kind, Problem};
use crate::telemetry::Sparing;

/// Who sent wrong tokens lately.
pub struct Attempts {
    clients: Mutex<HashMap<Peer, Record>>,
    turned_away: Sparing,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    Wrong,
    /// Wrong too, while so many of this client wait already that this one is turned away at once.
    TooMany,
}

struct Record {
    wrong: u32,
    last: Instant,
    /// How many of its wrong tokens wait for their answers now.
    held: usize,
}

/// A wrong token whose answer waits.
struct Held<'a> {
    attempts: &'a Attempts,
    client: Peer,
}

/// Slips of the hand are answered at once.
const FREE: u32 = 5;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(1);
/// Of one client at a time: with the longest delay, so many guesses a second.
const HELD: usize = 8;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
const MOST_CLIENTS: usize = 1024;
/// Whoever owns one IPv6 address owns its /64.
const V6_CLIENT: u32 = 64;

impl Attempts {
    pub fn new() -> Self {
        Self {
            clients: Mutex::default(),
            turned_away: Sparing::once_a_minute(),
        }
    }

    /// Whether the token that `peer` gave is right, as `is_right` says. A wrong one is answered late.
    pub async fn judge(&self, peer: Peer, is_right: impl FnOnce() -> bool) -> Result<(), Refusal> {
        let client = client_of(peer);
        // First of all: who has the token may share an address with who guesses.
        if is_right() {
            return Ok(());
        }
        if self.is_full(client) {
            if self.turned_away.is_due() {
                tracing::warn!(%peer, "too many wrong tokens at once");
            }
            return Err(Refusal::TooMany);
        }
        let (wrong, held) = self.note(client);
        tracing::warn!(%peer, wrong, "a wrong admin token");
        tokio::time::sleep(delay(wrong)).await;
        drop(held);
        Err(Refusal::Wrong)
    }

    fn is_full(&self, client: Peer) -> bool {
        self.clients()
            .get(&client)
            .is_some_and(|record| record.held >= HELD)
    }

    fn note(&self, client: Peer) -> (u32, Held<'_>) {
        let mut clients = self.clients();
        let now = Instant::now();
        if !clients.contains_key(&client) && clients.len() >= MOST_CLIENTS {
            make_room(&mut clients, now);
        }
        let record = clients.entry(client).or_insert(Record {
            wrong: 0,
            last: now,
            held: 0,
        });
        if now.duration_since(record.last) > FORGOTTEN_AFTER {
            record.wrong = 0;
        }
        record.wrong = record.wrong.saturating_add(1);
        record.last = now;
        record.held += 1;
        let held = Held {
            attempts: self,
            client,
        };
        (record.wrong, held)
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<Peer, Record>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.attempts.clients().get_mut(&self.client) {
            record.held = record.held.saturating_sub(1);
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong => Self::new(Kind::NoToken),
            Refusal::TooMany => Self::new(Kind::TooManyAttempts),
        }
    }
}

/// Forgets who was quiet for long, or else who was quiet for longest.
fn make_room(clients: &mut HashMap<Peer, Record>, now: Instant) {
    clients
        .retain(|_, record| record.held > 0 || now.duration_since(record.last) <= FORGOTTEN_AFTER);
    if clients.len() >= MOST_CLIENTS {
        let quietest = clients.iter().min_by_key(|(_, record)| record.last);
        if let Some(quietest) = quietest.map(|(peer, _)| *peer) {
            clients.remove(&quietest);
        }
    }
}

fn delay(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => {
            let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
            FIRST_DELAY.saturating_mul(factor).min(LONGEST_DELAY)
        }
    }
}

fn client_of(peer: Peer) -> Peer {
    match peer {
        Peer::Address(IpAddr::V6(address)) => {
            let network = address.to_bits() >> V6_CLIENT << V6_CLIENT;
            Peer::Address(Ipv6Addr::from_bits(network).into())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::Address(text.parse().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_wrong_tokens_take_a_quarter_of_an_hour_and_others_do_not_wait() {
        let attempts = Attempts::new();
        let began = Instant::now();
        for _ in 0..1000 {
            let judged = attempts.judge(peer("192.0.2.1"), || false).await;
            assert_eq!(judged, Err(Refusal::Wrong));
        }
        assert!(began.elapsed() > Duration::from_secs(900));
        let began = Instant::now();
        assert_eq!(attempts.judge(peer("192.0.2.2"), || true).await, Ok(()));
        assert_eq!(attempts.judge(peer("192.0.2.1"), || true).await, Ok(()));
        assert_eq!(
            attempts.judge(peer("192.0.2.3"), || false).await,
            Err(Refusal::Wrong)
        );
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_of_one_client_are_turned_away_and_the_right_token_never_is() {
        let attempts = Attempts::new();
        for _ in 0..FREE {
            let _wrong = attempts.judge(peer("2001:db8::1"), || false).await;
        }
        let guess = |at: u32| {
            let guesser = peer(&format!("2001:db8::{at:x}"));
            attempts.judge(guesser, || false)
        };
        let mut waiting: Vec<_> = (0..50).map(|at| Box::pin(guess(at))).collect();
        let mut turned_away = 0;
        for guess in &mut waiting {
            let at_once = tokio::time::timeout(Duration::ZERO, guess).await;
            turned_away += usize::from(at_once == Ok(Err(Refusal::TooMany)));
        }
        assert_eq!(turned_away, waiting.len() - HELD);
        assert_eq!(
            attempts.judge(peer("2001:db8:0:1::1"), || true).await,
            Ok(())
        );
        assert_eq!(attempts.judge(Peer::Socket, || true).await, Ok(()));
        // Whoever has the token may be behind the same gateway.
        assert_eq!(attempts.judge(peer("2001:db8::1"), || true).await, Ok(()));
        drop(waiting);
        assert_eq!(attempts.judge(peer("2001:db8::1"), || true).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_forgets() {
        let attempts = Attempts::new();
        for at in 0..5000_u32 {
            let guesser = Peer::Address(std::net::Ipv4Addr::from_bits(at).into());
            let _wrong = attempts.judge(guesser, || false).await;
        }
        assert_eq!(attempts.clients().len(), MOST_CLIENTS);
        for _ in 0..20 {
            let _wrong = attempts.judge(peer("192.0.2.1"), || false).await;
        }
        tokio::time::advance(FORGOTTEN_AFTER + LONGEST_DELAY).await;
        let began = Instant::now();
        let _wrong = attempts.judge(peer("192.0.2.1"), || false).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
