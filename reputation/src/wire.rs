//! The version of what filter and sidecar say to each other, and which versions understand each other.
//!
//! Both tell theirs in a header: the filter in each question, the sidecar in each answer. The sidecar
//! answers a neighbour of before in the neighbour's version; the filter reads its own version and the one
//! before. Whoever is farther away is refused by name, and what was loaded stays.
//!
//! | version | what is new |
//! | --- | --- |
//! | 0 | nothing is told: the builds before 1 |
//! | 1 | the header |
//!
//! Fields that are not known are passed over, so a new field with a default needs no new version.
//! [`crate::manifest::FORM`] and the format of images have numbers of their own.

use std::fmt;

use thiserror::Error;

/// A version of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire(u32);

/// The header, in questions and answers alike.
pub const HEADER: &str = "x-portcullis-wire";

/// How far a neighbour is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    Older,
    Same,
    Newer,
}

/// Why nothing can be said to a neighbour, or read of what he says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    #[error("{HEADER} is no number")]
    Unreadable,
    #[error(
        "wire version {told} is too far away: this build speaks {} and understands {}",
        Wire::OURS,
        Wire::OLDEST
    )]
    TooFar { told: Wire },
}

impl Wire {
    /// What this build speaks.
    pub const OURS: Self = Self(1);
    /// The oldest that it understands: the one before its own.
    pub const OLDEST: Self = Self(Self::OURS.0.saturating_sub(1));
    /// [`Self::OURS`] as it stands in the header.
    pub const OURS_TEXT: &str = "1";
    /// Of who tells nothing.
    const UNTOLD: Self = Self(0);

    /// What a neighbour tells, by the value of his header.
    pub fn told(header: Option<&[u8]>) -> Result<Self, WireError> {
        let Some(value) = header else {
            return Ok(Self::UNTOLD);
        };
        let text = std::str::from_utf8(value).ok();
        let number = text.and_then(|text| text.parse().ok());
        number.map(Self).ok_or(WireError::Unreadable)
    }

    /// In which version a question in this one is answered. A newer neighbour is answered in ours, which
    /// he understands if he is the next; if not, he refuses it himself.
    pub fn answered_in(self) -> Result<Self, WireError> {
        if self < Self::OLDEST {
            return Err(WireError::TooFar { told: self });
        }
        Ok(self.min(Self::OURS))
    }

    /// Whether an answer in this version can be read.
    pub fn check_readable(self) -> Result<(), WireError> {
        if (Self::OLDEST..=Self::OURS).contains(&self) {
            return Ok(());
        }
        Err(WireError::TooFar { told: self })
    }

    pub fn number(self) -> u32 {
        self.0
    }

    pub fn neighbour(self) -> Neighbour {
        match self.cmp(&Self::OURS) {
            std::cmp::Ordering::Less => Neighbour::Older,
            std::cmp::Ordering::Equal => Neighbour::Same,
            std::cmp::Ordering::Greater => Neighbour::Newer,
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Wire {
        Wire::told(Some(text.as_bytes())).unwrap()
    }

    #[test]
    fn who_tells_nothing_is_of_before_the_header_and_is_answered_so() {
        let before = Wire::told(None).unwrap();
        assert_eq!(before.neighbour(), Neighbour::Older);
        assert_eq!(before.answered_in(), Ok(before));
        assert_eq!(before.check_readable(), Ok(()));
    }

    #[test]
    fn the_header_is_the_number_that_this_build_speaks() {
        assert_eq!(told(Wire::OURS_TEXT), Wire::OURS);
        assert_eq!(Wire::OURS.to_string(), Wire::OURS_TEXT);
        assert_eq!(Wire::OURS.neighbour(), Neighbour::Same);
    }

    #[test]
    fn a_newer_question_is_answered_in_ours_and_a_newer_answer_is_not_read() {
        for newer in ["2", "3", "4294967295"] {
            assert_eq!(told(newer).neighbour(), Neighbour::Newer);
            assert_eq!(told(newer).answered_in(), Ok(Wire::OURS));
            let told = told(newer);
            assert_eq!(told.check_readable(), Err(WireError::TooFar { told }));
        }
    }

    #[test]
    fn only_the_version_before_ours_is_understood_of_those_before() {
        for version in 0..=Wire::OURS.0 {
            let near = version + 1 >= Wire::OURS.0;
            assert_eq!(Wire(version).answered_in().is_ok(), near, "{version}");
            assert_eq!(Wire(version).check_readable().is_ok(), near, "{version}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for faulty in [
            b"".as_slice(),
            b"one",
            b"-1",
            b"1.0",
            b"\xff",
            b"4294967296",
        ] {
            assert_eq!(Wire::told(Some(faulty)), Err(WireError::Unreadable));
        }
    }
}
