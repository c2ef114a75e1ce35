//! A small HTTP/1.1 server for stand-ins: it answers what a closure says, also what no proper server
//! would send. Bodies need a `content-length` here; the upstream, which takes any, is built on hyper.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::find;
use crate::error::KitError;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// With the query.
    pub target: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub enum Answer {
    Http {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// These bytes and the end of the connection.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
}

/// A server that ends with its handle.
pub struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Asked {
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(&self.target, |(path, _)| path)
    }

    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.replace("%3A", ":"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self::Http {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::body("application/json", value.to_string())
    }

    pub fn body(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self::Http {
            status: 200,
            headers,
            body: body.into(),
        }
    }

    /// The same answer with another status.
    pub fn with_status(mut self, new: u16) -> Self {
        if let Self::Http { status, .. } = &mut self {
            *status = new;
        }
        self
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Http { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

impl Server {
    /// Listens on loopback, on `port` or on one that the system chooses (0).
    pub async fn start<F, A>(port: u16, handler: F) -> Result<Self, KitError>
    where
        F: Fn(Asked) -> A + Send + Sync + 'static,
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = bind(port).await?;
        let address = listener
            .local_addr()
            .map_err(KitError::io("cannot name the port"))?;
        let handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve_connection(stream, Arc::clone(&handler)));
            }
        });
        Ok(Self { address, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port may still be held for a moment by the server that had it before.
async fn bind(port: u16) -> Result<TcpListener, KitError> {
    for _ in 0..100 {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
            return Ok(listener);
        }
        sleep(Duration::from_millis(10)).await;
    }
    let last = TcpListener::bind(("127.0.0.1", port)).await;
    last.map_err(KitError::io(format!("cannot listen on port {port}")))
}

async fn serve_connection<F, A>(mut stream: TcpStream, handler: Arc<F>)
where
    F: Fn(Asked) -> A,
    A: Future<Output = Answer>,
{
    let mut pending = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = find(&pending, b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(stream.read_buf(&mut pending).await, Ok(1..)) {
                return;
            }
        };
        let head: Vec<u8> = pending.drain(..end).collect();
        let Some(mut asked) = parse(&head) else {
            return;
        };
        let length = asked.header("content-length");
        let length = length.and_then(|text| text.parse().ok()).unwrap_or(0);
        while pending.len() < length {
            if !matches!(stream.read_buf(&mut pending).await, Ok(1..)) {
                return;
            }
        }
        asked.body = pending.drain(..length).collect();
        let (bytes, close) = match handler(asked).await {
            Answer::Http {
                status,
                headers,
                body,
            } => (render(status, &headers, &body), false),
            Answer::Raw(bytes) => (bytes, true),
            Answer::Silence => return std::future::pending().await,
        };
        if stream.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

fn parse(head: &[u8]) -> Option<Asked> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    Some(Asked {
        target,
        headers,
        body: Vec::new(),
    })
}

fn render(status: u16, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 {status} Stand-in\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}
