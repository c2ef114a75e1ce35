//! Header maps in the form in which the host passes them. Owns reading and writing that form; bytes are
//! never taken for text without a check.

/// A header map as the host wrote it: a count, the lengths, then names and values, each ended by NUL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderMap(Vec<u8>);

impl HeaderMap {
    pub fn from_host(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn encode<'a>(pairs: impl ExactSizeIterator<Item = (&'a str, &'a str)> + Clone) -> Self {
        let length = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&length(pairs.len()));
        for (name, value) in pairs.clone() {
            bytes.extend_from_slice(&length(name.len()));
            bytes.extend_from_slice(&length(value.len()));
        }
        for (name, value) in pairs {
            for part in [name, value] {
                bytes.extend_from_slice(part.as_bytes());
                bytes.push(0);
            }
        }
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The first value under `name`, which must be in lower case as Envoy's names are.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(key, _)| *key == name.as_bytes())
            .map(|(_, value)| value)
    }

    /// As [`Self::get`], where the value is visible ASCII.
    pub fn text(&self, name: &str) -> Option<&str> {
        let value = self.get(name)?;
        let visible = value.iter().all(|byte| (b' '..=b'~').contains(byte));
        std::str::from_utf8(value).ok().filter(|_| visible)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let count = read_u32(&self.0, 0).unwrap_or(0);
        let mut at = count.saturating_mul(8).saturating_add(4);
        (0..count).map_while(move |index| {
            let lengths = index.checked_mul(8)?.checked_add(4)?;
            let name = take(&self.0, &mut at, read_u32(&self.0, lengths)?)?;
            let value = take(&self.0, &mut at, read_u32(&self.0, lengths + 4)?)?;
            Some((name, value))
        })
    }
}

fn read_u32(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*four)).ok()
}

fn take<'a>(bytes: &'a [u8], at: &mut usize, length: usize) -> Option<&'a [u8]> {
    let end = at.checked_add(length)?;
    let part = bytes.get(*at..end)?;
    *at = end.checked_add(1)?;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let pairs = [(":method", "GET"), ("accept", ""), ("x-a", "b")];
        let map = HeaderMap::encode(pairs.iter().copied());
        assert_eq!(map.text(":method"), Some("GET"));
        assert_eq!(map.text("accept"), Some(""));
        assert_eq!(map.text("x-a"), Some("b"));
        assert_eq!(map.get("x-b"), None);
        assert_eq!(map.iter().count(), 3);
    }

    #[test]
    fn bytes_that_are_not_text_stay_bytes() {
        let mut raw = HeaderMap::encode([("x-a", "ab")].into_iter()).0;
        let at = raw.len() - 2;
        raw[at] = 0xff;
        let map = HeaderMap::from_host(raw);
        assert_eq!(map.text("x-a"), None);
        assert_eq!(map.get("x-a"), Some(&b"a\xff"[..]));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_can_be_walked(bytes in proptest::collection::vec(0_u8..=255, 0..64)) {
            let map = HeaderMap::from_host(bytes);
            proptest::prop_assert!(map.iter().count() <= 64);
        }
    }
}
