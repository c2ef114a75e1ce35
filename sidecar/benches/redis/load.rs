//! An open loop: calls begin at their time, whether those before have ended or not.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub const PER_SECOND: u32 = 2000;

/// Calls `call` with a new number at every tick for `length`; returns the 99th percentile of how long
/// the calls took, in microseconds.
pub async fn p99<F, C>(length: Duration, call: C) -> f64
where
    C: Fn(u32) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut taken) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Handle::current();
    // The runtime's timer counts in milliseconds; a thread of its own wakes within some microseconds.
    let ticking = std::thread::spawn(move || {
        let begun = Instant::now();
        for number in 0.. {
            let due = Duration::from_secs(1) * number / PER_SECOND;
            if due >= length {
                return;
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let (begun, called, sender) = (Instant::now(), call(number), sender.clone());
            runtime.spawn(async move {
                called.await;
                let _ = sender.send(begun.elapsed());
            });
        }
    });
    let mut all = Vec::new();
    while let Some(taken) = taken.recv().await {
        all.push(taken);
    }
    let ended = ticking.join();
    assert!(ended.is_ok(), "the ticking thread died");
    all.sort();
    let at = all.len() * 99 / 100;
    all.get(at)
        .map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e6)
}
