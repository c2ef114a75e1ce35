//! A list that somebody brings to the demo: which format it has, and addresses on it and beside it.

use std::path::{Path, PathBuf};

use reputation::{Cidr, ClientAddress, special};

use crate::error::Error;

/// How many addresses of each kind are drawn.
pub const SAMPLE: usize = 1000;

pub struct List {
    path: PathBuf,
    format: &'static str,
    /// Sorted, so that neighbours can be found.
    entries: Vec<Cidr>,
}

impl List {
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = std::path::absolute(path).map_err(Error::file("cannot find", path))?;
        let text = std::fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
        let mut entries: Vec<_> = lines(&text).filter_map(entry).collect();
        if entries.is_empty() {
            let message = format!("{} holds no address or prefix", path.display());
            return Err(Error::Said(message));
        }
        entries.sort();
        Ok(Self {
            path,
            format: guess_format(&text),
            entries,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn format(&self) -> &'static str {
        self.format
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The sidecar's configuration of this list as a hard source: what stands on it is refused.
    pub fn toml(&self, name: &str) -> String {
        feed_toml(name, &self.path, self.format)
    }

    /// Addresses on the list, taken evenly from all of it.
    pub fn listed(&self) -> Vec<ClientAddress> {
        let (all, wanted) = (self.entries.len(), self.entries.len().min(SAMPLE));
        let entries = (0..wanted).filter_map(|at| self.entries.get(at * all / wanted));
        entries.map(|entry| entry.network()).collect()
    }

    /// Public addresses of the same family beside the list: the same ones at each run.
    pub fn unlisted(&self) -> Vec<ClientAddress> {
        let v4 = self
            .entries
            .first()
            .is_some_and(|entry| entry.network().is_v4());
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let candidates = std::iter::from_fn(|| Some(candidate(&mut state, v4)));
        candidates
            .filter(|address| special::is_public(*address) && !self.holds(*address))
            .take(SAMPLE)
            .collect()
    }

    fn holds(&self, address: ClientAddress) -> bool {
        (0..=address.width()).any(|length| {
            let around = Cidr::new(address, length);
            around.is_some_and(|cidr| self.entries.binary_search(&cidr).is_ok())
        })
    }
}

/// A hard source in the sidecar's configuration.
pub fn feed_toml(name: &str, path: &Path, format: &str) -> String {
    format!("[[feed]]\nname = {name:?}\npath = {path:?}\nformat = {format:?}\nblock = true\n")
}

/// A number that looks random (xorshift64), as an address; IPv6 from what is handed out, 2000::/3.
fn candidate(state: &mut u64, v4: bool) -> ClientAddress {
    let mut next = || {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    };
    let high = next();
    if v4 {
        return ClientAddress::V4(u32::try_from(high >> 32).unwrap_or_default());
    }
    let bits = (u128::from(high) << 64) | u128::from(next());
    ClientAddress::from_v6_bits((bits >> 3) | (1 << 125))
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// The first word of a line, or of a JSON object the member that holds the prefix.
fn entry(line: &str) -> Option<Cidr> {
    if line.starts_with('{') {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        return Cidr::parse_lenient(value.get("cidr")?.as_str()?).ok();
    }
    Cidr::parse_lenient(line.split([' ', '\t', ';', '#']).next()?).ok()
}

fn guess_format(text: &str) -> &'static str {
    match lines(text).next() {
        Some(line) if line.starts_with('{') => "spamhaus-json",
        Some(line) if is_counted(line) => "ipsum",
        _ => "netset",
    }
}

/// An address and on how many lists it stands.
fn is_counted(line: &str) -> bool {
    let mut words = line.split_whitespace().skip(1);
    words.next().is_some_and(|word| word.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_guessed_from_the_content() {
        assert_eq!(guess_format("# IPsum\n#\n192.0.2.1\t9\n"), "ipsum");
        assert_eq!(guess_format("# list\n192.0.2.0/24\n"), "netset");
        assert_eq!(guess_format("2001:db8::/32 ; SBL1\n"), "netset");
        assert_eq!(
            guess_format("{\"cidr\":\"192.0.2.0/24\"}\n"),
            "spamhaus-json"
        );
    }

    #[test]
    fn addresses_beside_the_list_are_public_and_not_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, "# half of everything\n0.0.0.0/1\n").unwrap();
        let list = List::read(&path).unwrap();
        let unlisted = list.unlisted();
        assert_eq!(unlisted.len(), SAMPLE);
        for address in unlisted {
            assert!(
                !list.holds(address) && special::is_public(address),
                "{address}"
            );
        }
    }
}
