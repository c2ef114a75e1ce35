//! How often something was seen lately. Memory is fixed: what is seen is counted in sketches, not listed.

use std::hash::Hash;

use reputation::UnixSeconds;

use super::sketch::Sketch;

/// Counts by generations: the current one and the one before it are looked at, so what is seen counts for
/// one window at least and for two at most.
pub struct Sightings {
    window_s: u32,
    /// So many sightings end a generation early: beyond, cells that are shared would make strangers look
    /// like acquaintances.
    most: u32,
    began: UnixSeconds,
    seen: u32,
    current: Sketch<u8>,
    before: Sketch<u8>,
}

impl Sightings {
    /// With `width` cells a row, which is good for half as many different things in a window.
    pub fn new(width: u32, window_s: u32) -> Self {
        Self {
            window_s,
            most: width / 2,
            began: UnixSeconds(0),
            seen: 0,
            current: Sketch::new(width),
            before: Sketch::new(width),
        }
    }

    /// Sees `thing`; returns how often it was seen lately, this time among them.
    pub fn note(&mut self, thing: &impl Hash, now: UnixSeconds) -> u8 {
        self.turn(now);
        self.seen = self.seen.saturating_add(1);
        let current = self.current.add(thing);
        current.saturating_add(self.before.count(thing))
    }

    /// How often `thing` was seen lately.
    pub fn count(&mut self, thing: &impl Hash, now: UnixSeconds) -> u8 {
        self.turn(now);
        let current = self.current.count(thing);
        current.saturating_add(self.before.count(thing))
    }

    /// The window is another from now on; what was seen stays seen.
    pub fn set_window(&mut self, window_s: u32) {
        self.window_s = window_s;
    }

    fn turn(&mut self, now: UnixSeconds) {
        let age = self.began.until(now);
        let turned_back = now < self.began;
        if age < self.window_s && self.seen < self.most && !turned_back {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.before);
        self.current.clear();
        if age >= self.window_s.saturating_mul(2) {
            self.before.clear();
        }
        self.began = now;
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: UnixSeconds = UnixSeconds(1_795_000_000);

    #[test]
    fn a_sighting_counts_for_one_window_at_least_and_for_two_at_most() {
        let mut sightings = Sightings::new(1 << 10, 600);
        assert_eq!(sightings.note(&1, START), 1);
        assert_eq!(sightings.note(&1, START.plus(599)), 2);
        assert_eq!(sightings.note(&2, START.plus(700)), 1);
        assert_eq!(sightings.count(&1, START.plus(1100)), 2);
        assert_eq!(sightings.note(&1, START.plus(1301)), 1);
        assert_eq!(sightings.count(&2, START.plus(1301)), 1);
        assert_eq!(sightings.count(&1, START.plus(9000)), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut sightings = Sightings::new(1 << 10, 600);
        sightings.note(&1, START.plus(1_000_000));
        assert_eq!(sightings.note(&1, START), 2);
        assert_eq!(sightings.note(&1, START.plus(700)), 2);
    }

    #[test]
    fn who_returns_stands_out_of_a_flood_of_strangers() {
        let mut sightings = Sightings::new(1 << 16, 600);
        let (mut taken_for_known, mut returned) = (0, 0);
        for stranger in 0..1_000_000_u32 {
            // A million in an hour, and one who comes every 30 seconds.
            let now = START.plus(stranger / 278);
            taken_for_known += u32::from(sightings.note(&stranger, now) >= 4);
            if stranger % (278 * 30) == 0 {
                returned = sightings.note(&u32::MAX, now);
            }
        }
        assert!(taken_for_known < 100, "{taken_for_known}");
        assert!(returned >= 4, "{returned}");
    }
}
