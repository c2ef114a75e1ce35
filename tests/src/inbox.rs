//! Takes whatever is posted, and shows it: where reports of errors and logs are sent to in tests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::error::KitError;

/// One request.
#[derive(Debug, Clone)]
pub struct Posted {
    pub path: String,
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

pub struct Inbox {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    task: JoinHandle<()>,
}

impl Posted {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(have, _)| have == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Inbox {
    pub async fn start() -> Result<Self, KitError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(KitError::io("cannot listen"))?;
        let address = listener
            .local_addr()
            .map_err(KitError::io("cannot name the port"))?;
        let posted = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&posted);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| take(request, Arc::clone(&shared)));
                    // How the connection ends is the client's affair.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self {
            address,
            posted,
            task,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything so far.
    pub fn posted(&self) -> Vec<Posted> {
        let posted = self.posted.lock();
        posted.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn take(
    request: hyper::Request<Incoming>,
    posted: Arc<Mutex<Vec<Posted>>>,
) -> Result<hyper::Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let text =
        |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), text(value)));
    // A body that breaks off is one that was not sent.
    if let Ok(body) = body.collect().await {
        let one = Posted {
            path: head.uri.to_string(),
            body: body.to_bytes().to_vec(),
            headers: headers.collect(),
        };
        let mut posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
        posted.push(one);
    }
    let mut answer = hyper::Response::new(Full::new(Bytes::from_static(b"{}")));
    let json = hyper::header::HeaderValue::from_static("application/json");
    answer.headers_mut().insert("content-type", json);
    Ok(answer)
}
