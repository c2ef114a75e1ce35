//! Whether a command printed what the page shows. `…` stands for any text within a line, and alone in a line for
//! any number of lines. Of an HTTP answer's headers the page may leave some out. What differs from run to run
//! without meaning anything (ids, times, ages, sizes, blanks) need not be the same.

/// What a page shows, and what was printed, in the form in which they are compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown(Vec<String>);

/// Whether `printed` is what `shown` says.
pub fn is_like(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (Shown::of(shown), Shown::of(printed));
    match (shown.head(), printed.head()) {
        (Some((head, body)), Some((whole, rest))) => {
            head.iter()
                .all(|line| whole.iter().any(|one| line_is_like(line, one)))
                && lines_are_like(body, rest)
        }
        _ => lines_are_like(&shown.0, &printed.0),
    }
}

impl Shown {
    pub fn of(text: &str) -> Self {
        let lines = text.trim_matches('\n').lines();
        Self(lines.map(|line| steady(line.trim_end())).collect())
    }

    pub fn text(&self) -> String {
        self.0.join("\n")
    }

    /// An HTTP answer's status and headers, and the rest.
    fn head(&self) -> Option<(&[String], &[String])> {
        self.0.first().filter(|line| line.starts_with("HTTP/"))?;
        let end = self.0.iter().position(String::is_empty);
        let (head, body) = self.0.split_at(end.unwrap_or(self.0.len()));
        Some((head, body.get(1..).unwrap_or_default()))
    }
}

fn lines_are_like(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line == "…" => (0..=printed.len())
            .any(|from| lines_are_like(rest, printed.get(from..).unwrap_or_default())),
        Some((line, rest)) => printed.split_first().is_some_and(|(first, others)| {
            line_is_like(line, first) && lines_are_like(rest, others)
        }),
    }
}

fn line_is_like(shown: &str, printed: &str) -> bool {
    let Some((before, after)) = shown.split_once('…') else {
        return shown == printed;
    };
    let Some(rest) = printed.strip_prefix(before) else {
        return false;
    };
    let mut cuts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    cuts.any(|at| line_is_like(after, rest.get(at..).unwrap_or_default()))
}

/// The line with one sign for each word that differs from run to run, and with single blanks.
fn steady(line: &str) -> String {
    let mut text = String::new();
    let mut word = String::new();
    for sign in line.chars().chain([' ']) {
        if sign.is_ascii_alphanumeric() || matches!(sign, '-' | '.' | ':') {
            word.push(sign);
            continue;
        }
        text.push_str(if is_volatile(&word) { "#" } else { &word });
        word.clear();
        if !(sign.is_whitespace() && text.ends_with(' ')) {
            text.push(if sign.is_whitespace() { ' ' } else { sign });
        }
    }
    // A step's time, and sizes of what was built.
    let text = text.trim_end();
    match text
        .strip_prefix("[ ")
        .and_then(|rest| rest.split_once(" s] "))
    {
        Some((_, step)) => step.to_owned(),
        None => text.to_owned(),
    }
}

/// An id, a time, an age or a duration.
fn is_volatile(word: &str) -> bool {
    let word = word.trim_matches([':', '.', '-']);
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_hex = |sign: u8| sign.is_ascii_hexdigit() || sign == b'-';
    let is_id = word.len() >= 12 && digits > 0 && word.bytes().all(is_hex);
    let is_all_digits = |text: &str| text.bytes().all(|sign| sign.is_ascii_digit());
    let whole = word.split('.').next().unwrap_or_default();
    let is_unix = whole.len() >= 9 && word.split('.').all(is_all_digits);
    let is_iso = digits >= 14 && word.contains('T') && word.contains(':');
    is_id || is_unix || is_iso || is_duration(word)
}

/// Such as `23h59m58s` or `250ms`.
fn is_duration(word: &str) -> bool {
    let mut rest = word;
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest.len()
            - rest
                .trim_start_matches(|sign: char| sign.is_ascii_digit())
                .len();
        let after = rest.get(number..).unwrap_or_default();
        let unit = ["ms", "d", "h", "m", "s"]
            .into_iter()
            .find_map(|unit| after.strip_prefix(unit));
        match unit {
            Some(next) if number > 0 => rest = next,
            _ => return false,
        }
        parts += 1;
    }
    parts > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_does_not_count_and_everything_else_does() {
        let shown = "id d6f7016b63f39a32 at 2026-11-22T20:15:00Z, 23h59m left, 1795353946.2\n";
        let printed = "id aaaa016b63f39a00  at 2027-01-02T03:04:05Z, 59s left, 1795359999.17\n";
        assert!(is_like(shown, printed));
        assert!(!is_like("status 403\n", "status 200\n"));
        assert!(!is_like("198.51.100.23: deny\n", "198.51.100.24: deny\n"));
        assert!(!is_like("banned\n", "allowed\n"));
    }

    #[test]
    fn an_ellipsis_stands_for_text_in_a_line_and_for_lines() {
        assert!(is_like("a … c\n…\nlast\n", "a b b c\nx\ny\nlast\n"));
        assert!(is_like("…\n", ""));
        assert!(!is_like("a …\n", "a b\nc\n"));
        assert!(!is_like("first\n…\nlast\n", "first\nlast but one\n"));
    }

    #[test]
    fn of_an_answer_some_headers_may_be_left_out_and_none_may_differ() {
        let printed = "HTTP/1.1 429 Too Many Requests\r\ndate: x\r\nretry-after: 6\r\n\r\n{}";
        assert!(is_like(
            "HTTP/1.1 429 Too Many Requests\nretry-after: 6\n\n{}\n",
            printed
        ));
        assert!(!is_like(
            "HTTP/1.1 429 Too Many Requests\nretry-after: 1\n\n{}\n",
            printed
        ));
        assert!(!is_like("HTTP/1.1 200 OK\n\n{}\n", printed));
    }
}
