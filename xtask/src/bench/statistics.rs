//! Medians and how far they can be trusted.

use std::fmt;

/// A median with its 95 % interval from order statistics, which assumes nothing about the distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Median {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Median {
    /// Not a number if there are no values.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let count = values.len();
        let value = f64::midpoint(at(count.saturating_sub(1) / 2), at(count / 2));
        let outside = values_outside(count);
        Self {
            value,
            low: at(outside),
            high: at(count.saturating_sub(1 + outside)),
        }
    }
}

/// How many values on each side can be left out so that the median lies between the rest with a
/// probability of at least 95 %: how many of `count` coins show heads is binomial.
fn values_outside(count: usize) -> usize {
    let mut probability = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut tail = probability;
    let mut outside = 0;
    for heads in 1..count {
        let (heads_f, count_f) = (as_f64(heads), as_f64(count));
        probability *= (count_f - heads_f + 1.0) / heads_f;
        if tail + probability > 0.025 || tail > 0.025 {
            break;
        }
        tail += probability;
        outside = heads;
    }
    outside
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl fmt::Display for Median {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        write!(
            f,
            "{:.digits$} [{:.digits$}, {:.digits$}]",
            self.value, self.low, self.high
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_nine_values_leaves_out_one_on_each_side() {
        let median = Median::of((1..=9).map(f64::from).collect());
        assert_eq!(
            median,
            Median {
                value: 5.0,
                low: 2.0,
                high: 8.0
            }
        );
    }

    #[test]
    fn few_values_leave_nothing_out() {
        assert_eq!(
            Median::of(vec![3.0, 1.0]),
            Median {
                value: 2.0,
                low: 1.0,
                high: 3.0
            }
        );
        assert!(Median::of(Vec::new()).value.is_nan());
    }

    #[test]
    fn the_interval_of_twenty_one_values_is_that_of_the_tables() {
        assert_eq!(values_outside(21), 5);
    }
}
