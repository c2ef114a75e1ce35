//! The order of classes in an image: by strength, so that of two ids the larger one wins, and so that the
//! same content gives the same bytes in whatever order it was collected.

use super::class::{Class, ClassId};

#[derive(Debug)]
pub(super) struct Order {
    /// Weakest first.
    classes: Vec<Class>,
    /// The place of each class as it was collected.
    places: Vec<u32>,
}

impl Order {
    pub fn of(collected: Vec<Class>) -> Self {
        let mut numbered: Vec<_> = (0_usize..).zip(collected).collect();
        numbered.sort_by(|(_, one), (_, other)| one.strength().cmp(&other.strength()));
        let mut places = vec![0; numbered.len()];
        for (place, (number, _)) in (0..).zip(&numbered) {
            if let Some(slot) = places.get_mut(*number) {
                *slot = place;
            }
        }
        Self {
            classes: numbered.into_iter().map(|(_, class)| class).collect(),
            places,
        }
    }

    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The id in the image of a class that was collected as `class`.
    pub fn place(&self, class: ClassId) -> Option<ClassId> {
        let at = usize::try_from(class.0).ok()?;
        self.places.get(at).copied().map(ClassId)
    }

    /// The rank of a class of the image, as a number.
    pub fn rank(&self, class: ClassId) -> u8 {
        let at = usize::try_from(class.0).unwrap_or(usize::MAX);
        self.classes.get(at).map_or(0, |class| class.rank as u8)
    }
}
