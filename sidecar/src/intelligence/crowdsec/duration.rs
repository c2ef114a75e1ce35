//! Durations as Go writes them: `3h51m57s`, `-10s`, `1.5s`, `300ms`.

/// In seconds, rounded down. `None` if it is no such duration.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut nanoseconds: i128 = 0;
    let mut parts = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, after) = after.split_at_checked(unit_end.unwrap_or(after.len()))?;
        nanoseconds = nanoseconds.checked_add(scaled(number, length(unit)?)?)?;
        (rest, parts) = (after, parts + 1);
    }
    let signed = if negative { -nanoseconds } else { nanoseconds };
    (parts > 0)
        .then(|| i64::try_from(signed.div_euclid(1_000_000_000)).ok())
        .flatten()
}

/// A decimal number times `unit`, in whole nanoseconds.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = match whole {
        "" if !fraction.is_empty() => 0,
        digits => digits.parse::<i128>().ok()?,
    };
    let fraction = fraction.get(..fraction.len().min(18))?;
    let part = match fraction {
        "" => 0,
        digits => {
            let scale = 10_i128.checked_pow(u32::try_from(digits.len()).ok()?)?;
            digits.parse::<i128>().ok()?.checked_mul(unit)? / scale
        }
    };
    whole.checked_mul(unit)?.checked_add(part)
}

/// In nanoseconds.
fn length(unit: &str) -> Option<i128> {
    Some(match unit {
        "h" => 3_600_000_000_000,
        "m" => 60_000_000_000,
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" | "µs" | "μs" => 1_000,
        "ns" => 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_is_read() {
        for (text, seconds) in [
            ("3h51m57s", 13_917),
            ("167h59m20.75s", 604_760),
            ("1.5h", 5_400),
            ("300ms", 0),
            ("-10s", -10),
            ("-300ms", -1),
            ("0", 0),
            ("0s", 0),
            ("876000h0m0s", 3_153_600_000),
            ("12µs", 0),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_read() {
        for text in [
            "", "-", "4", "h", "4 h", "4d", "1h2", "1..5s", ".s", "é", "4h-2m",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"9".repeat(60)), None);
        assert_eq!(parse(&format!("{}h", "9".repeat(30))), None);
    }
}
