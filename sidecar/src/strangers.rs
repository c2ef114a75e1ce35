//! Text that others wrote and people will read: in logs, on terminals, in headers.

/// What ends a line, drives a terminal or turns the direction of writing, so that a reader sees
/// something else than what is there.
pub fn is_deceptive(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

/// At most `most` characters of `text`, the deceptive ones replaced.
pub fn plain(text: &str, most: usize) -> String {
    let shown = |c| {
        if is_deceptive(c) {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(most).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_what_is_there() {
        let text = "a\u{1b}[31m\r\n\u{202e}b\u{2028}é";
        assert_eq!(
            plain(text, 99),
            "a\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}b\u{fffd}é"
        );
        assert_eq!(plain("abc", 2), "ab");
    }
}
