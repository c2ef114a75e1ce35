//! Lists that are made for measuring.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Spreads consecutive numbers over the whole range: odd, so that no two fall together.
const SPREAD: u32 = 0x9e37_79b1;
/// 16.0.0.0 to 79.255.255.255: public, and without the client of the load.
const FIRST: u32 = 0x1000_0000;
const MASK: u32 = 0x3fff_ffff;

/// The sidecar takes lists of up to 64 MiB.
const LONGEST: u32 = 4_000_000;

/// Writes `count` distinct addresses into as many lists in `folder` as are needed, unless they are there
/// already.
pub fn make(folder: &Path, count: u32) -> Result<Vec<PathBuf>, Error> {
    let firsts = (0..count).step_by(usize::try_from(LONGEST).unwrap_or(usize::MAX));
    firsts
        .map(|first| write(folder, first..count.min(first + LONGEST)))
        .collect()
}

fn write(folder: &Path, numbers: Range<u32>) -> Result<PathBuf, Error> {
    let path = folder.join(format!("{}-{}.txt", numbers.start, numbers.end));
    if path.is_file() {
        return Ok(path);
    }
    let text = text(numbers);
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text).map_err(Error::file("cannot write", &partial))?;
    std::fs::rename(&partial, &path).map_err(Error::file("cannot place", &path))?;
    Ok(path)
}

/// The lines of a list; no two numbers have one address.
pub fn text(numbers: Range<u32>) -> String {
    let mut text = String::new();
    for number in numbers {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", address(number));
    }
    text
}

pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(FIRST + (number.wrapping_mul(SPREAD) & MASK))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use reputation::{ClientAddress, special};

    use super::*;

    #[test]
    fn the_addresses_are_public_and_no_two_the_same() {
        let all: HashSet<_> = (0..100_000).map(address).collect();
        assert_eq!(all.len(), 100_000);
        let public = |it: &Ipv4Addr| special::is_public(ClientAddress::V4(u32::from(*it)));
        assert!(all.iter().all(public));
    }
}
