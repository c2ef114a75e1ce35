//! Chance, so that many of us do not do the same thing at the same time.

use std::time::Duration;

/// A tenth to either side.
const SHARE: u32 = 10;

/// `length`, up to a tenth shorter or longer.
pub fn spread(length: Duration) -> Duration {
    let width = length / SHARE * 2;
    length - length / SHARE + width.mul_f64(fraction())
}

/// As [`spread`], for seconds.
pub fn spread_seconds(seconds: u32) -> u32 {
    let spread = spread(Duration::from_secs(seconds.into())).as_secs();
    u32::try_from(spread).unwrap_or(u32::MAX)
}

/// From 0 to below 1. Where the system has no randomness to give, the middle.
fn fraction() -> f64 {
    getrandom::u32().map_or(0.5, |random| {
        f64::from(random) / (f64::from(u32::MAX) + 1.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_spread_by_a_tenth_at_most() {
        for _ in 0..1000 {
            let spread = spread(Duration::from_secs(100));
            assert!((90.0..=110.0).contains(&spread.as_secs_f64()), "{spread:?}");
        }
    }
}
