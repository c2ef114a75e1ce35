//! Looks at the file by what is in it: links are swapped, files replaced or written in place, and no
//! time stamp tells of all that for certain. Decides when it is worth judging.

/// What a look at the file found: its text, or why there is none.
pub type Found = Result<String, String>;

/// Remembers what was found, so that nothing is judged twice, and nothing before it is whole.
#[derive(Debug, Default)]
pub struct Contents {
    last: Option<Found>,
    judged: Option<Found>,
}

impl Contents {
    /// Whether `found` is to be judged now: it is new, and was found twice in a row. So a file that is
    /// being written or gone for a moment is left alone.
    pub fn settled(&mut self, found: &Found) -> bool {
        let settled = self.last.as_ref() == Some(found);
        self.last = Some(found.clone());
        if !settled || self.judged.as_ref() == Some(found) {
            return false;
        }
        self.judged = Some(found.clone());
        true
    }

    /// `found` is judged now, whatever was found before.
    pub fn judged(&mut self, found: &Found) {
        self.last = Some(found.clone());
        self.judged = Some(found.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Found {
        Ok(text.to_owned())
    }

    fn gone() -> Found {
        Err("gone".to_owned())
    }

    #[test]
    fn what_changes_is_judged_once_and_only_when_it_stands_still() {
        let mut contents = Contents::default();
        let looks = [
            (text("a"), false),
            (text("a"), true),
            (text("a"), false),
            (text("a b"), false),
            (text("a b c"), false),
            (text("a b c"), true),
            (text("a b c"), false),
        ];
        for (number, (found, judged)) in looks.into_iter().enumerate() {
            assert_eq!(contents.settled(&found), judged, "look {number}");
        }
    }

    #[test]
    fn a_file_that_is_gone_for_one_look_was_never_gone() {
        let mut contents = Contents::default();
        contents.judged(&text("a"));
        for found in [gone(), text("a"), text("a"), gone(), text("a")] {
            assert!(!contents.settled(&found), "{found:?}");
        }
        assert!(!contents.settled(&gone()));
        assert!(contents.settled(&gone()), "two looks in a row");
        assert!(!contents.settled(&text("a")));
        assert!(contents.settled(&text("a")), "it is back");
    }
}
