//! ipsum's counted form: an address, a tab, and on how many lists it is. Its level files have bare
//! addresses, which are taken where no count is asked for.

use reputation::Cidr;

use super::{Parsed, fields, numbered_lines};

pub fn parse(bytes: &[u8], score: u8, min_count: u32) -> Parsed {
    let mut parsed = Parsed::new();
    for (number, line) in numbered_lines(bytes) {
        let Some(fields) = fields(line) else {
            continue;
        };
        match fields.ok().and_then(|fields| readable(fields, min_count)) {
            Some((cidr, count)) if count >= min_count => parsed.entry(cidr, score),
            Some(_) => parsed.rows += 1,
            None => parsed.fault(number, line),
        }
    }
    parsed
}

fn readable((address, count): (&str, Option<&str>), min_count: u32) -> Option<(Cidr, u32)> {
    let count = match count {
        Some(count) => count.parse().ok()?,
        None if min_count <= 1 => 1,
        None => return None,
    };
    Some((Cidr::parse_lenient(address).ok()?, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = b"# IPsum\n192.0.2.1\t9\n192.0.2.2\t3\n192.0.2.3\t1\n192.0.2.4\tmany\n";

    #[test]
    fn addresses_below_the_asked_count_are_left_out() {
        let parsed = parse(LIST, 90, 3);
        assert_eq!((parsed.rows, parsed.unreadable), (4, 1));
        assert_eq!(parsed.entries.build_greatest().len(), 2);
    }

    #[test]
    fn level_files_without_counts_are_read_if_no_count_is_asked_for() {
        assert_eq!(parse(b"192.0.2.1\n", 90, 1).entries.count(), 1);
        assert_eq!(parse(b"192.0.2.1\n", 90, 2).unreadable, 1);
    }
}
