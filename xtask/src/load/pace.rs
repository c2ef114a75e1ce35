//! An open loop: requests become due at a fixed rate, whether or not those before were answered, and each
//! is timed from when it was due. So a stall counts for all that were due while it lasted, and not only for
//! the one that met it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Connection, KitError, Request};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::tally::Tally;
use crate::error::Error;
use crate::say;

#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Requests a second.
    pub rate: u32,
    /// Who is due waits for one of them; the wait counts.
    pub connections: usize,
}

/// For whom requests come: nine of ten from those who were here before.
#[derive(Debug, Clone)]
pub struct Clients {
    strangers_before: u64,
    asked: Asked,
}

/// What is asked about them.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// Envoy, for a page.
    Page,
    /// The sidecar, for a verdict, as the plugin does for whom it holds.
    Verdict,
}

pub struct Load {
    edge: SocketAddr,
    pace: Pace,
    clients: Clients,
}

/// One request of the plan.
struct Due {
    number: u64,
    at: Instant,
}

type Queue = Arc<Mutex<mpsc::UnboundedReceiver<Due>>>;

const REGULARS: u64 = 2_000;
/// Neither private nor listed by anybody.
const REGULARS_FROM: u64 = 0x0900_0000;
const STRANGERS_FROM: u64 = 0x5000_0000;
const ONE_IN: u64 = 10;
const SHOWN_EVERY: Duration = Duration::from_secs(10);

impl Clients {
    pub fn with_strangers() -> Self {
        Self {
            strangers_before: 0,
            asked: Asked::Page,
        }
    }

    /// The sidecar is asked about them.
    pub fn for_verdicts(mut self) -> Self {
        self.asked = Asked::Verdict;
        self
    }

    /// None of those who came as strangers in so many requests before.
    pub fn after(mut self, requests: usize) -> Self {
        self.strangers_before = u64::try_from(requests).unwrap_or(0) / ONE_IN + 1;
        self
    }

    fn request(&self, number: u64) -> Request {
        let address = self.address(number);
        match self.asked {
            Asked::Page => Request::get("/").from_client(&address),
            Asked::Verdict => Request::get(&format!("/v1/verdict/{address}?wait_ms=8")),
        }
    }

    fn address(&self, number: u64) -> String {
        let bits = match number % ONE_IN {
            0 => STRANGERS_FROM + self.strangers_before + number / ONE_IN,
            // Spread over their networks, as clients are.
            _ => REGULARS_FROM + (number % REGULARS) * 257,
        };
        Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).to_string()
    }
}

impl Load {
    pub fn new(edge: SocketAddr, pace: Pace, clients: Clients) -> Self {
        Self {
            edge,
            pace,
            clients,
        }
    }

    pub async fn run(self, length: Duration) -> Result<Tally, Error> {
        let (due, queue) = mpsc::unbounded_channel();
        let queue = Arc::new(Mutex::new(queue));
        let clients = Arc::new(self.clients);
        let mut workers = JoinSet::new();
        for _ in 0..self.pace.connections {
            let (queue, clients) = (Arc::clone(&queue), Arc::clone(&clients));
            workers.spawn(work(self.edge, queue, clients));
        }
        // A thread of its own: the runtime's timers have a resolution of a millisecond.
        let rate = self.pace.rate;
        let planner = std::thread::spawn(move || plan(rate, length, &due));
        let mut tally = Tally::default();
        while let Some(done) = workers.join_next().await {
            let done = done.map_err(|error| Error::Said(format!("a worker ended: {error}")))?;
            tally.add(done?);
        }
        let _planned = planner.join();
        Ok(tally)
    }
}

/// Puts each request into the queue when it is due.
fn plan(rate: u32, length: Duration, queue: &mpsc::UnboundedSender<Due>) {
    let began = Instant::now();
    let step = Duration::from_secs(1) / rate;
    let mut shown = Duration::ZERO;
    let mut at = Duration::ZERO;
    for number in 0.. {
        if at >= length {
            return;
        }
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        let due = Due {
            number,
            at: began + at,
        };
        if queue.send(due).is_err() {
            return;
        }
        if at >= shown + SHOWN_EVERY {
            shown = at;
            say::step(format_args!("{} s of {} s", at.as_secs(), length.as_secs()));
        }
        at += step;
    }
}

/// One connection, opened anew where the server ended it.
async fn work(edge: SocketAddr, queue: Queue, clients: Arc<Clients>) -> Result<Tally, KitError> {
    let mut tally = Tally::default();
    let mut connection = None;
    loop {
        let next = queue.lock().await.recv().await;
        let Some(due) = next else { return Ok(tally) };
        let request = clients.request(due.number);
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(edge).await?,
        };
        match open.send(&request).await {
            Ok(response) => {
                tally.answered(response.status, due.at.elapsed());
                connection = Some(open);
            }
            Err(_) => tally.lost(due.at.elapsed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kit::Upstream;

    use super::*;

    #[tokio::test]
    async fn every_request_that_was_due_is_counted_and_a_stall_counts_for_all_who_waited() {
        let upstream = Upstream::start().await.unwrap();
        let pace = Pace {
            rate: 200,
            connections: 4,
        };
        let load = Load::new(upstream.address(), pace, Clients::with_strangers());
        let tally = load.run(Duration::from_millis(500)).await.unwrap();
        assert_eq!(tally.requests(), 100);
        assert_eq!(tally.fault("it"), None);
        // One connection and a server that takes 20 ms: each waits for all before.
        let slow = kit::serve::Server::start(0, async |_| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            kit::serve::Answer::status(200)
        });
        let pace = Pace {
            rate: 200,
            connections: 1,
        };
        let edge = slow.await.unwrap();
        let load = Load::new(edge.address(), pace, Clients::with_strangers());
        let tally = load.run(Duration::from_millis(100)).await.unwrap();
        assert_eq!(tally.requests(), 20);
        assert!(tally.quantile(1.0) >= Duration::from_millis(250), "{tally}");
    }

    #[test]
    fn one_in_ten_is_a_stranger_and_no_stranger_comes_twice() {
        let clients = Clients::with_strangers();
        let strangers: Vec<_> = (0..1_000)
            .map(|number| clients.address(number))
            .filter(|address| !address.starts_with("9."))
            .collect();
        assert_eq!(strangers.len(), 100);
        let later = clients.clone().after(1_000);
        assert!((0..1_000).all(|number| !strangers.contains(&later.address(number))));
    }
}
