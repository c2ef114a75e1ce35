//! Chance, so that many of us do not do the same thing at the same time.

use std::time::Duration;

/// A tenth to either side.
const SHARE: u32 = 10;
/// Nobody acts more than so many widths early: the chance is less than one in 2^32, the step of [`fraction`].
const WIDTHS: u32 = 23;

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

/// `seconds`, and up to a tenth more of them, `most` at most: for ends before which nothing is to be had.
pub fn lengthened_seconds(seconds: u32, most: u32) -> u32 {
    let width = Duration::from_secs((seconds / SHARE).min(most).into());
    let more = u32::try_from(width.mul_f64(fraction()).as_secs()).unwrap_or(0);
    seconds.saturating_add(more)
}

/// Whether somebody who comes `left` before an end should act as if it were there already, so that many who
/// see the same end do not all act at it. Each acts a `width` early on average (XFetch, Vattani et al. 2015).
pub fn is_early(left: Duration, width: Duration) -> bool {
    // Nearly always it is not, and randomness is a call of the system.
    left <= width * WIDTHS && is_early_by(fraction(), left, width)
}

fn is_early_by(fraction: f64, left: Duration, width: Duration) -> bool {
    -fraction.ln() * width.as_secs_f64() >= left.as_secs_f64()
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
    fn the_nearer_the_end_the_more_act_early() {
        let width = Duration::from_secs(600);
        let share = |left| {
            let left = Duration::from_secs(left);
            let early = (1..10_000_u32).filter(|of| {
                let fraction = f64::from(*of) / 10_000.0;
                is_early_by(fraction, left, width)
            });
            early.count() / 100
        };
        // exp(-left/width)
        assert_eq!([0, 600, 1200, 3600].map(share), [99, 36, 13, 0]);
        assert!(is_early_by(0.0, Duration::MAX, width));
    }

    #[test]
    fn what_is_lengthened_is_never_shorter_and_differs() {
        let all: Vec<_> = (0..1000).map(|_| lengthened_seconds(40_000, 60)).collect();
        assert!(all.iter().all(|seconds| (40_000..40_060).contains(seconds)));
        assert!(all.iter().any(|seconds| *seconds != all[0]));
        assert!((0..1000).all(|_| (50..55).contains(&lengthened_seconds(50, 60))));
        assert_eq!(lengthened_seconds(5, 60), 5);
    }

    #[test]
    fn a_length_is_spread_by_a_tenth_at_most() {
        for _ in 0..1000 {
            let spread = spread(Duration::from_secs(100));
            assert!((90.0..=110.0).contains(&spread.as_secs_f64()), "{spread:?}");
        }
    }
}
