//! How often something was counted, in fixed memory: a count-min sketch. It may say too much where things
//! share all their cells, never too little. Where they lie follows from a key of this process, so nobody
//! outside can choose names that meet.

use std::hash::{BuildHasher, Hash, RandomState};

/// Each thing has a cell in each row, and the smallest of them counts.
const ROWS: u32 = 4;

pub struct Sketch<C> {
    key: RandomState,
    /// Cells per row.
    width: u32,
    cells: Vec<C>,
}

/// A cell: it rises to the end of its range and stays there.
pub trait Count: Copy + Default + Ord {
    fn next(self) -> Self;
}

impl Count for u8 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
}

impl Count for u32 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
}

impl<C: Count> Sketch<C> {
    pub fn new(width: u32) -> Self {
        let cells = usize::try_from(width.saturating_mul(ROWS)).unwrap_or_default();
        Self {
            key: RandomState::new(),
            width,
            cells: vec![C::default(); cells],
        }
    }

    pub fn count(&self, thing: &impl Hash) -> C {
        let cells = self.places(thing).filter_map(|at| self.cells.get(at));
        cells.min().copied().unwrap_or_default()
    }

    /// Counts `thing` once. Cells that already say more than the new count belong to others too and stay
    /// as they are: strangers then add less to each other.
    pub fn add(&mut self, thing: &impl Hash) -> C {
        let count = self.count(thing).next();
        for at in self.places(thing) {
            if let Some(cell) = self.cells.get_mut(at) {
                *cell = count.max(*cell);
            }
        }
        count
    }

    pub fn clear(&mut self) {
        self.cells.fill(C::default());
    }

    /// The places follow from two halves of one hash, which is as good as a hash per row.
    fn places<T: Hash>(&self, thing: &T) -> impl Iterator<Item = usize> + use<T, C> {
        let hash = self.key.hash_one(thing);
        let [a, b] = [hash >> 32, (hash & u64::from(u32::MAX)) | 1];
        let width = u64::from(self.width.max(1));
        (0..u64::from(ROWS)).filter_map(move |row| {
            let at = (a + row * b) % width + row * width;
            usize::try_from(at).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_ever_counted_too_low(things in prop::collection::vec(0_u16..500, 0..2000)) {
            let (mut sketch, mut truth) = (Sketch::<u32>::new(64), HashMap::new());
            for thing in things {
                *truth.entry(thing).or_insert(0_u32) += 1;
                let said = sketch.add(&thing);
                prop_assert!(said >= truth[&thing]);
                prop_assert_eq!(said, sketch.count(&thing));
            }
            for (thing, count) in truth {
                prop_assert!(sketch.count(&thing) >= count);
            }
        }
    }

    #[test]
    fn few_things_are_counted_exactly_and_none_after_clearing() {
        let mut sketch = Sketch::<u8>::new(1 << 12);
        for thing in 0..20_u32 {
            for _ in 0..=thing {
                sketch.add(&thing);
            }
        }
        let counts: Vec<_> = (0..20_u32).map(|thing| sketch.count(&thing)).collect();
        assert_eq!(counts, (1..=20).collect::<Vec<u8>>());
        for _ in 0..1000 {
            sketch.add(&0);
        }
        assert_eq!(sketch.count(&0), u8::MAX);
        sketch.clear();
        assert_eq!(sketch.count(&0), 0);
    }

    #[test]
    fn no_two_sketches_place_things_alike() {
        let [one, other] = [(), ()].map(|()| Sketch::<u8>::new(1 << 16));
        let alike = (0..100_u32).filter(|thing| one.places(thing).eq(other.places(thing)));
        assert_eq!(alike.count(), 0);
    }
}
