//! How contestants are compared: rounds in which all of them are loaded in turn, in slices so short that
//! a drift of the machine hits all alike. What counts is a ratio within each round.

use std::fmt;
use std::time::Duration;

use crate::error::Error;
use crate::say;

/// wrk counts in whole seconds.
pub const SLICE: Duration = Duration::from_secs(1);

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// Nine rounds of three slices each: the fewest that give an interval worth printing.
    Quick,
    Full,
}

/// What a load cost: CPU time of whoever took it, or time on the clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub nanos: u64,
    pub requests: u32,
}

/// Nanoseconds per request of each contestant in one round.
pub type Round<const N: usize> = [f64; N];

/// Loads each of `names` in turn by `slice`, which takes its place in the list.
pub fn rounds<const N: usize>(
    names: [&str; N],
    length: Length,
    mut slice: impl FnMut(usize) -> Result<Cost, Error>,
) -> Result<Vec<Round<N>>, Error> {
    let (count, sweeps) = match length {
        Length::Quick => (9, 3),
        Length::Full => (21, 6),
    };
    say::step("warming up");
    for at in 0..N {
        slice(at)?;
    }
    let mut rounds = Vec::new();
    for number in 1..=count {
        let mut costs = [Cost::default(); N];
        for sweep in 0..sweeps {
            for step in 0..N {
                let at = (sweep + step) % N;
                let more = slice(at)?;
                if let Some(cost) = costs.get_mut(at) {
                    *cost += more;
                }
            }
        }
        let round = costs.map(Cost::per_request);
        say::step(format_args!(
            "round {number} of {count}: {}",
            Line(&names, &round)
        ));
        rounds.push(round);
    }
    Ok(rounds)
}

impl Cost {
    fn per_request(self) -> f64 {
        as_f64(self.nanos) / f64::from(self.requests)
    }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, more: Self) {
        self.nanos += more.nanos;
        self.requests += more.requests;
    }
}

/// One round, in microseconds.
struct Line<'a>(&'a [&'a str], &'a [f64]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, nanos)) in self.0.iter().zip(self.1).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.1}", nanos / 1000.0)?;
        }
        write!(f, " µs")
    }
}

/// A run lasts seconds, which are far from the limit of exact whole numbers in a float.
#[expect(clippy::cast_precision_loss, reason = "under 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contestant_is_loaded_equally_often_and_none_always_first() {
        let mut order = Vec::new();
        let rounds = rounds(["one", "two", "three"], Length::Quick, |at| {
            order.push(at);
            let nanos = if at == 1 { 2000 } else { 1000 };
            Ok(Cost { nanos, requests: 1 })
        });
        assert_eq!(rounds.unwrap(), vec![[1000.0, 2000.0, 1000.0]; 9]);
        let of_each = [0, 1, 2].map(|at| order.iter().filter(|&&one| one == at).count());
        assert_eq!(of_each, [28; 3], "27 slices and the warm-up");
        let first_round = order.get(3..12).unwrap();
        assert_eq!(first_round, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
    }
}
