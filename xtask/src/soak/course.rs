//! How the memory of a process went on while work was done: whether it levels off.

/// Readings at even steps of the work.
#[derive(Debug, Default)]
pub struct Course(Vec<u64>);

impl Course {
    pub fn add(&mut self, bytes: u64) {
        self.0.push(bytes);
    }

    /// The median of the last fifth over that of the second: caches fill in the first, and single readings
    /// catch what is freed a moment later.
    pub fn growth(&self) -> f64 {
        let fifth = self.0.len() / 5;
        let early = median(self.0.iter().skip(fifth).take(fifth));
        let late = median(self.0.iter().rev().take(fifth));
        late / early
    }

    /// What was read when this share of the work was done, in megabytes.
    pub fn megabytes_at(&self, percent: usize) -> f64 {
        let at = (self.0.len() * percent / 100).saturating_sub(1);
        self.0.get(at).map_or(f64::NAN, |&bytes| megabytes(bytes))
    }
}

/// Not a number if there are none.
fn median<'a>(readings: impl Iterator<Item = &'a u64>) -> f64 {
    let mut sorted: Vec<_> = readings.copied().collect();
    sorted.sort_unstable();
    sorted
        .get(sorted.len() / 2)
        .map_or(f64::NAN, |&bytes| megabytes(bytes))
}

#[expect(clippy::cast_precision_loss, reason = "memory is under 2^53")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(readings: impl IntoIterator<Item = u64>) -> Course {
        Course(readings.into_iter().map(|it| it * 1_000_000).collect())
    }

    #[test]
    fn what_fills_and_stays_does_not_grow_and_a_leak_does() {
        let filling = of((0..100).map(|step| 100 + step.min(20)));
        assert!((filling.growth() - 1.0).abs() < 1e-9, "{filling:?}");
        let leaking = of((0..100).map(|step| 100 + step));
        assert!(leaking.growth() > 1.4, "{leaking:?}");
        let spikes = of((0..100).map(|step| if step % 10 == 0 { 300 } else { 100 }));
        assert!((spikes.growth() - 1.0).abs() < 1e-9, "{spikes:?}");
    }

    #[test]
    fn too_few_readings_are_no_growth_that_could_be_within_a_bound() {
        assert!(of([100, 100]).growth().is_nan());
        assert!((of([1, 2, 3, 4]).megabytes_at(50) - 2.0).abs() < 1e-9);
    }
}
