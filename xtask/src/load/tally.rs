//! What came of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// From when a request was due to the end of its answer, in microseconds.
    micros: Vec<u64>,
    statuses: BTreeMap<u16, usize>,
    /// Without an answer.
    lost: usize,
}

const GOOD: u16 = 200;

impl Tally {
    pub fn answered(&mut self, status: u16, took: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.took(took);
    }

    pub fn lost(&mut self, after: Duration) {
        self.lost += 1;
        self.took(after);
    }

    pub fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.lost += other.lost;
    }

    pub fn requests(&self) -> usize {
        self.micros.len()
    }

    /// The least time within which this share of the requests was answered.
    pub fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.micros.clone();
        sorted.sort_unstable();
        let count = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of what fits"
        )]
        let rank = (share * f64::from(count)).ceil() as usize;
        let found = sorted.get(rank.saturating_sub(1));
        Duration::from_micros(found.copied().unwrap_or(0))
    }

    /// What should not have been: any answer but 200, and none at all.
    pub fn fault(&self, what: &str) -> Option<String> {
        let bad: Vec<_> = self
            .bad()
            .map(|(status, count)| format!("{count} times {status}"))
            .collect();
        if bad.is_empty() && self.lost == 0 && self.requests() > 0 {
            return None;
        }
        let (requests, lost, bad) = (self.requests(), self.lost, bad.join(", "));
        Some(format!(
            "{what}: of {requests} requests {lost} had no answer; {bad}"
        ))
    }

    pub fn report(&self) -> Value {
        let millis = |share| self.quantile(share).as_secs_f64() * 1000.0;
        json!({
            "requests": self.requests(),
            "lost": self.lost,
            "not_200": self.bad().map(|(status, count)| (status.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "p50_ms": millis(0.5),
            "p99_ms": millis(0.99),
            "p999_ms": millis(0.999),
            "max_ms": millis(1.0),
        })
    }

    fn bad(&self) -> impl Iterator<Item = (u16, usize)> {
        let all = self
            .statuses
            .iter()
            .map(|(status, count)| (*status, *count));
        all.filter(|(status, _)| *status != GOOD)
    }

    fn took(&mut self, took: Duration) {
        self.micros
            .push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad: usize = self.bad().map(|(_, count)| count).sum();
        write!(
            f,
            "{} requests, {} errors; p50 {:?}, p99 {:?}, p99.9 {:?}, slowest {:?}",
            self.requests(),
            bad + self.lost,
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(0.999),
            self.quantile(1.0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_times() {
        let mut tally = Tally::default();
        (1..=100)
            .rev()
            .for_each(|ms| tally.answered(200, Duration::from_millis(ms)));
        assert_eq!(tally.quantile(0.5), Duration::from_millis(50));
        assert_eq!(tally.quantile(0.99), Duration::from_millis(99));
        assert_eq!(tally.quantile(1.0), Duration::from_millis(100));
    }

    #[test]
    fn whatever_is_not_200_is_a_fault_and_nothing_at_all_is_one_too() {
        assert!(Tally::default().fault("it").is_some());
        let mut good = Tally::default();
        good.answered(200, Duration::ZERO);
        assert_eq!(good.fault("it"), None);
        let mut refused = good.clone();
        refused.answered(503, Duration::ZERO);
        let told = refused.fault("it").unwrap();
        assert!(told.contains("1 times 503"), "{told}");
        good.lost(Duration::ZERO);
        assert!(good.fault("it").is_some());
    }
}
