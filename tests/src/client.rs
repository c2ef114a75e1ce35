//! An HTTP/1.1 client that sends exactly the bytes it is told to, also those that a proper client
//! refuses to send, and shows the answer as it came.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::error::KitError;

/// No answer of anything under test takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_HEAD: usize = 256 * 1024;

/// Names and values as they came; values need not be text.
pub type Headers = Vec<(String, Vec<u8>)>;

#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    path: String,
    headers: Headers,
    body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Status codes of interim answers, such as 100.
    pub interim: Vec<u16>,
    headers: Headers,
    pub body: Vec<u8>,
}

/// A connection that is kept: all its requests reach the same worker.
pub struct Connection {
    stream: Box<dyn Duplex>,
    pending: Vec<u8>,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        Self {
            method,
            path,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str, body: Vec<u8>) -> Self {
        Self {
            body,
            ..Self::new("POST", path)
        }
    }

    /// Adds a header; any bytes are sent as they are.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// Speaks for a client behind a trusted proxy.
    pub fn from_client(self, address: &str) -> Self {
        self.header("x-forwarded-for", address)
    }

    /// Sends it on a new connection and waits for the whole answer.
    pub async fn send(&self, to: SocketAddr) -> Result<Response, KitError> {
        Connection::open(to).await?.send(self).await
    }

    /// The request as it goes over the wire, without the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        if !self.has("host") {
            head.extend_from_slice(b"host: portcullis.test\r\n");
        }
        for (name, value) in &self.headers {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
        if !self.body.is_empty() {
            head.extend_from_slice(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    fn has(&self, name: &str) -> bool {
        self.headers
            .iter()
            .any(|(have, _)| have.eq_ignore_ascii_case(name))
    }
}

impl Response {
    /// The first value of a header, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self
            .headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Connection {
    pub async fn open(to: SocketAddr) -> Result<Self, KitError> {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(KitError::io(format!("cannot connect to {to}")))?;
        // A request is written whole; waiting for more to send would only delay it.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            stream: Box::new(stream),
            pending: Vec::new(),
        })
    }

    pub async fn open_unix(path: &std::path::Path) -> Result<Self, KitError> {
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
        Ok(self.pending.drain(..length).collect())
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
