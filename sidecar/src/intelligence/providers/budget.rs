//! How many calls a provider permits a day, and how many are left: by our configuration or by its own
//! word, whichever is fewer. Pure state; the book itself is in the store.

use crate::clock::Day;

#[derive(Debug)]
pub struct Budget {
    configured: u32,
    /// What the provider said with its last answer.
    said: Option<u32>,
    used: Option<(Day, u32)>,
}

impl Budget {
    pub fn new(configured: u32) -> Self {
        Self {
            configured,
            said: None,
            used: None,
        }
    }

    pub fn limit(&self) -> u32 {
        self.said
            .map_or(self.configured, |said| said.min(self.configured))
    }

    /// A day that nothing is known of is a new one.
    pub fn remaining(&self, today: Day) -> u32 {
        let used = self.used.filter(|(day, _)| *day == today);
        self.limit()
            .saturating_sub(used.map_or(0, |(_, used)| used))
    }

    /// The provider's own limit.
    pub fn note_limit(&mut self, limit: u32) {
        self.said = Some(limit);
    }

    /// The book's count. Answers overtake each other, so it never falls within a day.
    pub fn note_used(&mut self, today: Day, used: u32) {
        let before = self.used.filter(|(day, _)| *day == today);
        let used = before.map_or(used, |(_, before)| before.max(used));
        self.used = Some((today, used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_limit_counts_and_a_day_never_refills_before_its_end() {
        let mut budget = Budget::new(100);
        let (today, tomorrow) = (Day(1), Day(2));
        assert_eq!((budget.limit(), budget.remaining(today)), (100, 100));
        budget.note_used(today, 7);
        budget.note_limit(3000);
        assert_eq!((budget.limit(), budget.remaining(today)), (100, 93));
        budget.note_limit(50);
        budget.note_used(today, 5);
        assert_eq!((budget.limit(), budget.remaining(today)), (50, 43));
        budget.note_used(today, 51);
        assert_eq!(
            (budget.remaining(today), budget.remaining(tomorrow)),
            (0, 50)
        );
    }
}
