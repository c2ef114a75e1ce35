//! A stream on which no reply of Redis is larger than it can have to be. The client library reads a
//! reply whole before it hands it on; so the length is looked at here, as the reply announces it, and
//! what is too long is never read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Enough for the ids of 700,000 decisions in one list.
const LONGEST_REPLY: u64 = 16 * 1024 * 1024;
/// Elements of one list.
const MOST_ELEMENTS: u64 = 1 << 20;

#[derive(Debug, Error)]
#[error("its answer is larger than anything that was asked for")]
pub struct TooLarge;

pub struct Bounded<S> {
    stream: S,
    meter: Meter,
}

impl<S> Bounded<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            meter: Meter::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.meter.read(read).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Follows replies (RESP2 and RESP3) only so far that it knows where each ends.
struct Meter {
    /// The beginning of the line that is being read; empty within a string.
    line: Vec<u8>,
    /// Octets of a string, with its end of line, that are still to come.
    string: u64,
    /// Elements of this reply that are still to come.
    elements: u64,
    /// Octets of this reply so far, announced ones included.
    length: u64,
}

/// A type and a length of 20 digits.
const LONGEST_HEAD: usize = 24;

impl Default for Meter {
    fn default() -> Self {
        Self {
            line: Vec::new(),
            string: 0,
            elements: 1,
            length: 0,
        }
    }
}

impl Meter {
    fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            let skipped = usize::try_from(self.string)
                .unwrap_or(usize::MAX)
                .min(bytes.len());
            if skipped > 0 {
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.string = self.string.saturating_sub(skipped as u64);
                if self.string == 0 {
                    self.finish_element();
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            let room = LONGEST_HEAD.saturating_sub(self.line.len());
            self.line.extend(line.iter().take(room));
            self.grow(line.len() as u64)?;
            bytes = rest;
            if end.is_some() {
                self.finish_line()?;
            }
        }
        Ok(())
    }

    fn finish_line(&mut self) -> Result<(), TooLarge> {
        let line = std::mem::take(&mut self.line);
        let kind = line.first().copied().unwrap_or_default();
        // What is no number is left to the parser to refuse; below zero stands for nothing.
        let text = std::str::from_utf8(line.get(1..).unwrap_or_default());
        let number: Option<i128> = text.ok().and_then(|text| text.trim().parse().ok());
        let number = number.and_then(|number| u64::try_from(number).ok());
        match (kind, number) {
            (b'$' | b'=' | b'!', Some(length)) => {
                self.string = length.saturating_add(2);
                return self.grow(self.string);
            }
            (b'*' | b'~' | b'>', Some(elements)) => self.expect(elements)?,
            // Attributes stand before an element and are none.
            (b'%' | b'|', Some(pairs)) => {
                self.expect(
                    pairs
                        .saturating_mul(2)
                        .saturating_add(u64::from(kind == b'|')),
                )?;
            }
            _ => {}
        }
        self.finish_element();
        Ok(())
    }

    fn expect(&mut self, elements: u64) -> Result<(), TooLarge> {
        self.elements = self.elements.saturating_add(elements);
        if self.elements > MOST_ELEMENTS {
            return Err(TooLarge);
        }
        Ok(())
    }

    fn finish_element(&mut self) {
        self.elements = self.elements.saturating_sub(1);
        if self.elements == 0 {
            *self = Self::default();
        }
    }

    fn grow(&mut self, octets: u64) -> Result<(), TooLarge> {
        self.length = self.length.saturating_add(octets);
        if self.length > LONGEST_REPLY {
            return Err(TooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it is accepted, in pieces of any size.
    fn accepted(reply: &[u8]) -> bool {
        let results: Vec<bool> = [1, 2, 3, 7, 4096]
            .into_iter()
            .map(|size| {
                let mut meter = Meter::default();
                reply.chunks(size).all(|piece| meter.read(piece).is_ok())
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
        results[0]
    }

    #[test]
    fn replies_without_end_to_their_number_are_each_measured_alone() {
        let replies = [
            &b"+OK\r\n"[..],
            b"$-1\r\n",
            b"_\r\n",
            b"$0\r\n\r\n",
            b"*0\r\n",
            b"*2\r\n$3\r\na\nb\r\n:7\r\n",
            b"%1\r\n+a\r\n*1\r\n,1.5\r\n",
            b"|1\r\n+ttl\r\n:3\r\n+data\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
            b"-ERR no\r\n",
        ];
        for reply in replies {
            let mut meter = Meter::default();
            meter.read(reply).unwrap();
            assert_eq!((meter.length, meter.elements), (0, 1), "{reply:?}");
        }
        let large = [&b"$4194304\r\n"[..], &vec![b'x'; 4_194_304], b"\r\n"].concat();
        let mut meter = Meter::default();
        for _ in 0..8 {
            meter.read(&large).unwrap();
        }
    }

    #[test]
    fn what_is_too_large_is_refused_when_it_is_announced() {
        assert!(!accepted(b"$104857600\r\n"));
        assert!(!accepted(b"*1000000000\r\n"));
        assert!(!accepted(b"%1000000000\r\n"));
        assert!(!accepted(b"$18446744073709551615\r\n"));
        assert!(!accepted(
            &[
                &b"*3\r\n"[..],
                &b"$9000000\r\n"[..],
                &vec![0; 9_000_002],
                b"$9000000\r\n"
            ]
            .concat()
        ));
        assert!(!accepted(&b"*1000\r\n".repeat(2000)));
        assert!(accepted(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    }

    #[test]
    fn a_line_that_never_ends_is_refused() {
        let mut meter = Meter::default();
        let endless = (0..).map(|_| meter.read(&[b'+'; 65_536])).take(1000);
        assert!(endless.into_iter().any(|read| read.is_err()));
    }
}
