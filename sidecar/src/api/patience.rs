//! A connection whose other end has to take what it asked for. Without it, somebody who asks for much and
//! reads nothing would keep his place for ever, and the answer in memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Ends with `TimedOut` when an answer is not taken in time.
pub struct Patient<T> {
    connection: T,
    patience: Duration,
    waiting: Option<Waiting>,
}

/// An answer of which something has to wait.
struct Waiting {
    since: Instant,
    taken: usize,
    end: Pin<Box<Sleep>>,
}

/// Of an answer, beside the second that each so many bytes of it give.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A narrow line takes long with a long answer, and is nobody's fault.
const BYTES_A_SECOND: usize = 16 * 1024;

impl<T> Patient<T> {
    pub fn new(connection: T, patience: Duration) -> Self {
        Self {
            connection,
            patience,
            waiting: None,
        }
    }

    /// Something was written, or not: then the time runs.
    fn note(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(written) = written else {
            let patience = self.patience;
            let waiting = self.waiting.get_or_insert_with(|| Waiting::new(patience));
            ready!(waiting.end.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        };
        if let (Some(waiting), Ok(bytes)) = (&mut self.waiting, &written) {
            waiting.took(*bytes, self.patience);
        }
        Poll::Ready(written)
    }
}

impl Waiting {
    fn new(patience: Duration) -> Self {
        let since = Instant::now();
        Self {
            since,
            taken: 0,
            end: Box::pin(sleep_until(since + patience)),
        }
    }

    fn took(&mut self, bytes: usize, patience: Duration) {
        self.taken = self.taken.saturating_add(bytes);
        let more = u32::try_from(self.taken / BYTES_A_SECOND).unwrap_or(u32::MAX);
        let end = self.since + patience + Duration::from_secs(more.into());
        self.end.as_mut().reset(end);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write(cx, bytes);
        self.note(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.connection).poll_write_vectored(cx, slices);
        self.note(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    /// Called when all of an answer is written: the next has its own time.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
        self.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const ANSWER: usize = 1024 * 1024;

    /// How an answer ends whose reader takes so much a second, and after how long.
    async fn taken_at(bytes_a_second: usize) -> (io::Result<()>, Duration) {
        let (here, mut there) = duplex(1024);
        let mut here = Patient::new(here, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; bytes_a_second];
            while there.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let answer = vec![0; ANSWER];
        let began = Instant::now();
        let written = async {
            here.write_all(&answer).await?;
            here.flush().await
        };
        let ended = written.await;
        let took = began.elapsed();
        reader.abort();
        (ended, took)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_an_answer_slowly_gets_it_and_who_trickles_does_not() {
        let (slow, took) = taken_at(20 * 1024).await;
        slow.unwrap();
        assert!(took > PATIENCE, "{took:?}");
        let (trickling, took) = taken_at(100).await;
        assert_eq!(trickling.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!((30..32).contains(&took.as_secs()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time_and_a_pause_between_them_costs_nothing() {
        let (here, mut there): (DuplexStream, DuplexStream) = duplex(1024);
        let mut here = Patient::new(here, PATIENCE);
        for _ in 0..4 {
            let mut buffer = vec![0; 2048];
            let answer = async {
                here.write_all(&[0; 2048]).await?;
                here.flush().await
            };
            let late = async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                there.read_exact(&mut buffer).await
            };
            let (written, read) = tokio::join!(answer, late);
            written.unwrap();
            read.unwrap();
            tokio::time::sleep(PATIENCE * 2).await;
        }
    }
}
