//! Plain lists and netsets: one address or prefix a line, comments after `#` or `;`. A number after
//! the address, as counted lists have it, is ignored.

use reputation::Cidr;

use super::{Parsed, fields, numbered_lines};

pub fn parse(bytes: &[u8], score: u8) -> Parsed {
    let mut parsed = Parsed::new();
    for (number, line) in numbered_lines(bytes) {
        let Some(fields) = fields(line) else {
            continue;
        };
        match fields.ok().and_then(readable) {
            Some(cidr) => parsed.entry(cidr, score),
            None => parsed.fault(number, line),
        }
    }
    parsed
}

fn readable((address, count): (&str, Option<&str>)) -> Option<Cidr> {
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    count
        .is_none_or(number)
        .then(|| Cidr::parse_lenient(address).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        let listing = parse(text.as_bytes(), 70).entries.build_greatest();
        listing.iter().map(|(cidr, _)| cidr.to_string()).collect()
    }

    #[test]
    fn addresses_and_prefixes_of_both_families_are_read() {
        let text = "192.0.2.1\n198.51.100.0/24\n2001:db8::1\n2001:db8:1::/48\n";
        assert_eq!(
            listed(text),
            [
                "192.0.2.1/32",
                "198.51.100.0/24",
                "2001:db8::1/128",
                "2001:db8:1::/48"
            ]
        );
    }

    #[test]
    fn comments_blanks_and_every_line_end_are_understood() {
        assert_eq!(
            listed("# head\r\n\r\n 192.0.2.1 # why\r\n203.0.113.0/24 ; SBL1\r\n"),
            ["192.0.2.1/32", "203.0.113.0/24"]
        );
        assert_eq!(listed("192.0.2.1\r192.0.2.2\r").len(), 2);
        assert_eq!(listed("192.0.2.1\t7\n"), ["192.0.2.1/32"]);
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(listed("192.0.2.77/24"), ["192.0.2.0/24"]);
    }

    #[test]
    fn unreadable_lines_are_counted_and_the_first_are_kept_with_their_numbers() {
        let parsed = parse(
            b"192.0.2.1\nnonsense\n192.0.2.2 x\n\xff\xfe\n010.0.0.1\n",
            70,
        );
        assert_eq!((parsed.rows, parsed.unreadable), (5, 4));
        let lines: Vec<_> = parsed.faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [2, 3, 4, 5]);
        assert_eq!(parsed.faults[0].text, "nonsense");
    }
}
