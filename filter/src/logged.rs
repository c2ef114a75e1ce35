//! How many requests that are not clean go to Envoy's access log: all of them in ordinary times, in a
//! flood so many a second.
//!
//! A flood would otherwise cost more by its lines than by its requests, in monitor too. What is left out is
//! counted in the metrics as ever, and said with the next line that is not.

use crate::turn::Uptime;

/// The lines of one VM.
#[derive(Debug, Default)]
pub struct Logged {
    second: Uptime,
    written: u32,
    left_out: u64,
}

impl Logged {
    /// Whether the next line is written; if so, how many were left out before it.
    pub fn next(&mut self, now: Uptime, most: u32) -> Option<u64> {
        if self.second != now {
            self.second = now;
            self.written = 0;
        }
        if self.written >= most {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.written = self.written.saturating_add(1);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_in_a_second_is_said_in_the_next() {
        let mut logged = Logged::default();
        let in_second = |logged: &mut Logged, second, times| -> Vec<_> {
            let next = |_| logged.next(Uptime(second), 2);
            (0..times).map(next).collect()
        };
        assert_eq!(in_second(&mut logged, 7, 4), [Some(0), Some(0), None, None]);
        assert_eq!(in_second(&mut logged, 8, 2), [Some(2), Some(0)]);
        assert_eq!(in_second(&mut logged, 9, 1), [Some(0)]);
    }

    #[test]
    fn without_any_line_all_are_counted() {
        let mut logged = Logged::default();
        assert_eq!(logged.next(Uptime(1), 0), None);
        assert_eq!(logged.next(Uptime(2), 1), Some(1));
    }
}
