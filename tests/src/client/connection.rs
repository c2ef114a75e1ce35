//! One connection: what is written to it and what is read from it.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Headers, Request, Response};
use crate::error::KitError;

/// No answer of anything under test takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_HEAD: usize = 256 * 1024;

/// A connection that is kept: all its requests reach the same worker.
pub struct Connection {
    stream: Box<dyn Duplex>,
    pending: Vec<u8>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Connection {
    pub async fn open(to: SocketAddr) -> Result<Self, KitError> {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(KitError::io(format!("cannot connect to {to}")))?;
        Ok(Self::over(stream))
    }

    /// As [`Self::open`], as a client with this address of this machine.
    pub async fn open_from(from: IpAddr, to: SocketAddr) -> Result<Self, KitError> {
        let connect = async {
            let socket = match from {
                IpAddr::V4(_) => TcpSocket::new_v4()?,
                IpAddr::V6(_) => TcpSocket::new_v6()?,
            };
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(to).await
        };
        let stream = connect.await;
        Ok(Self::over(stream.map_err(KitError::io(format!(
            "cannot connect to {to} from {from}"
        )))?))
    }

    fn over(stream: TcpStream) -> Self {
        // A request is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        Self {
            stream: Box::new(stream),
            pending: Vec::new(),
        }
    }

    pub async fn open_unix(path: &Path) -> Result<Self, KitError> {
        let stream = UnixStream::connect(path).await;
        let stream = stream.map_err(KitError::io(format!(
            "cannot connect to {}",
            path.display()
        )))?;
        Ok(Self {
            stream: Box::new(stream),
            pending: Vec::new(),
        })
    }

    /// Sends the whole request and waits for the whole answer. An answer that comes before the body is
    /// sent whole counts too.
    pub async fn send(&mut self, request: &Request) -> Result<Response, KitError> {
        let sent = self
            .write(&[request.head(), request.body.clone()].concat())
            .await;
        match self.receive(&request.method).await {
            Ok(response) => Ok(response),
            Err(error) => Err(sent.err().unwrap_or(error)),
        }
    }

    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), KitError> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(KitError::io("cannot send the request"))
    }

    /// Reads one answer; interim ones are noted and skipped.
    pub async fn receive(&mut self, method: &str) -> Result<Response, KitError> {
        let whole = timeout(PATIENCE, self.receive_unhurried(method)).await;
        whole.map_err(|_| KitError::Http("no answer came in time".to_owned()))?
    }

    async fn receive_unhurried(&mut self, method: &str) -> Result<Response, KitError> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.receive_head().await?;
            if (100..200).contains(&status) && status != 101 {
                interim.push(status);
                continue;
            }
            let mut response = Response {
                status,
                interim,
                headers,
                body: Vec::new(),
            };
            if method != "HEAD" && !matches!(status, 101 | 204 | 304) {
                response.body = self.receive_body(&response).await?;
            }
            return Ok(response);
        }
    }

    /// One interim or final head: used where a test looks at what comes before the answer.
    pub async fn receive_head(&mut self) -> Result<(u16, Headers), KitError> {
        let end = loop {
            if let Some(at) = find(&self.pending, b"\r\n\r\n") {
                break at;
            }
            if self.pending.len() > MAX_HEAD {
                return Err(KitError::Http("its head does not end".to_owned()));
            }
            self.more().await?;
        };
        let head: Vec<u8> = self.pending.drain(..end + 4).collect();
        parse_head(&head).ok_or_else(|| KitError::Http(String::from_utf8_lossy(&head).into_owned()))
    }

    async fn receive_body(&mut self, response: &Response) -> Result<Vec<u8>, KitError> {
        if response.header("transfer-encoding").as_deref() == Some("chunked") {
            return self.receive_chunks().await;
        }
        match response
            .header("content-length")
            .and_then(|length| length.parse().ok())
        {
            Some(length) => self.take(length).await,
            None => {
                while self.more().await.is_ok() {}
                Ok(std::mem::take(&mut self.pending))
            }
        }
    }

    async fn receive_chunks(&mut self) -> Result<Vec<u8>, KitError> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                match find(&self.pending, b"\r\n") {
                    Some(at) => break self.take(at + 2).await?,
                    None => self.more().await?,
                }
            };
            let size = std::str::from_utf8(&line).unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16)
                .map_err(|_| KitError::Http(format!("chunk size {size:?}")))?;
            let chunk = self.take(size + 2).await?;
            if size == 0 {
                return Ok(body);
            }
            body.extend(chunk.into_iter().take(size));
        }
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>, KitError> {
        while self.pending.len() < length {
            self.more().await?;
        }
        // Parts of images are large, and a test build copies octet by octet where it may.
        let rest = self.pending.split_off(length);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    async fn more(&mut self) -> Result<(), KitError> {
        let read = self.stream.read_buf(&mut self.pending).await;
        match read.map_err(KitError::io("cannot read the answer"))? {
            0 => Err(KitError::Http("the connection was closed".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Splits a head into status and headers; header values stay bytes.
fn parse_head(head: &[u8]) -> Option<(u16, Headers)> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let status_line = std::str::from_utf8(lines.next()?).ok()?;
    let status = status_line
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let headers = lines.filter(|line| !line.is_empty()).filter_map(|line| {
        let mut sides = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(sides.next()?).into_owned();
        Some((name, sides.next()?.trim_ascii().to_vec()))
    });
    Some((status, headers.collect()))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
