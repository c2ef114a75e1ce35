//! The trace that a request belongs to, as W3C Trace Context writes it: `traceparent`.
//!
//! Envoy's look-ups carry it to us. It goes into our log lines and no further: a provider that we ask
//! learns of no trace, no request and no client but the address that it is asked about.

use std::fmt;

use hyper::HeaderMap;
use hyper::header::HeaderName;

/// The id of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; 16]);

const HEADER: HeaderName = HeaderName::from_static("traceparent");

impl TraceParent {
    /// `None` if there is none, more than one, or one that is not well formed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(HEADER).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::parse(value.to_str().ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let (trace, span): ([u8; 16], [u8; 8]) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let _flags: [u8; 1] = hex(parts.next()?)?;
        // Later versions may have more parts; the first has none, and the last one is forbidden.
        let fits = match version {
            [0] => parts.next().is_none(),
            [0xff] => false,
            _ => true,
        };
        let named = trace != [0; 16] && span != [0; 8];
        (fits && named).then_some(Self(trace))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Lower-case digits only, as the standard asks.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != 2 * N || !text.bytes().all(plain) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_one_is_read() {
        let parent = TraceParent::parse(GOOD).unwrap();
        assert_eq!(parent.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = GOOD.replacen("00", "01", 1) + "-more";
        assert!(TraceParent::parse(&later).is_some());
    }

    #[test]
    fn what_the_standard_forbids_is_none() {
        for bad in [
            "",
            "00",
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("4736", "473"),
            &GOOD.replace("4736", "47é"),
        ] {
            assert_eq!(TraceParent::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(HEADER, GOOD.parse().unwrap());
        assert!(TraceParent::of(&headers).is_some());
        headers.append(HEADER, GOOD.parse().unwrap());
        assert_eq!(TraceParent::of(&headers), None);
    }
}
