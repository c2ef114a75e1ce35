//! How many calls a provider permits a day, and how many are left: by our configuration or by its own
//! word, whichever is fewer. Pure state; the book itself is in the store.

use crate::clock::Day;

#[derive(Debug)]
pub struct Budget {
    configured: u32,
    /// What the provider said with its last answer, and on which day: it holds for that day, so that
    /// neither a fault nor a plan that grew is held against it for ever.
    said: Option<(Day, u32)>,
    used: Option<(Day, u32)>,
    /// Calls that are being booked.
    pending: u32,
}

impl Budget {
    pub fn new(configured: u32) -> Self {
        Self {
            configured,
            said: None,
            used: None,
            pending: 0,
        }
    }

    pub fn limit(&self, today: Day) -> u32 {
        let said = self.said.filter(|(day, _)| *day == today);
        said.map_or(self.configured, |(_, said)| said.min(self.configured))
    }

    /// A day that nothing is known of is a new one.
    pub fn remaining(&self, today: Day) -> u32 {
        self.limit(today).saturating_sub(self.used(today))
    }

    /// What is booked, without what is being booked.
    pub fn used(&self, today: Day) -> u32 {
        let used = self.used.filter(|(day, _)| *day == today);
        used.map_or(0, |(_, used)| used)
    }

    /// What is booked and what is being booked: a thousand that ask at once are not each the first.
    pub fn taken(&self, today: Day) -> u32 {
        self.used(today).saturating_add(self.pending)
    }

    /// A call is being booked; [`Self::settle`] follows, whatever comes of it.
    pub fn begin(&mut self) {
        self.pending = self.pending.saturating_add(1);
    }

    pub fn settle(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// The provider's own limit.
    pub fn note_limit(&mut self, today: Day, limit: u32) {
        self.said = Some((today, limit));
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
    fn calls_that_are_being_booked_are_taken_already() {
        let (mut budget, today) = (Budget::new(100), Day(1));
        budget.note_used(today, 7);
        budget.begin();
        budget.begin();
        assert_eq!((budget.taken(today), budget.remaining(today)), (9, 93));
        budget.settle();
        budget.note_used(today, 8);
        assert_eq!(budget.taken(today), 9);
        budget.settle();
        assert_eq!(budget.taken(today), 8);
    }

    #[test]
    fn the_smaller_limit_counts_for_its_day_which_never_refills_before_its_end() {
        let mut budget = Budget::new(100);
        let (today, tomorrow) = (Day(1), Day(2));
        assert_eq!((budget.limit(today), budget.remaining(today)), (100, 100));
        budget.note_used(today, 7);
        budget.note_limit(today, 3000);
        assert_eq!((budget.limit(today), budget.remaining(today)), (100, 93));
        budget.note_limit(today, 50);
        budget.note_used(today, 5);
        assert_eq!((budget.limit(today), budget.remaining(today)), (50, 43));
        budget.note_used(today, 51);
        assert_eq!(
            (budget.remaining(today), budget.remaining(tomorrow)),
            (0, 100)
        );
    }
}
