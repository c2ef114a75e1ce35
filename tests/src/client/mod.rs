//! An HTTP/1.1 client that sends exactly the bytes it is told to, also those that a proper client
//! refuses to send, and shows the answer as it came.

mod connection;

use std::net::SocketAddr;

use crate::error::KitError;

pub use connection::Connection;
pub(crate) use connection::find;

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

    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null if it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
